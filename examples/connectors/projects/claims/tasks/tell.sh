# A word to the team, once the bank has the file.
set -eu
claims=$(pit sdk get_value name=claims task=convert)
pit sdk notify secret=team title=Claims body="The bank has $claims claims." severity=success
