"""Scales and marks of the charts: positions that can be worked out by hand."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from isthmus.report.charts import bars, heat, intervals, maps
from isthmus.report.charts.png import grey_png
from isthmus.report.charts.svg import Plot, tag, ticks


def test_ticks_are_round_and_inside():
    assert ticks(0, 1, 5) == [0, 0.2, 0.4, 0.6, 0.8, 1.0]
    assert ticks(-3, 17, 4) == [0, 5, 10, 15]
    assert ticks(2, 2) == [2]
    for low, high in ((0.013, 0.0171), (-1e6, 3e6)):
        found = ticks(low, high)
        assert 2 <= len(found) <= 11 and low <= found[0] and found[-1] <= high


def test_scales_put_the_ends_on_the_margins():
    plot = Plot((0, 10), (0, 1), width=200, height=100, margin=(10, 20, 30, 40))
    assert (plot.px(0), plot.px(10)) == (40, 180)
    assert (plot.py(0), plot.py(1)) == (70, 10)


def test_names_cannot_leave_their_element():
    evil = '"><script>alert(1)</script>'
    root = ET.fromstring(tag("text", evil, class_=evil))
    assert root.text == evil and root.get("class") == evil
    entries = [{"class": evil, "source": 0.4, "target": 0.6}]
    ET.fromstring(bars.dumbbells(entries, title=evil, xlabel=evil, names=("s", "t")))
    ET.fromstring(bars.bars([(evil, 1.0, None, None)], title=evil, xlabel=evil))


def test_interval_cell_is_drawn_to_scale():
    score = {"value": 0.5, "low": 0.25, "high": 1.0}
    root = ET.fromstring(intervals.cell(score, (0.0, 1.0), title="x"))
    dot = next(e for e in root if e.tag == "circle")
    whisker = next(e for e in root if e.get("class", "").startswith("whisker"))
    assert float(dot.get("cx")) == pytest.approx(84)
    assert float(whisker.get("x1")) == pytest.approx(6 + 156 / 4)
    assert float(whisker.get("x2")) == pytest.approx(162)


def test_map_keeps_order_and_holds_every_point():
    rng = np.random.default_rng(0)
    at = maps.placed(rng.normal(size=(500, 2)))
    assert (at >= maps.ROOM).all() and (at[:, 0] <= maps.WIDTH - maps.ROOM).all()
    svg = maps.scatter(at, [0] * 300 + [2] * 200, [0] * 250 + [1] * 250, title="m", id_="m")
    paths = {
        (p.get("data-part"), p.get("data-class")): p.get("d").count("M")
        for p in ET.fromstring(svg)
        if p.get("data-part")
    }
    assert paths == {("0", "0"): 250, ("0", "1"): 50, ("2", "1"): 200}


def test_neighbour_map_separates_what_is_apart():
    rng = np.random.default_rng(0)
    rows = np.concatenate([rng.normal(size=(30, 5)), rng.normal(size=(30, 5)) + 30])
    name, at = maps.neighbour_map(rows)
    assert name in ("t-SNE", "UMAP")
    centres = at[:30].mean(axis=0), at[30:].mean(axis=0)
    assert np.linalg.norm(centres[0] - centres[1]) > 2 * at[:30].std()
    assert maps.neighbour_map(rows[:10]) is None


def test_heat_paints_what_matters_and_not_noise():
    entry = {"grid": [2, 2], "size": [100, 50], "drops": [0.5, -0.25, 0.01, 0.0]}
    root = ET.fromstring(heat.over_picture("data:image/png;base64,AA==", entry, title="x"))
    patches = [e for e in root if e.tag == "rect"]
    assert [p.get("class") for p in patches] == ["need", "against"]
    assert float(patches[0].get("fill-opacity")) == pytest.approx(0.65)
    assert float(patches[1].get("x")) == pytest.approx(112)
    entry["drops"] = [0.0005, 0.0, 0.0, 0.0]
    assert "need" not in heat.over_picture("data:,", entry, title="x")


def test_png_is_what_pillow_reads():
    import io

    from PIL import Image

    picture = Image.open(io.BytesIO(grey_png([[0, 128, 255], [9, 8, 7]])))
    assert picture.mode == "L" and np.asarray(picture).tolist() == [[0, 128, 255], [9, 8, 7]]


def test_reliability_puts_dots_at_their_means():
    table = {"bins": [{"low": 0.5, "high": 1.0, "count": 4, "confidence": 0.75, "accuracy": 0.5}]}
    svg = intervals.reliability(table, title="t", xlabel="x", ylabel="y", class_="s1")
    dot = re.search(r'<circle class="dot ink" cx="([\d.]+)" cy="([\d.]+)"', svg)
    plot = Plot((0, 1), (0, 1), width=320, height=300, margin=(10, 26, 44, 68))
    assert float(dot[1]) == pytest.approx(plot.px(0.75), abs=0.06)
    assert float(dot[2]) == pytest.approx(plot.py(0.5), abs=0.06)
