"""`python -m pit`, the same as the `pit` command."""

import sys

from pit.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
