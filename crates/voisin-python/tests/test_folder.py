"""Several indexes of a folder, and tables of the caller's, in one commit."""

import pickle
import subprocess
import sys
import textwrap

import pytest
from conftest import rows

import voisin


@pytest.fixture
def library(folder):
    voisin.create(folder, 4, name="titles", ids=str)
    voisin.create(folder, 3, name="bodies", ids=str, metric="euclidean")
    with voisin.Folder(folder) as it:
        yield it
    with voisin.Folder(folder) as it:
        for name in it.names():
            assert it[name].check() == []


def test_a_write_commits_all_indexes_and_tables_or_nothing(library):
    titles, bodies = library["titles"], library["bodies"]
    with library.write() as txn:
        txn["titles"].add(["emma", "dune"], rows(2))
        txn[bodies].add("emma", [0.1, 0.2, 0.3], {"pages": 400})
        assert txn["bodies"] is txn[bodies] and len(txn["titles"]) == 1
        authors = txn.table("authors")
        authors["emma"] = "Austen"
        authors[b"dune"] = b"Herbert"
        authors["gone"] = "x"
        del authors["gone"]
        assert len(titles) == 0
    assert (list(titles), list(bodies)) == (["dune", "emma"], ["emma"])
    assert titles.snapshot().commit == bodies.snapshot().commit
    assert library.table("authors").items() == [(b"dune", b"Herbert"), (b"emma", b"Austen")]
    with pytest.raises(RuntimeError), library.write() as txn:
        txn["titles"].delete("emma")
        del txn.table("authors")["emma"]
        raise RuntimeError
    with pytest.raises(voisin.MissingItem, match="nobody"), library.write() as txn:
        txn["titles"].delete("emma")
        txn.table("authors")["emma"] = "?"
        txn["bodies"].update("nobody", [1.0, 2.0, 3.0])
    assert "emma" in titles and library.table("authors")["emma"] == b"Austen"
    with library.write(link=False) as txn:
        txn["titles"].add("late", rows(1)[0])
        txn["bodies"].delete("emma")
    assert (titles.pending, len(bodies)) == (1, 0)
    txn = library.write()
    txn[titles].delete(["late", "dune"])
    assert txn.commit() == 2


def test_a_write_ends_once(library):
    with library.write() as txn:
        part = txn["titles"]
        part.add("a", rows(1)[0])
        for call in (part.commit, part.discard, part.__enter__):
            with pytest.raises(voisin.InvalidParameter, match=r"a part of Folder\.write"):
                call()
    with pytest.raises(voisin.Closed):
        part.delete("a")
    for call in (txn.commit, lambda: txn["titles"], lambda: txn.table("t").__setitem__("a", "b")):
        with pytest.raises(voisin.Closed):
            call()
    txn = library.write()
    txn["titles"].delete("a")
    txn.discard()
    assert len(library["titles"]) == 1


