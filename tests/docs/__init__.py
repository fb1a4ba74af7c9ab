"""The manual held against the code, and what it tells people to type, typed."""
