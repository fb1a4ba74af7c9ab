"""What is kept: the store, run folders, secrets, and how long all that stays."""
