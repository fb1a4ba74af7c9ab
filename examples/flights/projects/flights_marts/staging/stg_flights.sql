-- Flights in the names that the marts use. A flight without a departure time never left; one that
-- left but has no arrival delay was diverted.

CREATE OR REPLACE VIEW staging.flights AS
SELECT
    make_date(year, month, day)                       AS flight_date,
    time_hour                                         AS scheduled_hour_utc,
    carrier,
    flight                                            AS flight_number,
    tailnum,
    origin,
    dest,
    distance                                          AS distance_miles,
    dep_delay                                         AS departure_delay_minutes,
    arr_delay                                         AS arrival_delay_minutes,
    dep_time IS NULL                                  AS is_cancelled,
    dep_time IS NOT NULL AND arr_delay IS NULL        AS is_diverted
FROM raw.flights;
