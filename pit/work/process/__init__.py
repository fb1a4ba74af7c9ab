"""The processes of tasks: started, watched, and ended with all that they started."""
