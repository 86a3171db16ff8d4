"""Runs the command `edgerec` for `python -m edgerec`."""

import sys

from edgerec.cli import main

sys.exit(main())
