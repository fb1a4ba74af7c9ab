"""One run, from open to close."""
