#!/usr/bin/env bash
# The orders that have an amount, without duplicates, regions in lower case.
set -euo pipefail

mkdir -p out
awk -F, 'NR == 1 { print; next }
         $4 != "" && !seen[$1]++ { gsub(/ /, "", $3); print $1 "," $2 "," tolower($3) "," $4 }' \
    data/orders.csv > out/orders.csv
echo "$(($(wc -l < out/orders.csv) - 1)) of $(($(wc -l < data/orders.csv) - 1)) orders are usable"
