CREATE OR REPLACE TABLE marts.dim_dates AS
SELECT
    day::DATE               AS flight_date,
    dayname(day)            AS weekday,
    isodow(day) >= 6        AS is_weekend,
    monthname(day)          AS month,
    quarter(day)            AS quarter
FROM range(DATE '2013-01-01', DATE '2014-01-01', INTERVAL 1 DAY) AS days (day);
