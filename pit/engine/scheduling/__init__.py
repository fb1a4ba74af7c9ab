"""When each task of a run begins: slots, retries, waiting, cancellation."""
