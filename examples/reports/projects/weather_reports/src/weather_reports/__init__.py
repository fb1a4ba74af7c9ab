"""The weather at the airports of New York City, as readings and as charts."""
