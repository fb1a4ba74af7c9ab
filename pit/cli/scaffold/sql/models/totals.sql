-- Orders and amount per region, the largest first.
CREATE OR REPLACE TABLE package_name.totals AS
SELECT region, count(*) AS orders, sum(amount) AS amount
FROM package_name.orders
GROUP BY region
ORDER BY amount DESC;

SELECT * FROM package_name.totals;
