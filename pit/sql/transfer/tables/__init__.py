"""The table of a load: how each kind of database takes rows."""
