"""Tables -> features: against skrub itself, on heart data, and with every kind of bad column."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from isthmus import iofs
from isthmus.backbone import FrameBackbone, load_backbone, tabular
from isthmus.backbone import tabular_clean as clean
from isthmus.backbone.tabular import TabularBackbone
from isthmus.errors import BackboneError, DataError, UsageError

skrub = pytest.importorskip("skrub")


@pytest.fixture(scope="module")
def mixed() -> pd.DataFrame:
    """300 rows with every kind of column and some holes."""
    rng = np.random.default_rng(0)
    n = 300
    frame = pd.DataFrame(
        {
            "number": rng.normal(size=n),
            "whole": rng.integers(0, 9, n),
            "few": rng.choice(["a", "b", "c"], n),
            "two": rng.choice(["yes", "no"], n),
            "many": [
                f"street {rng.integers(0, 999)} town {c}" for c in rng.choice(list("abcd"), n)
            ],
            "date": pd.date_range("2020-01-01", periods=n, freq="31h"),
            "day": pd.date_range("2020-01-01", periods=n).strftime("%d/%m/%Y"),
            "zoned": pd.date_range("2020-01-01", periods=n, freq="7h", tz="Europe/Paris"),
            "flag": rng.random(n) < 0.5,
            "same": 1,
            "empty": np.nan,
            "declared": pd.Categorical(rng.choice(["1", "2", "3"], n)),
            "year": rng.choice(["2019", "2020", "2021"], n),
            "took": pd.to_timedelta(rng.random(n), unit="h"),
        }
    )
    frame.loc[5:9, ["number", "few", "many", "date", "day", "declared", "zoned"]] = None
    return frame


@pytest.fixture(scope="module")
def fitted(mixed) -> TabularBackbone:
    return load_backbone(modality="table").fit(mixed)


@pytest.fixture(scope="module")
def heart(real_data) -> pd.DataFrame:
    return pd.read_csv(real_data / "heart" / "heart.csv", dtype=str)


def features_of(frame, **kinds):
    """Column of each name as a fitted kind."""
    made = TabularBackbone().fit(frame)
    return made, {c.name: c.kind for c in made.columns}


def test_every_column_is_what_it_looks_like(fitted):
    assert isinstance(fitted, FrameBackbone)
    kinds = {column.name: column.kind for column in fitted.columns}
    assert kinds == {
        "number": "number", "whole": "number", "few": "category", "two": "category",
        "many": "text", "date": "date", "day": "date", "zoned": "date", "flag": "number",
        "declared": "category", "year": "number", "took": "number",
    }  # fmt: skip
    assert fitted.ignored == ("same", "empty")
    assert "same: constant, not used" in fitted.notes
    assert "empty: empty, not used" in fitted.notes


def test_finite_float32_and_named(fitted, mixed):
    x, notes = fitted.encode(mixed)
    assert x.dtype == np.float32 and x.shape == (300, fitted.num_features) and not notes
    assert np.isfinite(x).all()
    assert len(fitted.features) == len(set(fitted.features)) == fitted.num_features


def test_the_numbers_are_skrubs(fitted, mixed):
    """Same columns through skrub's own transform; only our imputation and indicators differ."""
    table = mixed.drop(columns=["same", "empty"]).assign(
        took=mixed["took"].dt.total_seconds(), year=mixed["year"].astype(float)
    )
    peer = skrub.TableVectorizer(
        low_cardinality=fitted._vectorizer(
            [clean.plain(mixed["few"], where="few")]
        ).low_cardinality,
        high_cardinality=skrub.StringEncoder(random_state=0),
        datetime=skrub.DatetimeEncoder(add_weekday=True),
    ).fit(table)
    expected = peer.transform(table).to_numpy(np.float64)
    own = pd.DataFrame(fitted.encode(mixed)[0], columns=fitted.features)
    blocks = []
    for column in fitted.columns:
        names = [f for f in column.features if not f.endswith(" is missing")]
        block = own[names].to_numpy()
        if column.kind == "date":  # skrub lists weekday last
            order = [p for p in ("year", "month", "day", "hour") if p in column.parts]
            order += ["total_seconds", "weekday"]
            block = own[[f"{column.name} {p}" for p in order]].to_numpy()
        blocks.append(block)
    found = np.hstack(blocks)
    assert found.shape == expected.shape
    known = ~np.isnan(expected)
    assert known.mean() > 0.99
    np.testing.assert_allclose(found[known], expected[known], rtol=1e-5, atol=1e-5)


def stored(backbone, folder):
    """Through files, as a saved model does it."""
    tensors, meta = backbone.state()
    iofs.write_tensors(folder / "t.safetensors", tensors or {"none": np.zeros(1)})
    iofs.write_json(folder / "m.json", meta)
    read = iofs.read_tensors(folder / "t.safetensors")
    return TabularBackbone.from_state(read, iofs.read_json(folder / "m.json"))


