"""`python -m mandate`: the command line."""

import sys

from mandate.cli import main

if __name__ == "__main__":
    sys.exit(main())
