"""Files of indexes: archives in the format of zip, without compression. A folder has an index.

| member | what it is |
|---|---|
| `index.json` | the class of the index, what its constructor takes, its parameters |
| `ids.npy` | the ids of all items by their place, `int64`, unless these are the places |
| `live.npy` | the ids that voisin has for them, ascending, unless these are 0, 1, 2, ... |
| `data.mdb` | the file of the index of voisin, unless there are no items |
| `index/` | the other index of an `IndexIDMap` |
"""

from __future__ import annotations

import errno
import io
import json
import os
import shutil
import tempfile
import zipfile
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

import voisin
from voisin._temporary import DATA, Folder, copied
from voisin.errors import _exception
from voisin.faiss import _binary, _classes
from voisin.faiss._asked import IO_FLAG_READ_ONLY, Ints, Place, parent
from voisin.faiss._classes import IndexIDMap
from voisin.faiss._index import MAP_BYTES, Index, Stored

_VERSION = 1
_CLASSES: dict[str, type[Index]] = {
    name: one
    for module in (_classes, _binary)
    for name, one in vars(module).items()
    if isinstance(one, type) and issubclass(one, Index) and name.startswith("Index")
}
del _CLASSES["Index"], _CLASSES["IndexBinary"]


def write_index(index: Index, fname: Place) -> None:
    """Writes an index to a file, which appears as a whole or not at all. FAISS cannot read it."""
    path = Path(fname)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=path.name, delete=False) as file:
        try:
            with zipfile.ZipFile(file, "w") as to:
                _write(index, to, "")
            file.flush()
            os.fsync(file.fileno())
            os.replace(file.name, path)
        except BaseException:
            os.unlink(file.name)
            raise


def read_index(fname: Place, io_flags: int = 0) -> Index:
    """Reads an index from a file that `write_index` has written: a copy of it, as with FAISS, which
    cannot be changed under `IO_FLAG_READ_ONLY`.

    Raises:
        voisin.Corrupt: the file is damaged, or was written by something else.
    """
    with open(fname, "rb") as file:
        return _read_from(file, bool(io_flags & IO_FLAG_READ_ONLY))


write_index_binary, read_index_binary = write_index, read_index


def serialize_index(index: Index) -> npt.NDArray[np.uint8]:
    """The bytes that `write_index` writes."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as to:
        _write(index, to, "")
    return np.frombuffer(file.getvalue(), dtype=np.uint8)


def deserialize_index(data: npt.NDArray[np.uint8]) -> Index:
    """An index from the bytes of `serialize_index`."""
    return _read_from(io.BytesIO(np.asarray(data, dtype=np.uint8).tobytes()))


def _write(index: Index, to: zipfile.ZipFile, at: str) -> None:
    """Writes an index to the folder `at` of an archive."""
    told: dict[str, Any] = {"version": _VERSION, "class": type(index).__name__}
    if index._labels is not None:
        _write_array(to, f"{at}ids.npy", index._labels)
    if isinstance(index, IndexIDMap):
        _write(index.index, to, f"{at}index/")
    elif isinstance(index, Stored):
        told["arguments"], told["parameters"] = index._arguments(), index._parameters()
        told["is_trained"], told["next"] = index.is_trained, index._next
        if index._live is not None:
            _write_array(to, f"{at}live.npy", index._live)
        if index._index is not None:
            copy = copied(index._index, parent())
            to.write(copy.path / DATA, f"{at}{DATA}")
    to.writestr(f"{at}index.json", json.dumps(told))


def _write_array(to: zipfile.ZipFile, name: str, values: Ints) -> None:
    with to.open(name, "w", force_zip64=True) as file:
        np.save(file, values, allow_pickle=False)


def _read_from(file: BinaryIO, read_only: bool = False) -> Index:
    try:
        with zipfile.ZipFile(file) as of:
            return _read(of, "", read_only)
    except Exception as error:
        is_of_disk = isinstance(error, OSError) and error.errno != errno.EINVAL
        if is_of_disk or isinstance(error, voisin.DataError):
            raise
        # Whatever the bytes are, such as an offset before the file, they are no index.
        raise _exception(
            "Corrupt",
            "data",
            f"this is no index of voisin.faiss, or it is damaged ({error}): read an index of FAISS "
            "by FAISS, and add its vectors to one of voisin",
            None,
            None,
        ) from error


def _read(of: zipfile.ZipFile, at: str, read_only: bool) -> Index:
    names = of.namelist()
    told = json.loads(of.read(f"{at}index.json"))
    if told["version"] != _VERSION:
        message = f"the file has version {told['version']}: read it by the voisin that wrote it"
        raise _exception("FormatVersion", "data", message, told["version"], _VERSION)
    kind = _CLASSES[told["class"]]
    index: Index
    if issubclass(kind, IndexIDMap):
        inner = _read(of, f"{at}index/", read_only)
        wrapper = kind(inner._like())
        wrapper.index, index = inner, wrapper
    else:
        index = kind._of(told["arguments"])
        for name, value in told["parameters"].items():
            index.set_parameter(name, value)
        index.is_trained = bool(told["is_trained"])
    if isinstance(index, Stored):
        index._next = int(told["next"])
        index._live = _read_array(of, f"{at}live.npy") if f"{at}live.npy" in names else None
        if f"{at}{DATA}" in names:
            _open_data(index, of, f"{at}{DATA}", read_only)
    if f"{at}ids.npy" in names:
        index._labels = _read_array(of, f"{at}ids.npy")
    if index._labels is not None and len(index._labels) != index.ntotal:
        raise ValueError(f"{len(index._labels)} ids of {index.ntotal} items")
    return index


def _open_data(index: Stored, of: zipfile.ZipFile, name: str, read_only: bool) -> None:
    folder = Folder(parent())
    with of.open(name) as data, open(folder.path / DATA, "wb") as to:
        shutil.copyfileobj(data, to, 1 << 20)
    opened = voisin.open(folder.path, map_size=MAP_BYTES, read_only=read_only)
    if (len(opened), opened.dimensions) != (index.ntotal, index.d):
        raise ValueError(f"{len(opened)} items of {opened.dimensions} dimensions")
    index._folder, index._index = folder, opened


def _read_array(of: zipfile.ZipFile, name: str) -> Ints:
    with of.open(name) as file:
        values = np.load(io.BytesIO(file.read()), allow_pickle=False)
    if values.ndim != 1 or values.dtype != np.int64:
        raise ValueError(f"{name} has shape {values.shape} and type {values.dtype}")
    return np.asarray(values)