def test_a_stored_encoder_gives_identical_bits(fitted, mixed, tmp_path):
    again = stored(fitted, tmp_path)
    np.testing.assert_array_equal(again(mixed), fitted(mixed))
    assert again.fingerprint == fitted.fingerprint and again.features == fitted.features


def test_heart_disease_from_one_hospital_to_the_others(heart, tmp_path):
    source = heart[heart["hospital"] == "cleveland"].drop(columns=["hospital", "num"])
    target = heart[heart["hospital"] != "cleveland"].drop(columns=["hospital", "num"])
    backbone = TabularBackbone().fit(source)
    x, notes = backbone.encode(target)
    assert x.shape == (617, backbone.num_features) and np.isfinite(x).all()
    assert "slope: 309 missing, none were while fitting; median used" in notes
    np.testing.assert_array_equal(stored(backbone, tmp_path)(target), x)
    # the same file read with numbers instead of texts gives the same features
    as_numbers = target.apply(pd.to_numeric, errors="coerce")
    np.testing.assert_array_equal(backbone(as_numbers), x)
    # and they carry the disease
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    sick = (heart["num"].astype(int) > 0).to_numpy()
    hospital = heart["hospital"].to_numpy()
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    model.fit(backbone(source), sick[hospital == "cleveland"])
    away = hospital == "hungarian"
    assert model.score(x[away[hospital != "cleveland"]], sick[away]) > 0.7


def test_polars_is_pandas(fitted, mixed):
    polars = pytest.importorskip("polars")
    frame = polars.from_pandas(mixed)
    np.testing.assert_array_equal(fitted(frame), fitted(mixed))
    simple = ["number", "whole", "few", "two", "many", "date", "day", "flag", "year"]
    one = TabularBackbone().fit(mixed[simple])
    assert TabularBackbone().fit(frame.select(simple)).fingerprint == one.fingerprint


def test_a_row_does_not_depend_on_the_others(fitted, mixed):
    whole = fitted(mixed)
    for row in (0, 7, 150):
        np.testing.assert_array_equal(fitted(mixed.iloc[[row]]), whole[[row]])
    order = np.random.default_rng(0).permutation(len(mixed))
    np.testing.assert_array_equal(fitted(mixed.iloc[order]), whole[order])


def test_the_order_of_columns_does_not_matter_and_extra_ones_are_noted(fitted, mixed):
    shuffled = mixed[mixed.columns[::-1]].assign(patient="x")
    x, notes = fitted.encode(shuffled)
    np.testing.assert_array_equal(x, fitted(mixed))
    assert notes == ("columns not used while fitting are ignored: patient",)


def test_columns_without_features_need_not_be_there(fitted, mixed):
    np.testing.assert_array_equal(fitted(mixed.drop(columns=["same", "empty"])), fitted(mixed))


def test_missing_columns_are_named(fitted, mixed):
    with pytest.raises(DataError, match=r"lacks 2 of 12 columns: few, took") as caught:
        fitted(mixed.drop(columns=["few"]).rename(columns={"took": "Took "}))
    assert "'Took '" in str(caught.value)


def test_one_and_one_point_zero_and_their_texts_are_the_same(fitted, mixed):
    spellings = [
        mixed.assign(whole=mixed["whole"].astype(str)),
        mixed.assign(whole=mixed["whole"].astype(float)),
        mixed.assign(whole=mixed["whole"].map(lambda v: f" {v}.0 ")),
        mixed.assign(declared=mixed["declared"].astype(float)),
        mixed.assign(flag=mixed["flag"].astype(str)),
        mixed.assign(flag=mixed["flag"].astype(int)),
        mixed.assign(whole=mixed["whole"].astype("Int16")),
    ]
    for frame in spellings:
        np.testing.assert_array_equal(fitted(frame), fitted(mixed))


def test_mixed_numbers_and_texts_are_names():
    frame = pd.DataFrame({"grade": [1, "1", 1.0, "A", True, None] * 4, "n": range(24)})
    backbone, kinds = features_of(frame)
    assert kinds["grade"] == "category"
    x = backbone(frame)[:6]
    np.testing.assert_array_equal(x[0, :-1], x[1, :-1])
    np.testing.assert_array_equal(x[0, :-1], x[2, :-1])
    assert {"grade = 1", "grade = A", "grade = True", "grade = missing"} < set(backbone.features)


