"""`pit secrets`: making, changing, sharing and auditing the secrets file."""
