"""Small words for people: durations, sizes, lists of names."""
