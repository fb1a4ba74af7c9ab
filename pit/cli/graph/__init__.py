"""A DAG on the terminal."""
