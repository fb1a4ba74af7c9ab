"""The keys of pit.toml: their kinds, what they may hold, the one table of all of them."""
