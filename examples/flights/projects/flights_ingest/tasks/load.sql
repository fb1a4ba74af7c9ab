-- Puts the five validated tables into the warehouse, all of them or none.
-- The receipt is written last before they become visible: rows and a checksum of each table, so that
-- it stays byte for byte the same when the same data is loaded again.
-- By hand, from the project's folder:  duckdb ../../warehouse.duckdb < tasks/load.sql

BEGIN;

CREATE SCHEMA IF NOT EXISTS raw;

CREATE OR REPLACE TABLE raw.airlines AS FROM 'out/airlines.parquet';
CREATE OR REPLACE TABLE raw.airports AS FROM 'out/airports.parquet';
CREATE OR REPLACE TABLE raw.flights  AS FROM 'out/flights.parquet';
CREATE OR REPLACE TABLE raw.planes   AS FROM 'out/planes.parquet';
CREATE OR REPLACE TABLE raw.weather  AS FROM 'out/weather.parquet';

COPY (
    SELECT 'airlines' AS loaded, count(*) AS n, sum(hash(t)) AS checksum FROM raw.airlines AS t
    UNION ALL SELECT 'airports', count(*), sum(hash(t)) FROM raw.airports AS t
    UNION ALL SELECT 'flights',  count(*), sum(hash(t)) FROM raw.flights  AS t
    UNION ALL SELECT 'planes',   count(*), sum(hash(t)) FROM raw.planes   AS t
    UNION ALL SELECT 'weather',  count(*), sum(hash(t)) FROM raw.weather  AS t
    ORDER BY loaded
) TO 'out/loaded.csv';

COMMIT;
