-- There is a first, and no two routes have one place unless their delays are the same.
SELECT place, count(*) AS routes, count(DISTINCT avg_delay) AS delays
FROM flights.ranks
WHERE avg_delay IS NOT NULL
GROUP BY place
HAVING count(DISTINCT avg_delay) > 1
UNION ALL
SELECT 0, 0, 0 WHERE NOT EXISTS (SELECT 1 FROM flights.ranks WHERE place = 1);
