"""The databases: what `pit.sql.driver` asks of each, and how their failures are told."""
