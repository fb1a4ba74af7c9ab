"""The tasks of a DAG and what lies between them: dependencies, parameters, outputs."""
