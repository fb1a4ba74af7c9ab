"""The metadata database: what ran, how it ended, what is on record."""
