"""Queries that are kept, and what only they answer: pages, groups, several vectors, counts, recall,
explanations. Numpy is their twin."""

import pickle
import subprocess
import sys
import threading

import numpy as np
import pytest
from conftest import rows

import voisin
from voisin import field

VECTORS = rows(3000)
QUERY = rows(1, seed=5)[0]
DISTANCES = ((VECTORS.astype("float64") - QUERY) ** 2).sum(axis=1)
NEAREST = DISTANCES.argsort(kind="stable")


@pytest.fixture(params=["u32", "u64", "str"])
def named(request, folder):
    """An index, and the names of its rows."""
    index = voisin.create(folder, 4, metric="euclidean", ids=request.param, fields={"even": bool})
    name = (lambda i: f"item {i}") if request.param == "str" else int
    records = [{"even": i % 2 == 0} for i in range(3000)]
    index.load(VECTORS, [name(i) for i in range(3000)], records=records)
    yield index, name
    assert index.check() == []


@pytest.fixture
def filled(index):
    index.load(VECTORS)
    return index


def ids(found) -> list:
    return found.ids.tolist()


def test_a_query_answers_as_a_search_with_its_options(named):
    index, name = named
    for options in (
        {},
        {"exact": True, "records": True, "vectors": True},
        {"filter": field("even") == True, "exact": True},  # noqa: E712
        {"filter": [name(i) for i in range(0, 3000, 7)], "exclude": [name(0)]},
        {"filter": lambda id: str(id).endswith("3")},
        {"ef": 300, "kind": "hnsw", "codes": False},
        {"radius": 0.5, "parameters": "ef=50"},
    ):
        query = index.query(k=7, **options)
        for vector in (QUERY, QUERY.astype("float64"), QUERY.tolist()):
            assert ids(query.search(vector)) == ids(index.search(vector, k=7, **options))
        assert ids(query.search(VECTORS[:5])) == ids(index.search(VECTORS[:5], k=7, **options))
        one = index.similar(name(3), k=7, **options)
        assert (
            ids(query.similar(name(3))) == ids(one)
            and query.similar(name(3)).records == one.records
        )
    assert repr(query).startswith("<Query of <Index ")
    with index.snapshot() as snapshot:
        query = snapshot.query(k=1, exact=True)
        index.delete(name(int(NEAREST[0])))
        assert ids(query.search(QUERY)) == [name(int(NEAREST[0]))]
    with pytest.raises(voisin.Closed):
        query.search(QUERY)
    assert ids(index.query(k=1, exact=True).search(QUERY)) == [name(int(NEAREST[1]))]
    with pytest.raises(voisin.MissingItem):
        index.query().similar(name(int(NEAREST[0])))


def test_pages_have_all_items_once_in_their_order(named):
    index, name = named
    expected = [name(int(i)) for i in NEAREST]
    pages = index.query(k=100, exact=True, records=True).pages(QUERY)
    assert iter(pages) is pages and pages.position == 0
    found = []
    for page in pages:
        assert len(page) == 100 and page.records is not None and "even" in page.records[0]
        found += ids(page)
        assert pages.position == len(found)
    assert found == expected and list(pages) == []
    # A graph: all of them, the nearest first in general.
    found = [id for page in index.query(k=64).pages(QUERY) for id in ids(page)]
    assert sorted(found) == sorted(expected) and found[0] == expected[0]
    even = [name(int(i)) for i in NEAREST if i % 2 == 0]
    for restriction in (field("even") == True, lambda id: id in set(even)):  # noqa: E712
        pages = index.query(k=500, exact=True, filter=restriction).pages(QUERY)
        assert [id for page in pages for id in ids(page)] == even
    near = index.query(k=10, exact=True, radius=float(DISTANCES[NEAREST[24]])).pages(QUERY)
    assert [len(page) for page in near] == [10, 10, 5]
    others = [
        id for page in index.query(k=999, exact=True).similar_pages(name(7)) for id in ids(page)
    ]
    assert len(others) == 2999 and name(7) not in others
    with pytest.raises(voisin.MissingItem):
        index.query().similar_pages(name(5000))
    assert list(index.query(k=0).pages(QUERY)) == []
    assert "after 3000" in repr(pages) or "after 1500" in repr(pages)


