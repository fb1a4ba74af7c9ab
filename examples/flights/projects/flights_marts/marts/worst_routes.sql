-- The ten routes with the longest average delay at arrival, in minutes; see how much of it remains
-- in fair weather. A parameter of the run is a variable of the session; in pit.toml this task
-- declares that it takes this one.

WITH routes AS (
    SELECT
        origin,
        dest,
        any_value(destination)                        AS destination,
        sum(flights)                                  AS flights,
        sum(cancelled)                                AS cancelled,
        sum(arrived)                                  AS arrived,
        sum(late)                                     AS late,
        sum(arrival_delay_minutes)                    AS minutes,
        sum(arrived)               FILTER (bad)       AS bad_arrived,
        sum(arrival_delay_minutes) FILTER (bad)       AS bad_minutes,
        sum(arrived)               FILTER (fair)      AS fair_arrived,
        sum(arrival_delay_minutes) FILTER (fair)      AS fair_minutes
    FROM (
        SELECT *, weather = 'fair' AS fair, weather IN ('fog', 'rain or snow', 'storm') AS bad
        FROM marts.delays
    )
    GROUP BY origin, dest
),

carriers AS (
    SELECT origin, dest, arg_max(carrier, flights) AS main_carrier
    FROM (SELECT origin, dest, carrier, sum(flights) AS flights FROM marts.delays GROUP BY ALL)
    GROUP BY origin, dest
)

SELECT
    origin || '-' || dest                             AS route,
    destination,
    main_carrier                                      AS carrier,
    flights,
    round(100 * cancelled / flights, 1)               AS cancelled_pct,
    round(100 * late / arrived, 1)                    AS late_pct,
    round(minutes / arrived, 1)                       AS avg_delay,
    round(fair_minutes / fair_arrived, 1)             AS fair_weather,
    round(bad_minutes / bad_arrived, 1)               AS bad_weather
FROM routes
JOIN carriers USING (origin, dest)
WHERE flights >= getvariable('pit_param_min_flights')::INT
ORDER BY minutes / arrived DESC, route
LIMIT 10;
