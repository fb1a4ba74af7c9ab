-- What must hold before anybody looks at the numbers. A check that fails fails its task, and the
-- run, with its sentence as the error.

-- No flight got lost or doubled on its way through the joins.
SELECT if(
    (SELECT sum(flights) FROM marts.delays) = (SELECT count(*) FROM raw.flights),
    'every raw flight is in the mart once',
    error('marts.delays does not add up to raw.flights')
) AS check_flights;

-- Nothing arrives that was cancelled.
SELECT if(
    (SELECT count(*) FROM marts.delays WHERE arrived + cancelled > flights) = 0,
    'cancelled and arrived never exceed the flights',
    error('marts.delays counts a flight both as cancelled and as arrived')
) AS check_counts;

-- The weather is known nearly always; if not, the join on the hour is broken.
SELECT if(
    (SELECT avg((weather = 'unknown')::INT) FROM marts.fact_flights) < 0.02,
    'the weather is known for at least 98 % of the flights',
    error('too many flights without weather; are the hours in UTC on both sides?')
) AS check_weather;
