#!/usr/bin/env bash
# Orders and amount per region, the largest first.
set -euo pipefail

mkdir -p out
{
    echo "region,orders,amount"
    awk -F, 'NR > 1 { orders[$3]++; amount[$3] += $4 }
             END { for (r in orders) printf "%s,%d,%.2f\n", r, orders[r], amount[r] }' \
        out/orders.csv | sort -t, -k3,3nr
} > out/totals.csv
cat out/totals.csv
