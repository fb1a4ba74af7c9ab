"""The commands of `pit`, one module each, imported when it is called."""
