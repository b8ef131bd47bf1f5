"""What notebooks show: the report, and the tables of indexes, answers and statistics. All text of
users is escaped."""

import re
import xml.etree.ElementTree
from pathlib import Path

import pytest
from conftest import rows

import voisin

HOSTILE = "</td><script>alert('&\"')</script>"


def fails_to_escape(html: str) -> bool:
    return "<script" in html.lower()


def test_a_report_has_tables_and_pictures_and_measures_recall_against_time(embeddings, tmp_path):
    index = voisin.create(tmp_path / "glosses", 384, kinds=["hnsw", "ivf"])
    index.load(embeddings)
    report = index.report()
    shown = report._repr_html_()
    pictures = re.findall(r"<svg.*?</svg>", shown, flags=re.DOTALL)
    assert len(pictures) >= 4
    for picture in pictures:
        xml.etree.ElementTree.fromstring(picture)
    plot = next(picture for picture in pictures if "microseconds a search" in picture)
    for kind in ("flat", "hnsw", "ivf"):
        assert f">{kind}</text>" in plot
    # Recall grows with the effort, and what is measured is what is measured elsewhere.
    table = re.findall(r"<td>hnsw</td><td>ef (\d+)</td><td>([\d.]+)</td>", shown)
    recalls = [float(recall) for _, recall in table]
    assert len(recalls) > 3 and recalls[-1] >= 0.99 and recalls[0] < recalls[-1]
    ef, recall = table[0]
    measured = index.query(ef=int(ef), kind="hnsw").measure_recall(125)
    assert abs(measured.mean - float(recall)) < 0.05
    assert "<td>items</td><td>5 000</td>" in shown


def test_a_report_is_one_file_that_asks_nobody(index, tmp_path):
    index.load(rows(1500))
    report = index.report()
    report.save(tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert page == report.html and page.startswith("<!doctype html>")
    # Names of XML are no addresses.
    assert not re.search(r"(src|href)=|url\(|@import|<script", page)
    assert page.count("http") == page.count('xmlns="http://www.w3.org/2000/svg"')
    assert "color-scheme:light dark" in page
    # A part styles nothing beside itself.
    styles = re.findall(r"<style>(.*?)</style>", report._repr_html_(), flags=re.DOTALL)
    for style in styles:
        for rule in re.findall(r"([^{}]+)\{", style):
            assert all(part.strip().startswith((".vo", "svg.vo")) for part in rule.split(",")), rule
    with pytest.raises(OSError, match=r"missing"):
        report.save(tmp_path / "missing" / "report.html")


def test_a_small_index_is_not_measured(index):
    assert "every answer is exact" in index.report()._repr_html_()
    index.add([1, 2], rows(2))
    assert "every answer is exact" in index.report()._repr_html_()
    assert "every answer is exact" not in index.report(recall=False)._repr_html_()


def test_a_report_can_be_ended(index):
    index.load(rows(2000))
    token = voisin.CancelToken()
    token.cancel()
    with pytest.raises(voisin.Cancelled):
        index.report(cancel=token)
    index.close()
    with pytest.raises(voisin.Closed):
        index.report()


def test_text_of_users_is_escaped(tmp_path: Path):
    folder = tmp_path / "x<script>alert('y')<"
    index = voisin.create(folder, 2, ids=str, name=HOSTILE, fields={HOSTILE: "keyword"})
    index.add([HOSTILE, "b"], [[0.9, 0.1], [0.1, 0.9]], [{HOSTILE: HOSTILE}, None])
    found = index.search([0.5, 0.5], records=True)
    shown = [
        index._repr_html_(),
        index.report().html,
        found._repr_html_(),
        index.search([[0.5, 0.5]])._repr_html_(),
        index.query(k=2).groups([0.5, 0.5], by=HOSTILE)._repr_html_(),
        index.query().explain([0.5, 0.5])._repr_html_(),
        index.stats()._repr_html_(),
    ]
    for html in shown:
        assert not fails_to_escape(html), html
    assert "&lt;script&gt;" in shown[0] and "&lt;script&gt;" in shown[2]


def test_an_index_and_its_answers_are_tables(index):
    index.load(rows(300))
    html = index._repr_html_()
    assert "<th>items</th><td>300</td>" in html and "<th>metric</th><td>euclidean</td>" in html
    html = index.search(rows(20), k=8)._repr_html_()
    assert "20 answers" in html and html.count("<tr>") == 12
    assert "<td>graph</td>" not in html
    stats = index.stats()._repr_html_()
    assert "<th>items</th><td>300</td>" in stats and "<td>LINKS</td>" in stats
    index.close()
    assert "closed" in index._repr_html_()
