"""The command line: parse, call, print. `main` is the entry, `console` the only writer."""
