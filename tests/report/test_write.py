"""The page as a file: whole, offline, small, escaped, and never wiser than the evaluation."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil

import pytest

from isthmus.errors import DataError, UsageError
from isthmus.report import write_report
from isthmus.report.charts import maps
from isthmus.report.folder import load_run


@pytest.fixture(autouse=True)
def principal_components_only(monkeypatch):
    """The other map has its own test, and costs more than all of the page."""
    monkeypatch.setattr(maps, "neighbour_map", lambda *given, **options: None)


def payload(page: str) -> dict:
    return json.loads(re.search(r'id="payload">(.*?)</script>', page, re.S)[1])


@pytest.mark.parametrize("name", ["photos_run", "digits_run", "texts_run", "table_run"])
def test_page_asks_for_nothing_from_elsewhere(name, request, tmp_path):
    run = request.getfixturevalue(name)
    found = write_report(run, out=tmp_path / "page.html")
    page = found.file.read_text("utf-8")
    assert found.bytes == len(page.encode()) < 5_000_000
    for link in re.findall(r'(?:src|href|action|data)="([^"]*)"', page):
        assert link.startswith(("#", "data:")), link[:80]
    assert "url(" not in page and "@import" not in page
    assert ' style="' not in page and not re.search(r"<[^>]+ on\w+=", page)
    for section in found.sections:
        assert f'id="{section}"' in page


def test_policy_names_exactly_this_style_and_script(table_run, tmp_path):
    page = write_report(table_run, out=tmp_path / "p.html").file.read_text("utf-8")
    rule = re.search(r'Content-Security-Policy" content="([^"]*)"', page)[1].replace("&#39;", "'")
    assert rule.startswith("default-src 'none'; script-src 'sha256-") and "unsafe" not in rule
    for inner, kind in ((r"<style>(.*?)</style>", "style"), (r"<script>(.*?)</script>", "script")):
        text = re.search(inner, page, re.S)[1]
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in rule


def test_without_target_labels_no_truth_of_the_target_is_shown(texts_run, tmp_path):
    page = write_report(texts_run, out=tmp_path / "p.html").file.read_text("utf-8")
    rows, parts = payload(page)["rows"], payload(page)["parts"]
    target = [i for i, p in enumerate(rows["part"]) if parts[p] == "target"]
    assert len(target) == 60 and all(rows["truth"][i] is None for i in target)
    assert all(rows["prediction"][i] is not None for i in target)
    assert "its accuracy is unknown" in page  # the headline does not claim a transfer gain


def test_rows_of_the_page_add_up_to_the_proof(photos_run, tmp_path):
    results = json.loads((photos_run / "results.json").read_text())
    page = write_report(photos_run, out=tmp_path / "p.html").file.read_text("utf-8")
    rows = payload(page)["rows"]
    found = results["proof"]["metrics"]["confusion"]
    for i, truth in enumerate(found["classes"]):
        for j, predicted in enumerate(found["classes"]):
            there = sum(
                s and t == truth and p == predicted
                for s, t, p in zip(rows["scored"], rows["truth"], rows["prediction"], strict=True)
            )
            assert there == found["matrix"][i][j]


def test_chinese_page_has_no_english_words_of_its_own(table_run, tmp_path):
    found = write_report(table_run, out=tmp_path / "zh.html", lang="zh")
    page = found.file.read_text("utf-8")
    assert '<html lang="zh-Hans">' in page and found.headline in page
    for words in ("Verdict", "Leaderboard", "Copy as CSV", "What was understood", "rows were set"):
        assert words not in page
    verdict = re.search(r'<section class="verdict.*?</section>', page, re.S)[0]
    assert 'lang="en"' not in verdict
    with pytest.raises(UsageError, match="en, zh"):
        write_report(table_run, out=tmp_path / "x.html", lang="de")


def test_hostile_names_stay_text(table_run, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(table_run, run)
    facts = json.loads((run / "report_data.json").read_text())
    evil = '</script><script>alert(1)</script><img src=x onerror="alert(2)">'
    facts["rows"]["id"] = [evil] * len(facts["rows"]["id"])
    facts["rows"]["values"] = [[evil] * len(v) for v in facts["rows"]["values"]]
    (run / "report_data.json").write_text(json.dumps(facts))
    results = json.loads((run / "results.json").read_text())
    results["verdict"]["sentence"] = evil
    (run / "results.json").write_text(json.dumps(results))
    page = write_report(run).file.read_text("utf-8")
    assert "<script>alert" not in page and "<img src=x" not in page
    assert page.count("</script>") == 2


def test_metric_logs_become_training_curves(table_run, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(table_run, run)
    lines = [json.dumps({"epoch": k, "loss": 1 / (k + 1), "val_accuracy": k / 9}) for k in range(9)]
    (run / "metrics.jsonl").write_text("\n".join([*lines, '{"epoch": 9, "lo']))
    found = write_report(run)
    page = found.file.read_text("utf-8")
    assert "training" in found.sections and 'aria-label="metrics: loss"' in page
    assert "epoch,loss,val_accuracy\n0,1,0\n" in page


def test_ten_thousand_rows_stay_below_five_megabytes(tmp_path):
    import numpy as np
    import pandas as pd

    from isthmus.transfer import transfer

    rng = np.random.default_rng(0)
    frame = pd.DataFrame({f"a_long_column_name_{k}": rng.normal(size=12_000) for k in range(14)})
    frame["where"] = ["here"] * 2000 + ["there"] * 10_000
    frame["y"] = np.where(frame.iloc[:, 0] + rng.normal(size=12_000) > 0, "yes", "no")
    frame.to_csv(tmp_path / "rows.csv", index=False)
    transfer(
        source=tmp_path / "rows.csv", source_domain="here", target_domain="there",
        label="y", domain="where", features=",".join(frame.columns[:14]), method="none",
        head="ridge", out=tmp_path / "run", say=lambda line: None,
    )  # fmt: skip
    found = write_report(tmp_path / "run")
    assert 3000 < found.rows < 6000
    assert found.bytes < 5_000_000


def test_folders_without_a_run_are_refused(table_run, tmp_path):
    with pytest.raises(UsageError, match="no such folder"):
        load_run(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="no run"):
        load_run(tmp_path)
    (tmp_path / "run.json").write_text('{"status": "running"}')
    with pytest.raises(UsageError, match="not finished"):
        load_run(tmp_path)
    (tmp_path / "results.json").write_text('{"task": "classification"}')
    with pytest.raises(UsageError, match="no run of isthmus transfer"):
        load_run(tmp_path)
    run = tmp_path / "copy"
    shutil.copytree(table_run, run)
    (run / "report_data.safetensors").unlink()
    with pytest.raises(DataError, match="missing"):
        load_run(run)


def test_a_run_of_an_older_version_still_has_a_page(table_run, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(table_run, run)
    for name in ("report_data.json", "report_data.safetensors"):
        (run / name).unlink()
    found = write_report(run)
    assert {"verdict", "routes", "answers", "reproduce"} <= set(found.sections)
    assert not {"gap", "rests", "calibration"} & set(found.sections)
