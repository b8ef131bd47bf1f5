"""The line that a load prints with `progress=True`."""

from __future__ import annotations

import sys

from voisin._types import Progress


class Line:
    """A line of the standard error that is written over and over; line by line where it is no
    terminal, whenever the phase changes."""

    def __init__(self) -> None:
        self._is_terminal = sys.stderr.isatty()
        self._phase = ""
        self._width = 0

    def __call__(self, progress: Progress) -> None:
        if not self._is_terminal and progress.phase == self._phase:
            return
        self._phase = progress.phase
        text = f"voisin: {progress.phase} {progress.done}"
        if progress.total:
            text += f" of {progress.total}"
        if progress.rounds > 1:
            text += f", round {progress.rounds_done + 1} of {progress.rounds}"
        if progress.remaining is not None:
            text += f", {progress.remaining:.0f} s left"
        if self._is_terminal:
            sys.stderr.write("\r" + text.ljust(self._width))
            self._width = len(text)
        else:
            sys.stderr.write(text + "\n")
        sys.stderr.flush()

    def end(self, is_done: bool) -> None:
        text = "voisin: loaded" if is_done else "voisin: not loaded"
        if self._is_terminal:
            sys.stderr.write("\r" + text.ljust(self._width) + "\n")
        else:
            sys.stderr.write(text + "\n")
        sys.stderr.flush()
