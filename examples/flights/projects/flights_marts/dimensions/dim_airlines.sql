CREATE OR REPLACE TABLE marts.dim_airlines AS
SELECT carrier, name AS airline
FROM raw.airlines
ORDER BY carrier;
