"""`python -m voisin`: the command `voisin`."""

from __future__ import annotations

import sys

from voisin._command import main

if __name__ == "__main__":
    sys.exit(main())
