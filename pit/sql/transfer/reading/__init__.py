"""The files of a load: found, read, and what is wrong with them."""
