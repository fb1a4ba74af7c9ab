"""What there is to see, as records and drawings; nothing here prints."""
