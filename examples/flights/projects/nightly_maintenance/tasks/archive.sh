#!/usr/bin/env bash
# Copies the warehouse to the archive and proves that the copy is whole.
#
# Archives on spinning disks or tape sleep: the first request wakes them and fails, and a while later
# they answer. That is what retries with a growing delay are for. Here a file in the run's data
# folder plays the sleeping archive; the data folder outlives the attempt.
set -euo pipefail

if [ ! -e "$PIT_DATA_DIR/awake" ]; then
    touch "$PIT_DATA_DIR/awake"
    echo "attempt $PIT_ATTEMPT: the archive was asleep and is waking up; try again (this example fails once, on purpose)"
    exit 75 # EX_TEMPFAIL
fi

source="$PIT_WORKSPACE/$WAREHOUSE"
archive="$PIT_WORKSPACE/archive"
if [ ! -e "$source" ]; then
    echo "there is no $WAREHOUSE yet, so there is nothing to archive"
    exit 0
fi
mkdir -p "$archive"
cp "$source" "$archive/.$WAREHOUSE.new"
cmp "$source" "$archive/.$WAREHOUSE.new"
mv "$archive/.$WAREHOUSE.new" "$archive/$WAREHOUSE"
echo "attempt $PIT_ATTEMPT: archived $(wc -c < "$archive/$WAREHOUSE") bytes, compared byte for byte"
