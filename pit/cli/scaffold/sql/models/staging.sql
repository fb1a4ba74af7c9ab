-- The orders that have an amount, without duplicates, with uniform region names.
CREATE SCHEMA IF NOT EXISTS package_name;

CREATE OR REPLACE TABLE package_name.orders AS
SELECT DISTINCT
    order_id,
    ordered_on,
    upper(left(trim(region), 1)) || lower(substr(trim(region), 2)) AS region,
    amount::DECIMAL(12, 2) AS amount
FROM read_csv('data/orders.csv')
WHERE amount IS NOT NULL;
