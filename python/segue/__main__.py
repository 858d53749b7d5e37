"""`python -m segue`, the same as `segue`."""

import sys

from segue._cli import main

if __name__ == "__main__":
    sys.exit(main())
