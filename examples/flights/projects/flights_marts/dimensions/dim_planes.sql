CREATE OR REPLACE TABLE marts.dim_planes AS
SELECT tailnum, manufacturer, model, year AS built, 2013 - year AS age_years, seats, engines
FROM raw.planes
ORDER BY tailnum;
