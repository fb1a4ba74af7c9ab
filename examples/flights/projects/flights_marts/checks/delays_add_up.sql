-- Every cell counts a flight once: as arrived, as cancelled, or as neither if it was diverted. And
-- all cells together count all flights.
SELECT 'counts more than its flights' AS mistake, origin, dest, carrier, weather, flights
FROM marts.delays
WHERE arrived + cancelled > flights
UNION ALL
SELECT 'the sum differs from the facts', NULL, NULL, NULL, NULL, total
FROM (SELECT sum(flights) AS total FROM marts.delays)
WHERE total <> (SELECT count(*) FROM marts.fact_flights);
