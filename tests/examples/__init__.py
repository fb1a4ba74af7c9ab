"""The examples, run for real and checked against numbers computed another way."""
