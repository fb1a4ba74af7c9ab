"""SQL for tasks: the sessions of a run, in processes of their own."""
