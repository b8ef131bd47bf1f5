"""Adding items unless there is one near: as a plain loop over all pairs of vectors does."""

import numpy as np
import pytest
from conftest import rows

import voisin

NAMES = [(int, int), ("u64", lambda i: 2**50 + i), (str, lambda i: f"item {i:03}")]


@pytest.mark.parametrize("replace", [False, True])
@pytest.mark.parametrize(("kind", "name"), NAMES, ids=["u32", "u64", "str"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
def test_what_is_near_is_left_out_or_replaced(folder, kind, name, replace, dtype):
    index = voisin.create(folder, 2, metric="euclidean", ids=kind)
    data = rows(300, 2).astype(dtype)
    ids = [name(i) for i in range(300)]
    radius, kept, expected = 0.05, {}, []
    for id, vector in zip(ids, data.astype(np.float32), strict=True):
        squares = {other: float(((vector - at) ** 2).sum()) for other, at in kept.items()}
        near = min(squares, key=lambda other: (squares[other], other), default=None)
        if near is not None and squares[near] > radius:
            near = None
        if near is None or replace:
            kept[id if near is None else near] = vector
        expected.append(near)
    found = index.insert_unless_within(ids, data, radius=radius, replace=replace)
    assert [near and near.id for near in found] == expected
    assert sorted(index.ids()) == sorted(kept)
    for id, vector in kept.items():
        assert np.array_equal(index[id], vector)
    assert 20 < len(index) < 280
    assert index.check() == []


def test_records_go_with_what_is_written(index):
    index.add(1, [1.0, 0.0, 0.0, 0.0], {"n": 1})
    near = [1.0, 0.1, 0.0, 0.0]
    left = index.insert_unless_within(2, near, {"n": 2}, radius=0.1)
    assert isinstance(left, voisin.Hit) and left.id == 1
    assert (index.get_record(1), len(index)) == ({"n": 1}, 1)
    index.insert_unless_within([2], [near], [{"n": 3}], radius=0.1, replace=True)
    assert (index.get_record(1), len(index)) == ({"n": 3}, 1)
    assert index.insert_unless_within(2, [0.0, 0.0, 0.0, 9.0], {"n": 4}, radius=0.1) is None
    assert index.get_record(2) == {"n": 4}


def test_a_graph_finds_what_is_near_too(index):
    data = rows(3000)
    index.load(data)
    found = index.insert_unless_within(
        range(3000, 3100), data[:100], radius=0.001, approximate=True, link=False
    )
    assert [near and near.id for near in found].count(None) < 5 and index.pending < 5


def test_what_cannot_be_is_refused_and_changes_nothing(index):
    with pytest.raises(voisin.InvalidVector):
        index.insert_unless_within([1, 2], [[1.0] * 4, [np.nan] * 4], radius=1.0)
    with pytest.raises(voisin.InvalidParameter):
        index.insert_unless_within(1, [1.0] * 4, radius=float("nan"))
    with pytest.raises(voisin.LengthMismatch):
        index.insert_unless_within([1, 2], [[1.0] * 4], radius=1.0)
    assert len(index) == 0
