-- Puts the five validated tables into the warehouse, all of them or none.
-- By hand, from the project's folder:  duckdb ../../warehouse.duckdb < tasks/load.sql

BEGIN;

CREATE SCHEMA IF NOT EXISTS raw;

CREATE OR REPLACE TABLE raw.airlines AS FROM 'out/airlines.parquet';
CREATE OR REPLACE TABLE raw.airports AS FROM 'out/airports.parquet';
CREATE OR REPLACE TABLE raw.flights  AS FROM 'out/flights.parquet';
CREATE OR REPLACE TABLE raw.planes   AS FROM 'out/planes.parquet';
CREATE OR REPLACE TABLE raw.weather  AS FROM 'out/weather.parquet';

COMMIT;