def test_a_snapshot_reads_tables_that_the_process_has_not_opened(library, folder):
    with library.write() as txn:
        txn.table("log")["k"] = "v"
    code = textwrap.dedent(
        f"""
        import voisin
        with voisin.Folder({str(folder)!r}) as library, library.snapshot() as before:
            log, none = before.table("log"), before.table("none")
            assert (log["k"], log.items(prefix="k"), len(log)) == (b"v", [(b"k", b"v")], 1)
            assert (none.get("k", 3), none.items(), len(none), "k" in none) == (3, [], 0, False)
            library.table("later")
            assert before.table("later").items() == []
            assert library.snapshot().commit == before.commit + 1, "Folder.table creates"
        """
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_snapshot_is_all_of_a_folder_at_one_commit(library):
    with library.write() as txn:
        txn["titles"].add("a", rows(1)[0])
        txn.table("t")["a"] = "1"
    with library.snapshot() as before:
        with library.write() as txn:
            txn["titles"].delete("a")
            txn["bodies"].add("b", [1.0, 2.0, 3.0])
            txn.table("t")["a"] = "2"
        held = before["titles"]
        assert (list(held), len(before["bodies"]), before.table("t")["a"]) == (["a"], 0, b"1")
        assert held.commit == before.commit < library.snapshot().commit
        assert library.table("t")["a"] == b"2" and len(library["titles"]) == 0
        table = before.table("t")
    with pytest.raises(voisin.Closed):
        table.get("a")
    with pytest.raises(voisin.Closed):
        before["titles"]
    # It holds the commit itself.
    assert list(held) == ["a"]
    with pytest.raises(voisin.NotThere, match="titles"):
        library.snapshot()["none"]


def test_tables_are_like_dicts_of_bytes(library):
    with library.write() as txn:
        table = txn.table("t")
        for i in range(30):
            table[f"{i % 3}/{i:02}"] = bytearray([i])
    table = library.table("t")
    assert (len(table), bool(library.table("empty")), table.name) == (30, True, "t")
    assert table.items(prefix=b"1/")[:2] == [(b"1/01", b"\x01"), (b"1/04", b"\x04")]
    assert len(table.items(prefix="")) == 30 and table.items(prefix="9") == []
    assert table.get("x") is None and table.get("x", 7) == 7 and b"0/00" in table
    with pytest.raises(KeyError, match="x"):
        table["x"]
    for wrong in ("", "x" * 512, 7, None, [1, 2]):
        with pytest.raises(voisin.InvalidParameter):
            table.get(wrong)
    with library.write() as txn:
        with pytest.raises(voisin.InvalidParameter, match="value"):
            txn.table("t")["a"] = 7
        with pytest.raises(voisin.InvalidParameter, match="index is 7, of type int"):
            txn[7]
    for name in ("voisin", "", "a\0b"):
        with pytest.raises(voisin.InvalidParameter):
            library.table(name)
    for it in (library, table, library.snapshot()):
        with pytest.raises(TypeError, match="cannot be pickled"):
            pickle.dumps(it)


def test_an_index_takes_the_place_of_another(library):
    library.swap_names("titles", "bodies")
    assert (library["titles"].dimensions, library["bodies"].dimensions) == (3, 4)
    with pytest.raises(voisin.NotThere, match="name one of these"):
        library.swap_names("titles", "none")
    library.swap_names("titles", "bodies")


def test_an_index_of_another_folder_is_refused(library, tmp_path):
    other = voisin.create(tmp_path / "other", 4)
    with pytest.raises(voisin.Mismatch, match="open the index in that folder"):
        with library.write() as txn:
            txn["titles"].add("a", rows(1)[0])
            txn[other].add(1, rows(1)[0])
    assert len(library["titles"]) == 0
    with pytest.raises(voisin.NotThere):
        voisin.Folder(tmp_path / "none")
    library.close()
    with pytest.raises(voisin.Closed):
        library.write()
    with voisin.Folder(library.path) as again:
        assert again.names() == ["bodies", "titles"]
    assert other.folder().names() == ["main"]


def test_the_number_of_tables_is_an_option(tmp_path):
    voisin.create(tmp_path / "few", 4).close()
    program = """
        import sys, voisin
        folder = voisin.Folder(sys.argv[1], max_databases=int(sys.argv[2]))
        for i in range(40):
            folder.table(f"{i}")
        print(folder.names())
    """
    run = [sys.executable, "-c", textwrap.dedent(program), str(tmp_path / "few")]
    done = subprocess.run([*run, "40"], capture_output=True, text=True)
    assert done.stdout.strip() == "['main']", done.stderr
    done = subprocess.run([*run, "20"], capture_output=True, text=True)
    assert "max_databases" in done.stderr and done.returncode == 1


def test_a_write_whose_commit_fails_can_be_committed_again(library):
    txn = library.write()
    txn["titles"].add("x", rows(1)[0])
    txn["bodies"].update("nobody", rows(1, 3)[0])
    txn.table("t")["k"] = b"v"
    for _ in range(2):
        with pytest.raises(voisin.MissingItem, match="nobody"):
            txn.commit()
    assert "x" not in library["titles"] and library.table("t").get("k") is None
    assert len(txn["titles"]) == 1 and len(txn["bodies"]) == 1
    library["bodies"].add("nobody", rows(1, 3, seed=5)[0])
    assert txn.commit() == 0
    assert "x" in library["titles"] and library.table("t")["k"] == b"v"
    with pytest.raises(voisin.Closed):
        txn.commit()


def test_a_key_that_a_table_lacks_is_told_with_the_table(library):
    for key in ("nope", b"nope"):
        with pytest.raises(voisin.MissingKey, match='the table "t" has no key .*nope') as raised:
            library.table("t")[key]
        assert isinstance(raised.value, KeyError) and "use get" in raised.value.remedy
