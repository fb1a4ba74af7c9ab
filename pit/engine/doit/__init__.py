"""doit's own commands on Pit's tasks."""
