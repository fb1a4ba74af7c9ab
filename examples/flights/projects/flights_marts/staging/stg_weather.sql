-- One word for the weather in an hour at an airport of departure; the first that fits wins.

CREATE OR REPLACE VIEW staging.weather AS
SELECT
    origin,
    time_hour AS hour_utc,
    CASE
        WHEN visib < 3        THEN 'fog'           -- less than 3 miles to see
        WHEN precip > 0       THEN 'rain or snow'  -- any at all, in inches an hour
        WHEN wind_speed >= 25 THEN 'storm'         -- miles an hour, sustained
        ELSE 'fair'
    END       AS weather
FROM raw.weather;
