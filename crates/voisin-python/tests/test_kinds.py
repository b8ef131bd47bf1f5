"""Kinds of index: chosen at creation, changed on a living index, named by searches."""

import pickle

import numpy as np
import pytest
from conftest import rows

import voisin

VECTORS = rows(6000, 8)
QUERIES = rows(20, 8, seed=3)


def truth(k: int = 10) -> list[list[int]]:
    distances = ((QUERIES[:, None, :] - VECTORS[None, :, :]) ** 2).sum(axis=2)
    return distances.argsort(axis=1, kind="stable")[:, :k].tolist()


def recall(found: voisin.FoundMany) -> float:
    pairs = zip(found.ids.tolist(), truth(), strict=True)
    return float(np.mean([len(set(a) & set(b)) / 10 for a, b in pairs]))


def create(folder, **options) -> voisin.Index:
    index = voisin.create(folder, 8, metric="euclidean", codes=None, **options)
    index.load(VECTORS)
    return index


def test_an_index_has_a_graph_unless_it_is_told_otherwise(folder):
    index = create(folder)
    assert index.kinds() == ["flat", "hnsw"] == index.stats().index_kinds
    assert voisin.inspect(folder)[0].kinds == ["flat", "hnsw"]
    assert (
        voisin.open_or_create(folder, 8, metric="euclidean", kinds=["hnsw"]).kinds()
        == index.kinds()
    )
    with pytest.raises(voisin.Mismatch):
        voisin.open_or_create(folder, 8, metric="euclidean", kinds=["flat"])


def test_without_a_graph_nothing_is_pending_and_every_answer_is_exact(folder):
    index = create(folder, kinds=["flat"])
    index.add(9000, VECTORS[0])
    assert (index.kinds(), index.pending, index.stats().layers) == (["flat"], 0, [])
    found = index.search(QUERIES[0])
    assert found.is_complete and found.strategy == "all"
    certificate = found.certificate
    assert isinstance(certificate, voisin.Certificate)
    assert (certificate.items, certificate.compared, certificate.ruled_out) == (6001, 6001, 0)
    with index.snapshot() as snapshot:
        assert snapshot.commit == certificate.commit == found.commit
    index.delete(9000)
    assert index.search(QUERIES, k=10).ids.tolist() == truth()
    with pytest.raises(voisin.InvalidParameter, match="hnsw") as refused:
        index.search(QUERIES[0], kind="hnsw")
    assert (refused.value.kind, refused.value.value, refused.value.limit) == (
        "KindMismatch",
        "hnsw",
        "flat",
    )
    assert "Index.add_kind" in str(refused.value) and "::" not in str(refused.value)
    assert index.check() == []


def test_inverted_lists_are_probed(folder):
    index = create(folder, kinds=["ivf", "hnsw"])
    assert index.kinds() == ["flat", "hnsw", "ivf"]
    lists = index.stats().lists
    assert lists is not None and lists.lists > 10 and lists.smallest <= lists.largest
    found = index.search(QUERIES[0], kind="ivf", nprobe=3)
    assert found.strategy == "lists" and found.certificate is None and found.cost[2] == 3
    recalls = [
        recall(index.search(QUERIES, kind="ivf", nprobe=nprobe)) for nprobe in (1, 4, 16, 10_000)
    ]
    assert recalls == sorted(recalls) and recalls[0] < recalls[-1] == 1.0
    by_text = index.search(QUERIES, kind="ivf", parameters="nprobe=4")
    assert by_text.ids.tolist() == index.search(QUERIES, kind="ivf", nprobe=4).ids.tolist()
    assert index.search(QUERIES[0], kind="hnsw").strategy == "graph"
    assert index.search(QUERIES, kind="flat").ids.tolist() == truth()
    assert recall(index.search(QUERIES, kind="ivf", recall=0.9)) > 0.8
    some = index.search(
        QUERIES[0], kind="ivf", nprobe=10_000, filter=range(0, 6000, 2), records=True
    )
    assert all(id % 2 == 0 for id in some.ids.tolist()) and some.records == [None] * 10
    assert index.similar(17, kind="ivf", nprobe=50).ids.tolist() != [17]
    assert voisin.inspect(folder)[0].kinds == ["flat", "hnsw", "ivf"]


def test_kinds_are_added_to_and_dropped_from_a_living_index(folder):
    index = create(folder, kinds=["flat"])
    assert index.add_kind("ivf") and not index.add_kind("ivf")
    with index.snapshot() as before:
        assert index.drop_kind("ivf") and not index.drop_kind("ivf")
        assert before.kinds() == ["flat", "ivf"] and index.kinds() == ["flat"]
        assert before.search(QUERIES[0], kind="ivf").strategy == "lists"
    assert index.add_kind("hnsw") and pickle.loads(pickle.dumps(index)).kinds() == ["flat", "hnsw"]
    assert recall(index.search(QUERIES, ef=200, kind="hnsw")) > 0.9
    assert index.check() == []
    with pytest.raises(voisin.InvalidParameter):
        index.drop_kind("flat")


def test_what_is_no_kind_and_no_parameter_is_refused_with_what_there_is(folder):
    for call in (
        lambda: voisin.create(folder, 8, kinds=["tree"]),
        lambda: voisin.create(folder, 8, metric="hamming", kinds=["ivf"]),
    ):
        with pytest.raises(voisin.InvalidParameter):
            call()
        assert not folder.exists()
    index = create(folder)
    for call in (
        lambda: index.add_kind("tree"),
        lambda: index.drop_kind("tree"),
        lambda: index.search(QUERIES[0], kind="tree"),
        lambda: index.query(kind="tree"),
    ):
        with pytest.raises(voisin.InvalidParameter, match='"flat", "hnsw"'):
            call()
    for text in ("ef=80,depth=3", "ef", "nprobe=0", "recall=2"):
        with pytest.raises(voisin.InvalidParameter) as refused:
            index.search(QUERIES[0], parameters=text)
        assert refused.value.kind == "InvalidParameters" and refused.value.value in text
    assert recall(index.search(QUERIES, parameters="ef=400, codes=0")) > 0.9


def test_an_index_is_named_in_what_is_wrong_with_it(tmp_path):
    index = voisin.create(tmp_path, 4, name="notes", kinds="flat")
    index.add([1, 2], rows(2))
    snapshot, query = index.snapshot(), index.query(kind="ivf")
    for call in (
        lambda: index.search(rows(1)[0], kind="ivf"),
        lambda: index.search(rows(2), kind="ivf"),
        lambda: index.similar(1, kind="ivf"),
        lambda: snapshot.search(rows(1)[0], kind="ivf"),
        lambda: query.pages(rows(1)[0]),
        lambda: index.drop_kind("flat"),
    ):
        with pytest.raises(voisin.InvalidParameter, match='^index "notes" has the kinds flat: '):
            call()
    codes = voisin.create(tmp_path, 4, name="bytes", dtype="i8")
    with pytest.raises(voisin.NotTrained, match='^index "bytes" stores components as i8'):
        codes.add(1, rows(1)[0])
