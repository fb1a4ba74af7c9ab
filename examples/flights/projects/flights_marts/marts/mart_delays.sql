-- Delays by route, carrier and weather. Sums beside counts, not averages: sums can be added up to
-- any coarser grain, averages cannot.

CREATE OR REPLACE TABLE marts.delays AS
SELECT
    f.origin,
    f.dest,
    airports.airport_name                                        AS destination,
    f.carrier,
    airlines.airline,
    f.weather,
    count(*)                                                     AS flights,
    count(*) FILTER (f.is_cancelled)                             AS cancelled,
    count(f.arrival_delay_minutes)                               AS arrived,
    count(*) FILTER (f.arrival_delay_minutes > 15)               AS late,
    coalesce(sum(f.departure_delay_minutes), 0)::BIGINT          AS departure_delay_minutes,
    coalesce(sum(f.arrival_delay_minutes), 0)::BIGINT            AS arrival_delay_minutes
FROM marts.fact_flights AS f
JOIN marts.dim_airports AS airports ON airports.airport = f.dest
JOIN marts.dim_airlines AS airlines ON airlines.carrier = f.carrier
GROUP BY ALL
ORDER BY ALL;
