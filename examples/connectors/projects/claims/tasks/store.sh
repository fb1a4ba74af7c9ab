# One object for each run; `pit sdk` prints what Pit answers.
set -eu
pit sdk s3_put secret=lake file=claims.csv key="claims/$PIT_RUN_ID.csv"
