"""``python -m scrae``, and ``torchrun -m scrae``: the command line."""

import sys

from scrae.cli import main

if __name__ == "__main__":
    sys.exit(main())
