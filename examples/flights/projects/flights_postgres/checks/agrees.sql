-- What Postgres computed against what DuckDB computes from the same table; no row may differ.
WITH here AS (
    SELECT
        origin,
        dest,
        sum(flights)                                                        AS flights,
        sum(arrival_delay_minutes) / nullif(sum(arrived), 0)                AS avg_delay
    FROM marts.delays
    GROUP BY ALL
)

SELECT *
FROM here
FULL JOIN marts.ranks AS there USING (origin, dest)
WHERE here.flights IS DISTINCT FROM there.flights
   OR abs(coalesce(here.avg_delay, 0) - coalesce(there.avg_delay, 0)) > 0.0051;
