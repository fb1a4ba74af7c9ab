"""What is known of this machine's disk, and may be dropped at any time."""