def test_pages_stay_while_the_index_changes_and_tokens_do_not(filled):
    query = filled.query(k=5, exact=True)
    pages = query.pages(QUERY)
    first = ids(next(pages))
    token = pages.token
    assert (
        isinstance(token, str)
        and ids(next(query.pages(QUERY, after=token))) == NEAREST[5:10].tolist()
    )
    filled.delete(int(NEAREST[5]))
    assert first + ids(next(pages)) == NEAREST[:10].tolist()
    with pytest.raises(voisin.PagesExpired) as expired:
        query.pages(QUERY, after=token)
    assert "hold a snapshot" in expired.value.remedy and isinstance(expired.value.value, int)
    for wrong in ("", "zz", token[:-1], token[:-1] + ("0" if token[-1] != "0" else "1")):
        with pytest.raises(voisin.InvalidParameter):
            query.pages(QUERY, after=wrong)
    with pytest.raises(voisin.InvalidParameter, match="another query"):
        query.pages(QUERY + 1, after=query.pages(QUERY).token)


def test_another_process_goes_on_with_a_token(filled):
    pages = filled.query(k=5, exact=True).pages(QUERY)
    next(pages)
    program = (
        "import pickle, sys; index, vector, token = pickle.load(sys.stdin.buffer);"
        "print(next(index.query(k=5, exact=True).pages(vector, after=token)).ids.tolist())"
    )
    data = pickle.dumps((filled, QUERY, pages.token))
    done = subprocess.run(
        [sys.executable, "-c", program], input=data, capture_output=True, check=True
    )
    assert done.stdout.decode().strip() == str(NEAREST[5:10].tolist())


def test_pages_end_early_and_go_on(filled):
    token = voisin.CancelToken()
    pages = filled.query(k=1000, exact=True, cancel=token).pages(QUERY)
    assert len(next(pages)) == 1000
    token.cancel()
    stopped = next(pages)
    assert stopped.is_cancelled and pages.token is None
    late = filled.query(k=10, deadline=0.0).pages(QUERY)
    page = next(late)
    assert page.timed_out and len(page) < 10


def test_threads_do_not_share_pages_by_accident(filled):
    """A page attaches to the interpreter for its predicate: a lock would be a deadlock."""
    pages = filled.query(k=3, exact=True).pages(QUERY)
    found, refused = [], []

    def asks() -> None:
        for _ in range(100):
            try:
                found.append(ids(next(pages)))
            except voisin.InvalidParameter as error:
                refused.append(error)

    threads = [threading.Thread(target=asks) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) + len(refused) == 400
    together = [id for page in found for id in page]
    assert len(together) == len(set(together)) == 3 * len(found)


def test_groups_are_the_nearest_with_their_nearest(named):
    index, name = named
    number = {name(i): i for i in range(3000)}
    by = lambda id: f"group {number[id] % 7}"
    groups = index.query(k=3, exact=True).groups(QUERY, by=by, per_group=4)
    expected: dict = {}
    for i in NEAREST:
        expected.setdefault(f"group {i % 7}", []).append(name(int(i)))
    first = list(expected)[:3]
    assert [group.group for group in groups] == first and len(groups) == 3
    for group in groups:
        assert [hit.id for hit in group.hits] == expected[group.group][:4]
        assert all(isinstance(hit, voisin.Hit) for hit in group.hits)
    assert groups[0] == groups.groups[0] and groups[-1:] == groups.groups[-1:]
    assert not groups.is_cancelled and groups.strategy in ("all", "graph", "candidates")
    # What Python takes for equal is one group.
    same = index.query(k=2, exact=True).groups(QUERY, by=lambda id: (1, 1.0, True)[number[id] % 3])
    assert len(same) == 1 and len(same[0].hits) == 1
    with pytest.raises(LookupError):
        index.query().groups(QUERY, by=lambda id: {}[id])
    with pytest.raises(TypeError):
        index.query().groups(QUERY, by=lambda id: [id])
    with pytest.raises(voisin.InvalidVector):
        index.query().groups(VECTORS[:2], by=by)


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
def test_several_vectors_are_asked_for_at_once(filled, dtype):
    queries = rows(3, seed=9).astype(dtype)
    exact = queries.astype("float64")
    distances = ((VECTORS.astype("float64")[:, None, :] - exact[None, :, :]) ** 2).sum(axis=2)
    query = filled.query(k=5, exact=True)
    nearest = distances.min(axis=1).argsort(kind="stable")[:5]
    found = query.nearest_of(queries)
    assert ids(found) == nearest.tolist()
    assert np.allclose(found.distances, distances.min(axis=1)[nearest], rtol=1e-5)
    for weights in (None, [1.0, 2.0, 0.5], np.array([3.0, -1.0, -0.5], dtype="float32")):
        of = np.ones(3) if weights is None else np.asarray(weights, dtype="float64")
        total = (distances * of).sum(axis=1)
        found = query.weighted(queries, weights)
        assert ids(found) == total.argsort(kind="stable")[:5].tolist()
        assert np.allclose(found.distances, np.sort(total)[:5], rtol=1e-4, atol=1e-4)
    with pytest.raises(voisin.LengthMismatch):
        query.weighted(queries, [1.0])
    with pytest.raises(voisin.CallerError):
        query.weighted(queries, [1.0, -5.0, 0.0])
    with pytest.raises(voisin.CallerError):
        query.weighted(queries, [float("nan"), 1.0, 1.0])
    for call in (query.nearest_of, query.weighted):
        with pytest.raises(voisin.InvalidVector, match="matrix"):
            call(queries[0])
    with pytest.raises(voisin.DimensionMismatch):
        query.nearest_of(queries[:, :3])


