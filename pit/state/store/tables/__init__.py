"""The tables of the metadata database, each with its queries."""
