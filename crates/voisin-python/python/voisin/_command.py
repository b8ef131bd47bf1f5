"""The command `voisin`: that of the native library, as the work of this process."""

from __future__ import annotations

import sys

from voisin._voisin import _run_command


def main() -> int:
    """Runs the command with the arguments of this process, and returns its exit code: 0 done, 1 the
    answer is no, 2 wrong arguments or data, 3 wrong path, permission or disk, 4 damaged data, 130
    interrupted."""
    return _run_command(sys.argv[1:])
