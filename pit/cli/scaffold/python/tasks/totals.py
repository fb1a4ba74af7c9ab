"""Total the usable orders by region."""

from package_name import orders

rows = orders.totals(orders.read("out/orders.csv"))
orders.write("out/totals.csv", rows)
for row in rows:
    print(f"{row['region']:<8} {row['orders']:>3} orders {row['amount']:>10}")
