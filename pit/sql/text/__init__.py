"""SQL as text: statements, names, templates, and tables of results."""
