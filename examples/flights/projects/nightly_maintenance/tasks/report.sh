#!/usr/bin/env bash
# The night in one look. In a real workspace this would go to a chat or a mailbox.
set -euo pipefail

echo "run:       $PIT_RUN_ID"
if [ -e "$PIT_WORKSPACE/archive/$WAREHOUSE" ]; then
    echo "archive:   $WAREHOUSE is copied and compared"
else
    echo "archive:   nothing to archive yet"
fi
echo "sizes:"
cat "$PIT_DATA_DIR/sizes.txt"
