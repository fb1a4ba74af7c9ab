#!/usr/bin/env bash
# What takes how much room. Facts for later tasks go into the run's data folder.
set -euo pipefail

{
    for path in "$WAREHOUSE" archive runs .pit pit_metadata.db; do
        if [ -e "$PIT_WORKSPACE/$path" ]; then
            du -sk "$PIT_WORKSPACE/$path" | awk -v name="$path" '{ printf "%10d kB  %s\n", $1, name }'
        fi
    done
} | tee "$PIT_DATA_DIR/sizes.txt"
