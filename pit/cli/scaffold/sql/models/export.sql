-- A file for readers without access to the warehouse.
COPY (SELECT * FROM package_name.totals ORDER BY amount DESC) TO 'out/totals.csv' (HEADER);
