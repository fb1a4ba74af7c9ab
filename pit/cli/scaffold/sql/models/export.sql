-- A file for those who have no access to the warehouse.
COPY (SELECT * FROM package_name.totals ORDER BY amount DESC) TO 'out/totals.csv' (HEADER);
