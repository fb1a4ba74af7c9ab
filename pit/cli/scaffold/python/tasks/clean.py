"""Read the raw orders, and write the usable ones."""

from package_name import orders

raw = orders.read("data/orders.csv")
usable = orders.clean(raw)
orders.write("out/orders.csv", usable)
print(f"{len(usable)} of {len(raw)} orders are usable")