def test_diverse_items_are_those_of_maximal_marginal_relevance(filled):
    among, k, relevance = 40, 6, 0.6
    pool = NEAREST[:among].tolist()
    chosen: list[int] = []
    between = lambda a, b: float(((VECTORS[a].astype("float64") - VECTORS[b]) ** 2).sum())
    while len(chosen) < k:

        def score(i: int) -> float:
            if not chosen:
                return DISTANCES[i]
            return relevance * DISTANCES[i] - (1 - relevance) * min(between(i, c) for c in chosen)

        best = min((i for i in pool if i not in chosen), key=score)
        chosen.append(best)
    query = filled.query(k=k, exact=True)
    assert ids(query.diverse(QUERY, relevance=relevance, among=among)) == chosen
    assert ids(query.diverse(QUERY, relevance=1.0, among=among)) == NEAREST[:k].tolist()
    with pytest.raises(voisin.CallerError):
        query.diverse(QUERY, relevance=1.5)


def test_items_within_a_radius_are_counted(filled):
    query = filled.query()
    for radius in (0.0, 0.3, 2.0, 100.0):
        count = query.count_within(QUERY, radius)
        assert count == voisin.Count(int((DISTANCES <= radius).sum()), count.low, count.high, False)
        assert count.is_exact and count.low == count.items
    half = float(np.median(DISTANCES))
    estimate = query.count_within(QUERY, half, sample=500)
    assert estimate.low <= estimate.items <= estimate.high and not estimate.is_exact
    assert estimate.low - 200 <= 1500 <= estimate.high + 200
    even = filled.query(filter=range(0, 3000, 2)).count_within(QUERY, 2.0)
    assert even.items == int((DISTANCES[::2] <= 2.0).sum())
    with pytest.raises(voisin.CallerError):
        query.count_within(QUERY, float("nan"))


def test_recall_is_measured_and_queries_are_explained(filled):
    recall = filled.query(k=10, ef=200, exact=False).measure_recall(50)
    assert isinstance(recall, voisin.Recall) and 0 < recall.queries <= 75
    assert recall.low <= recall.mean <= recall.high and recall.mean > 0.9
    assert filled.query(k=10, exact=True).measure_recall(20).mean == 1.0
    explained = filled.query(k=3, filter=range(0, 3000, 10), records=True).explain(QUERY)
    assert isinstance(explained, voisin.Explanation) and explained.possible == 300
    assert ids(explained.answer) == ids(filled.search(QUERY, k=3, filter=range(0, 3000, 10)))
    assert (
        explained.ways[0].is_chosen and [way.is_chosen for way in explained.ways].count(True) == 1
    )
    assert {way.strategy for way in explained.ways} >= {"candidates"}
    assert all(way.took > 0 for way in explained.ways) and repr(explained).count("\n") >= 2
    assert explained.recall is None and filled.query(recall=0.9).explain(QUERY).recall == 0.9
    token = voisin.CancelToken()
    token.cancel()
    with pytest.raises(voisin.Cancelled):
        filled.query(cancel=token).measure_recall(50)


def test_questions_of_a_query_take_one_vector_or_several(filled):
    query = filled.query()
    for call in (
        query.pages,
        query.explain,
        query.diverse,
        lambda vector: query.count_within(vector, 1.0),
    ):
        with pytest.raises(voisin.InvalidVector, match="one vector"):
            call(VECTORS[:2])
        with pytest.raises(voisin.DimensionMismatch):
            call([1.0])
    with pytest.raises(voisin.NamingMismatch):
        filled.query(prefix="a")
    with pytest.raises(voisin.InvalidParameter):
        filled.query(deadline=-1.0)
