"""The file of a save: how rows get into it."""
