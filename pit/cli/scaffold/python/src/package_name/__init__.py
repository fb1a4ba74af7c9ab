"""What the tasks of project_name share."""
