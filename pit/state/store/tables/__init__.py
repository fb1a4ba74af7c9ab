"""The parts of the store, each with its tables and the queries on them."""