def test_unseen_names_differ_from_every_seen_one(fitted, mixed):
    odd = mixed.iloc[:3].assign(two="perhaps")
    x, notes = fitted.encode(odd)
    places = [i for i, name in enumerate(fitted.features) if name.startswith("two = ")]
    assert len(places) == 2 and not x[:, places].any()
    assert notes == ("two: 3 values ('perhaps') not seen while fitting, encoded as zeros",)


def test_missing_numbers_are_the_median_and_marked():
    frame = pd.DataFrame({"a": [1.0, 2.0, np.nan, 10.0], "b": [1.0, 2.0, 3.0, 4.0]})
    backbone = TabularBackbone().fit(frame)
    assert backbone.features == ["a", "a is missing", "b"]
    expected = [[1, 0, 1], [2, 0, 2], [2, 1, 3], [10, 0, 4]]
    np.testing.assert_array_equal(backbone(frame), expected)
    x, notes = backbone.encode(pd.DataFrame({"a": [np.nan], "b": [None]}))
    np.testing.assert_array_equal(x, [[2, 1, 2.5]])
    assert notes == ("b: 1 missing, none were while fitting; median used",)


@pytest.mark.parametrize("value", [np.inf, -np.inf, 1e300])
def test_infinite_values_count_as_missing(value):
    frame = pd.DataFrame({"a": [1.0, 2.0, value, 4.0]})
    backbone = TabularBackbone().fit(frame)
    x, notes = backbone.encode(frame)
    np.testing.assert_array_equal(x, [[1, 0], [2, 0], [2, 1], [4, 0]])
    assert "1 infinite" in notes[0]


@pytest.mark.parametrize("word", ["", " ", "?", "NA", "N/A", "nan", "null", "None", "NaN "])
def test_words_for_missing(word):
    frame = pd.DataFrame({"a": ["1", "2", word, "4"], "b": ["x", "y", word, "x"]})
    backbone = TabularBackbone().fit(frame)
    assert backbone.features == ["a", "a is missing", "b = x", "b = y", "b = missing"]


def test_single_odd_values_are_noted_and_a_swapped_column_is_refused(fitted, mixed):
    odd = mixed.assign(number=mixed["number"].astype(object))
    odd.loc[3, "number"] = "about 5"
    x, notes = fitted.encode(odd)
    assert np.isfinite(x).all()
    assert notes == ("number: 1 values ('about 5') not numbers, taken as missing",)
    with pytest.raises(DataError, match="number: the column held numbers"):
        fitted(mixed.assign(number=mixed["many"]))
    with pytest.raises(DataError, match="day: the column held dates"):
        fitted(mixed.assign(day=mixed["two"]))
    with pytest.raises(DataError, match="date: the column held dates"):
        fitted(mixed.assign(date=mixed["number"]))


def test_a_column_of_numbers_with_few_texts_is_noted_at_fit():
    frame = pd.DataFrame({"a": [*map(str, range(99)), "unknown"], "b": range(100)})
    backbone = TabularBackbone().fit(frame)
    assert any("a: taken as text because 1 of 100" in note for note in backbone.notes)


def test_dates_as_texts_with_a_zone_or_of_another_type(fitted, mixed):
    iso = mixed.assign(
        date=mixed["date"].dt.strftime("%Y-%m-%dT%H:%M:%S"),
        day=pd.to_datetime(mixed["day"], format="%d/%m/%Y"),
        zoned=mixed["zoned"].dt.tz_convert("America/Sao_Paulo"),
    )
    np.testing.assert_array_equal(fitted(iso), fitted(mixed))
    texts = mixed.assign(zoned=mixed["zoned"].map(lambda v: v.isoformat(), na_action="ignore"))
    np.testing.assert_array_equal(fitted(texts), fitted(mixed))


def test_day_and_month_are_read_as_they_were_while_fitting(fitted, mixed):
    one = mixed.iloc[[40]].assign(day="02/03/2021")  # the second of March: days came first
    x = dict(zip(fitted.features, fitted(one)[0], strict=True))
    assert (x["day day"], x["day month"], x["day year"]) == (2, 3, 2021)


def test_texts_of_every_script_survive_storage(tmp_path):
    words = ["naïve 😀", "\x00zero", "Ωμέγα", "日本語テキスト", "e\u0301 accent"]
    frame = pd.DataFrame({"t": [f"{w} {i}" for i in range(12) for w in words], "n": range(60)})
    backbone, kinds = features_of(frame)
    assert kinds["t"] == "text"
    np.testing.assert_array_equal(stored(backbone, tmp_path)(frame), backbone(frame))


def test_fewer_grams_than_components(tmp_path):
    frame = pd.DataFrame({"t": [chr(97 + i) + chr(97 + j) for i in range(5) for j in range(10)]})
    backbone = TabularBackbone(components=300).fit(frame)
    assert backbone.columns[0].components is None
    np.testing.assert_array_equal(stored(backbone, tmp_path)(frame), backbone(frame))


