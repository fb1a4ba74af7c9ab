"""The flights that left New York City in 2013, as typed tables."""
