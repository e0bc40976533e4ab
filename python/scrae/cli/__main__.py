"""``python -m scrae.cli``: the command line."""

import sys

from scrae.cli.command import main

sys.exit(main())
