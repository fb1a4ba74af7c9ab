# The bank sees the file whole or not at all: it gets its name when all of it is there.
set -eu
pit sdk ftp_put secret=bank file=claims.csv path=inbox/ parents=true
