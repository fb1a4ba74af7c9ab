"""What a run would do, without running it, and why: for people and for "nothing to do"."""
