-- No flight got lost or doubled on its way through the join with the weather.
SELECT
    (SELECT count(*) FROM raw.flights)           AS raw_flights,
    (SELECT count(*) FROM marts.fact_flights)    AS facts
WHERE raw_flights <> facts;
