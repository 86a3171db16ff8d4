"""Lets `python -m edgerec` be the command `edgerec`."""

import sys

from edgerec.cli import main

sys.exit(main())
