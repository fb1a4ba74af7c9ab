-- Every airport that is flown to has a row, also the four (Puerto Rico, the Virgin Islands) that
-- the source's own table lacks: a mart must not lose flights to a join.

CREATE OR REPLACE TABLE marts.dim_airports AS
SELECT faa AS airport, name AS airport_name, lat, lon, tzone AS timezone
FROM raw.airports
UNION ALL
SELECT DISTINCT dest, dest, NULL, NULL, NULL
FROM raw.flights
WHERE dest NOT IN (SELECT faa FROM raw.airports)
ORDER BY airport;
