"""The disk: copies, and what the kernel alone can do."""