def test_an_identifier_is_noted():
    frame = pd.DataFrame({"id": [f"patient-{i:04d}" for i in range(80)], "n": range(80)})
    assert any("identifier" in note for note in TabularBackbone().fit(frame).notes)


@pytest.mark.parametrize(
    ("frame", "match"),
    [
        (pd.DataFrame({"a": []}), "no rows"),
        (pd.DataFrame({"a": [1, 1, 1], "b": [None] * 3}), "no column of the table varies"),
        (pd.DataFrame([[1, 2], [3, 4]], columns=["a", "a"]), "two columns"),
        (pd.DataFrame([[1, 2], [3, 4]], columns=[1, "1"]), "two columns"),
        (pd.DataFrame({"a": [[1], [2]]}), "row 1.*list"),
        (pd.DataFrame({"a": ["x", b"\xff"]}), "row 2.*UTF-8"),
        (pd.DataFrame({"a": [1j, 2]}), "complex"),
        (pd.DataFrame({"a": pd.Series(["x", "half \ud800"], dtype=object)}), "row 2.*surrogate"),
        (np.zeros((3, 3)), "ndarray"),
    ],
)
def test_tables_that_cannot_be_used(frame, match):
    with pytest.raises(DataError, match=match):
        TabularBackbone().fit(frame)


def test_the_fit_leaves_the_caller_alone(mixed):
    before = mixed.copy(deep=True)
    unfitted = TabularBackbone()
    made = unfitted.fit(mixed)
    made(mixed)
    pd.testing.assert_frame_equal(mixed, before)
    assert unfitted.columns == () and unfitted.num_features == 0
    with pytest.raises(UsageError, match="not fitted"):
        unfitted(mixed)


def test_the_fingerprint_is_that_of_the_fitted_state(fitted, mixed):
    assert TabularBackbone().fit(mixed).fingerprint == fitted.fingerprint
    assert TabularBackbone().fingerprint != fitted.fingerprint
    other = mixed.copy()
    other.loc[:200, "number"] += 1
    assert TabularBackbone().fit(other).fingerprint != fitted.fingerprint


@pytest.mark.parametrize(
    "change",
    [
        {"code": 99},
        {"columns": [{"name": "a", "kind": "os.system"}]},
        {"columns": [{"name": "a", "kind": "number", "median": "nan", "indicator": True}]},
        {"columns": [{"name": "a", "kind": "text", "count": 3}]},
        {"columns": [{"name": "a", "kind": "category", "names": [1, {}]}]},
        {"columns": [{"name": "d", "kind": "date", "parts": ["__class__"], "medians": [1]}]},
        {"columns": 7},
        {"cardinality": None},
    ],
)
def test_a_damaged_state_is_refused(fitted, change):
    tensors, meta = fitted.state()
    meta = json.loads(json.dumps(meta)) | change
    with pytest.raises(BackboneError):
        TabularBackbone.from_state(tensors, meta)


def test_tensors_that_do_not_fit_are_refused(fitted):
    tensors, meta = fitted.state()
    for name in [n for n in tensors if not n.endswith("grams")]:
        with pytest.raises(BackboneError, match="many"):
            TabularBackbone.from_state(tensors | {name: tensors[name][:-1]}, meta)


def test_serving_needs_no_skrub(fitted, mixed, tmp_path):
    tensors, meta = fitted.state()
    iofs.write_tensors(tmp_path / "t.safetensors", tensors)
    iofs.write_json(tmp_path / "m.json", meta)
    rows = mixed.assign(took=mixed["took"].dt.total_seconds())
    rows.to_csv(tmp_path / "rows.csv", index=False)
    code = (
        "import sys, pandas as pd\n"
        "from pathlib import Path\n"
        "from isthmus import iofs\n"
        "from isthmus.backbone.tabular import TabularBackbone\n"
        f"p = Path({str(tmp_path)!r})\n"
        "b = TabularBackbone.from_state(iofs.read_tensors(p / 't.safetensors'),"
        " iofs.read_json(p / 'm.json'))\n"
        "x = b(pd.read_csv(p / 'rows.csv', dtype=str))\n"
        "print('skrub' in sys.modules, x.shape, float(abs(x).sum(dtype='f8')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    imported, *rest = done.stdout.split()
    assert imported == "False"
    assert float(rest[-1]) == pytest.approx(float(abs(fitted(mixed)).sum(dtype="f8")), rel=1e-6)


def test_options_of_networks_do_not_apply():
    with pytest.raises(UsageError, match="weights"):
        load_backbone("tabular", weights="random")
    assert tabular.load().reference == {"spec": "tabular"}
