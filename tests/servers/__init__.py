"""Servers on loopback that tests start and stop, one module for each protocol."""
