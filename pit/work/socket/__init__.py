"""The task socket: what a running task may ask of Pit, over a Unix socket of its own."""
