"""Batches: as a whole, or not at all."""

import threading

import pytest
from conftest import rows

import voisin


def test_a_batch_is_committed_as_a_whole_at_its_end(index):
    with index.batch() as batch:
        batch.add([1, 2, 3], rows(3))
        batch.add(4, rows(1, seed=2)[0])
        batch.delete(2)
        batch.update([3], rows(1, seed=5))
        assert len(batch) == 4 and len(index) == 0
    assert index.ids().tolist() == [1, 3, 4]
    assert (index[3] == rows(1, seed=5)[0]).all()


def test_an_exception_undoes_the_batch(index):
    index.add(1, rows(1)[0])
    with pytest.raises(RuntimeError), index.batch() as batch:
        batch.add(2, rows(1)[0])
        batch.delete(1)
        raise RuntimeError
    assert index.ids().tolist() == [1]


def test_a_batch_that_cannot_be_made_changes_nothing(index):
    index.add(1, rows(1)[0])
    with pytest.raises(voisin.MissingItem, match="no item 9"), index.batch() as batch:
        batch.add([2, 3], rows(2))
        batch.delete(1)
        batch.update(9, rows(1)[0])
    assert index.ids().tolist() == [1]
    with pytest.raises(voisin.InvalidVector), index.batch() as batch:
        batch.delete(1)
        batch.add(7, [float("nan")] * 4)
    assert index.ids().tolist() == [1]


def test_what_is_wrong_is_raised_where_it_is_called(index):
    with index.batch() as batch:
        with pytest.raises(voisin.DimensionMismatch):
            batch.add(1, [1.0])
        with pytest.raises(voisin.LengthMismatch):
            batch.add([1], rows(2))
        with pytest.raises(voisin.InvalidId):
            batch.delete(-1)
        batch.add(1, rows(1)[0])
    assert index.ids().tolist() == [1]


def test_a_batch_keeps_what_it_was_given(index):
    vector = rows(1)[0]
    with index.batch() as batch:
        batch.add(1, vector)
        vector[:] = 0.0
    assert (index[1] == rows(1)[0]).all()


def test_a_batch_ends_once(index):
    batch = index.batch()
    batch.add(1, rows(1)[0])
    assert batch.commit() == 0
    for call in (batch.commit, lambda: batch.delete(1)):
        with pytest.raises(voisin.Closed):
            call()
    with index.batch() as batch:
        batch.delete(1)
        assert batch.commit() == 1
    with index.batch() as batch:
        batch.add(2, rows(1)[0])
        batch.discard()
    assert len(index) == 0


def test_batches_of_threads_follow_each_other(index):
    def work(number: int) -> None:
        for turn in range(10):
            with index.batch() as batch:
                first = (number * 10 + turn) * 5
                batch.add(range(first, first + 5), rows(5, seed=first))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert index.ids().tolist() == list(range(200))


def test_a_batch_of_each_kind_of_ids(folder):
    for ids, names in ((str, ["a", "b"]), ("u64", [2**40, 2**41])):
        index = voisin.create(folder, 4, ids=ids, name=str(ids))
        with index.batch(link=False) as batch:
            batch.add(names, rows(2))
            batch.delete(names[0])
        assert index.ids().tolist() == names[1:] and index.pending == 1


def test_a_tenant_in_a_batch_queues_what_the_batch_does(folder):
    index = voisin.create(folder, 4, metric="euclidean", ids=str)
    names = ["a", "b"]
    for of_tenant in (False, True):
        with index.batch() as batch:
            queue = batch.tenant("acme") if of_tenant else batch
            queue.add(names, rows(2), [{"n": 1}, None])
            queue.update("b", rows(1, seed=5)[0], {"n": 2})
            queue.set_record(["a", "b"], [{"n": 3}, None])
            for call, error in (
                (lambda: queue.add(["a"], rows(2)), voisin.LengthMismatch),
                (lambda: queue.update("a", [1.0]), voisin.DimensionMismatch),
                (lambda: queue.add(["a", "b"], rows(2), [{}]), voisin.LengthMismatch),
                (lambda: queue.set_record(["a", "b"], [{}]), voisin.LengthMismatch),
            ):
                with pytest.raises(error):
                    call()
            assert len(batch) == 3
        held = index.tenant("acme") if of_tenant else index
        assert held.get_records(names) == [{"n": 3}, None]
        assert (held.vectors(names) == [rows(2)[0], rows(1, seed=5)[0]]).all()
    assert len(index) == 4 and index.check() == []


def test_a_batch_whose_commit_fails_can_be_committed_again(index):
    """The remedy of a timeout is to try again, and a batch was over then."""
    index.add(1, rows(1)[0])
    is_held, may_end = threading.Event(), threading.Event()

    def holds(record: object) -> None:
        is_held.set()
        may_end.wait(30)

    index.set_record(1, {"n": 1})
    index.add_field("n", int)
    holder = threading.Thread(target=index.update_records, args=({"field": "n", "eq": 1}, holds))
    batch = index.batch(timeout=0.0)
    batch.add([2, 3], rows(2))
    batch.delete(1)
    holder.start()
    assert is_held.wait(30)
    try:
        for _ in range(2):
            with pytest.raises(voisin.WriteTimeout, match="within 0 s, .*: try again") as raised:
                batch.commit()
            assert raised.value.value == 0.0 and len(batch) == 2
        with pytest.raises(voisin.WriteTimeout), index.batch(timeout=0.02) as late:
            late.add(4, rows(1)[0])
        # Calls are taken as before.
        late.add(5, rows(1)[0])
    finally:
        may_end.set()
        holder.join()
    assert index.ids().tolist() == [1]
    assert batch.commit() == 1 and late.commit() == 0
    assert index.ids().tolist() == [2, 3, 4, 5]
    for ended in (batch, late):
        assert len(ended) == 0
        with pytest.raises(voisin.Closed, match="committed or discarded"):
            ended.commit()


def test_a_batch_that_cannot_be_made_waits_until_it_can_or_is_discarded(index):
    batch = index.batch()
    batch.add(1, rows(1)[0])
    batch.update(9, rows(1)[0])
    for _ in range(2):
        with pytest.raises(voisin.MissingItem):
            batch.commit()
    index.add(9, rows(1, seed=3)[0])
    assert batch.commit() == 0 and index.ids().tolist() == [1, 9]
    batch = index.batch()
    batch.update(7, rows(1)[0])
    with pytest.raises(voisin.MissingItem):
        batch.commit()
    batch.discard()
    with pytest.raises(voisin.Closed):
        batch.commit()


def test_an_open_batch_holds_no_lock(index):
    with index.batch() as batch:
        batch.add(1, rows(1)[0])
        # In the same thread, and at once.
        index.batch(timeout=0.0).commit()
        with index.batch(timeout=5.0) as other:
            other.add(2, rows(1)[0])
        assert index.ids().tolist() == [2]
    assert index.ids().tolist() == [1, 2]
