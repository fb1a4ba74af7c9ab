-- Sent to DuckDB.
SELECT * FROM marts.delays
