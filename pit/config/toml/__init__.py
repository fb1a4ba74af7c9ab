"""TOML text: read, with the place of each key and value for error messages."""
