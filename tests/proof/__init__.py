"""Proofs on real things that nobody here has made."""
