"""Doing one task: its attempt and log, processes, SQL sessions, the task socket, connectors."""
