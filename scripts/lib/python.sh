# Sourced by scripts that make a virtual environment. `say` is the name that they speak by.
# shellcheck shell=bash

readonly PYTHON=/usr/bin/python3 # Debian's own: another may lack headers, or go with its user

require_python() {
  "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
    || fail "edgerec needs Python 3.11 or newer, and $PYTHON is $("$PYTHON" --version): use Debian 12 or newer"
  "$PYTHON" -c 'import sys; sys.exit(sys.maxsize < 2**32)' \
    || fail "edgerec needs a 64-bit system: soxr has no package for 32 bits"
}

fail() {
  echo "$say: $*" >&2
  exit 1
}
