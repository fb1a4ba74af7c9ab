SELECT origin, dest, flights, avg_delay, place FROM flights.ranks ORDER BY place, origin, dest
