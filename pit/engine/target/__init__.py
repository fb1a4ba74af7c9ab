"""What a command is about: worked out once, from what was typed, and handed on."""
