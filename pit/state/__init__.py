"""What is kept: the store, caches, run folders, secrets, and how long all that stays."""
