"""What is current and what is not: one planner decides, whoever asks."""
