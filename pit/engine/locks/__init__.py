"""Who may run what: locks of DAGs and tasks, and whose a DAG is."""
