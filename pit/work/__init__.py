"""Floor 5, doing one task: processes, snapshots, environments, SQL sessions, targets."""
