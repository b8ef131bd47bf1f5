"""Temporary folders, for the indexes of doors that live as long as an object."""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from pathlib import Path
from typing import Protocol

import voisin
from voisin.errors import _exception

# The files of an index in its folder.
DATA, LOCK = "data.mdb", "lock.mdb"


class Folder:
    """A folder that is removed with this object, or when the interpreter ends. If the process is
    killed, it stays."""

    def __init__(self, parent: str | os.PathLike[str] | None = None) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="voisin-", dir=parent))
        self._finalizer = weakref.finalize(self, _remove, self.path, os.getpid())


def _remove(path: Path, owner: int) -> None:
    # A fork has a copy of the object, and its parent still uses the folder.
    if os.getpid() == owner:
        shutil.rmtree(path, ignore_errors=True)


def copied(index: voisin.Index, parent: str | os.PathLike[str] | None = None) -> Folder:
    """A compacted copy of an index, in a temporary folder."""
    folder = Folder(parent)
    index.copy_to(folder.path / "copy")
    os.replace(folder.path / "copy" / DATA, folder.path / DATA)
    shutil.rmtree(folder.path / "copy")
    return folder


class Owner(Protocol):
    """What has indexes of a folder open."""

    def close(self) -> None: ...


_OWNERS: weakref.WeakKeyDictionary[Owner, Path] = weakref.WeakKeyDictionary()


def owned(owner: Owner, path: str | os.PathLike[str]) -> None:
    """Notes that an object has indexes of a folder open, until these are replaced."""
    _OWNERS[owner] = Path(path).resolve()


def moved(folder: Folder, path: str | os.PathLike[str]) -> None:
    """Moves a folder to a path, in the place of an index that is there. What this process has open
    of that by an owner is closed; other processes keep what they have open.

    Raises:
        AlreadyThere: there is something else.
    """
    to = Path(path).resolve()
    to.parent.mkdir(parents=True, exist_ok=True)
    if to.exists():
        names = {entry.name for entry in to.iterdir()} if to.is_dir() else {""}
        if not names <= {DATA, LOCK}:
            message = f"{to} is there, and is no index of voisin alone: choose another path"
            raise _exception("Exists", "caller", message, str(to), None)
        for owner, place in list(_OWNERS.items()):
            if place == to:
                owner.close()
        replaced = Path(tempfile.mkdtemp(prefix=f".{to.name}-", dir=to.parent))
        os.replace(to, replaced / "old")
        shutil.move(folder.path, to)
        shutil.rmtree(replaced)
    else:
        shutil.move(folder.path, to)
