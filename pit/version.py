"""Which release of Pit this is."""

VERSION = "0.1.0"
