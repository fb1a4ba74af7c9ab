-- One row for each scheduled flight, with the weather at its airport in the hour it should leave.
-- Hours without an observation are 'unknown', never dropped.

CREATE OR REPLACE TABLE marts.fact_flights AS
SELECT flights.*, coalesce(weather.weather, 'unknown') AS weather
FROM staging.flights AS flights
LEFT JOIN staging.weather AS weather
    ON  weather.origin = flights.origin
    AND weather.hour_utc = flights.scheduled_hour_utc;
