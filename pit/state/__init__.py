"""What is kept: the store, run folders, locks, secrets, and how long all that stays."""
