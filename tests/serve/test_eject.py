"""An ejected script says what `isthmus predict` says, without isthmus, on real data."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from isthmus.backbone import embed, load_backbone
from isthmus.cli.main import run
from isthmus.data import read
from isthmus.demo.cases import DATA
from isthmus.errors import BackboneError, UsageError
from isthmus.fit.blend import BlendModel
from isthmus.fit.calibrate import Temperature
from isthmus.fit.features import FeatureProcessor
from isthmus.fit.heads import make_head
from isthmus.fit.model import FeatureModel
from isthmus.run.finetune import finetune
from isthmus.select.candidates import CANDIDATES, Bench
from isthmus.select.routes.base import Domains, Labelled
from isthmus.serve import load, save_model
from isthmus.serve.eject import eject
from isthmus.serve.eject_steps import fused, linear

ALL = (
    "source-only", "balanced", "prior", "centre", "pca", "coral", "lda", "gfk", "self-training",
    "information", "information-tight", "gaussian", "tca",
)  # fmt: skip
SOME = ("source-only", "prior", "coral", "tca", "gaussian")
WITHOUT = """
import runpy, sys
class Refuse:
    def find_spec(self, name, *rest):
        if name.split(".")[0] == "isthmus":
            raise ImportError("isthmus is blocked")
sys.meta_path.insert(0, Refuse())
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def ran(script: Path, *inputs: object) -> subprocess.CompletedProcess[str]:
    """The script at work, in a process in which isthmus cannot be imported."""
    return subprocess.run(
        [sys.executable, "-I", "-c", WITHOUT, script, *map(str, inputs)],
        capture_output=True,
        text=True,
        cwd=script.parent,
    )


def refused(script: Path, *inputs: object) -> str:
    """One sentence of the script that gives up, no trace."""
    done = ran(script, *inputs)
    assert done.returncode == 1 and not done.stdout and "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1
    return done.stderr


def skips(folder: Path, script: Path, data: Path, bad: list[Path], names) -> None:
    """Bad files are rows without an answer as in `isthmus predict`; the others are answered."""
    done = ran(script, data)
    assert done.returncode == 0 and "Traceback" not in done.stderr
    answer = read_answer(done.stdout).set_index("id")
    expected = load(folder).predict(data)
    assert sorted(answer.index) == sorted(names(expected["id"]))
    assert expected["error"].notna().sum() == len(bad)
    empty = answer[answer["error"].notna()]
    assert set(empty.index) == set(map(str, bad)) and empty.drop(columns="error").isna().all(
        axis=None
    )
    assert answer.drop(index=empty.index).drop(columns="error").notna().all(axis=None)
    assert all(f"{file}: " in done.stderr for file in bad)
    assert f"{len(bad)} of {len(answer)} could not be predicted" in done.stderr
    alone = ran(script, *bad)
    assert alone.returncode == 1 and len(read_answer(alone.stdout)) == len(bad)


def read_answer(text: str) -> pd.DataFrame:
    return pd.read_csv(io.StringIO(text), dtype={"id": str, "prediction": str})


def said_by(script: Path, *inputs: object) -> pd.DataFrame:
    """The script's answer."""
    done = ran(script, *inputs)
    assert done.returncode == 0, done.stderr
    assert "onnxruntime" not in done.stderr  # its warnings are not the user's
    return read_answer(done.stdout)


def compare(folder: Path, data: object, answer: pd.DataFrame, names=None) -> None:
    """Labels equal, probabilities within 1e-5 of what the model says."""
    expected = load(folder).predict(data)
    assert expected["error"].isna().all() and len(expected) == len(answer) > 5
    assert list(answer.columns) == list(expected.columns) and answer["error"].isna().all()
    if names is not None:  # files: the order of the two need not be the same
        answer = answer.set_index("id").loc[names(expected["id"])].reset_index()
    columns = [c for c in answer.columns if c.startswith("p(") or c == "confidence"]
    assert columns == [c for c in expected.columns if c.startswith("p(") or c == "confidence"]
    for column in columns:
        assert np.abs(answer[column] - expected[column].to_numpy()).max() < 1e-5, column
    assert list(answer["prediction"].fillna("")) == [str(v) for v in expected["prediction"]]


def plain(path: Path, most: int = 210) -> None:
    """Short, free of this package, and of placeholders."""
    text = path.read_text()
    assert "isthmus." not in text.replace("isthmus.py", "") and "import isthmus" not in text
    assert "@@" not in text and len(text.splitlines()) <= most


def blend(folder: Path, source, target, backbone, names) -> Path:
    """A saved blend of the automatic choice's candidates, from real rows of two domains."""
    if hasattr(backbone, "fit"):
        backbone = backbone.fit(source.items.frame)
    Xs, Xt = (embed(backbone, samples) for samples in (source, target))
    table = source.modality == "table"
    new_model = lambda: FeatureModel(  # noqa: E731
        FeatureProcessor(standardize=table, l2=not table),
        "logistic",
        Temperature(),
        classes=source.classes,
    )
    domains = Domains(Labelled(Xs.features, source.labels[Xs.rows]), None, Xt.features)
    bench = Bench(domains, new_model)
    chosen = [c for c in CANDIDATES if c.name in names]
    assert len(chosen) == len(names)
    members = [c.model(bench) for c in chosen]
    model = BlendModel(members, np.arange(1.0, 1 + len(chosen)), [c.name for c in chosen])
    save_model(
        folder,
        model=model,
        backbone=backbone,
        samples_like=source,
        task="classification",
        classes=source.classes,
    )
    return folder


def trained(source: Path, target: Path, folder: Path, **params) -> Path:
    """A saved network that was trained itself, not on features."""
    pytest.importorskip("torch")
    finetune(source, target, on="network", batch_size=8, out=folder, **params)
    return folder


def of(folder: Path, ids) -> list[str]:
    """What the script calls the files of a folder."""
    return [str(folder / i) for i in ids]


def signs(folder: Path, part: slice) -> Path:
    for digit in "013":
        (folder / digit).mkdir(parents=True)
        for file in sorted((DATA / "signs" / digit).iterdir())[part]:
            shutil.copy(file, folder / digit)
    return folder


def test_photos(tmp_path):
    source, target = signs(tmp_path / "S", slice(0, 8)), signs(tmp_path / "T", slice(12, 16))
    backbone = load_backbone(modality="image")
    folder = blend(tmp_path / "run", read(source), read(target), backbone, ALL)
    script, *beside = eject(folder, tmp_path / "plain" / "signs.py")
    assert [p.name for p in beside] == ["signs.safetensors", "signs.onnx"]
    plain(script)
    compare(folder, target, said_by(script, target), lambda ids: of(target, ids))

    whole = next((target / "0").iterdir()).read_bytes()
    half, words = target / "0" / "half.jpg", target / "1" / "words.png"
    half.write_bytes(whole[: len(whole) // 2])
    words.write_text("no picture")
    (target / "notes.txt").write_text("no picture, and not called one")
    (target / "1" / "._words.png").write_text("hidden")
    skips(folder, script, target, [half, words], lambda ids: of(target, ids))
    (tmp_path / "nothing").mkdir()
    assert refused(script, tmp_path / "nothing").startswith(f"{tmp_path / 'nothing'}: no photos")
    assert "gone.jpg" in refused(script, tmp_path / "gone.jpg")


def test_texts(tmp_path):
    frame = pd.read_csv(DATA / "reviews" / "sentences.csv")
    few = frame.groupby(["domain", "label"]).head(12)
    few[few["domain"] != "imdb"].to_csv(tmp_path / "S.csv", index=False)
    few[few["domain"] == "imdb"].drop(columns="label").to_csv(tmp_path / "T.csv", index=False)
    samples = read(tmp_path / "S.csv"), read(tmp_path / "T.csv")
    folder = blend(tmp_path / "run", *samples, load_backbone(modality="text"), SOME)
    script, *beside = eject(folder)
    assert script == folder / "ejected" / "predict.py" and len(beside) == 3
    plain(script)
    compare(folder, tmp_path / "T.csv", said_by(script, tmp_path / "T.csv"))

    (tmp_path / "gaps.csv").write_text('text,n\ngood,1\n"",2\n"  ",3\nbad,4\n')
    done = ran(script, tmp_path / "gaps.csv")
    expected = load(folder).predict(tmp_path / "gaps.csv")
    assert read_answer(done.stdout)["error"].notna().tolist() == [False, True, True, False]
    assert expected["error"].notna().sum() == 2 and "2 of 4 could not" in done.stderr
    said = refused(script, tmp_path / "S.csv", tmp_path / "T.csv")
    assert said == "give one file, not 2\n"
    (tmp_path / "other.csv").write_text("review,n\ngood,1\n")
    said = refused(script, tmp_path / "other.csv")
    assert "other.csv lacks what the model needs: text; it has review, n" in said
    (tmp_path / "latin.csv").write_bytes("text\ncafé\n".encode("latin-1"))
    assert "latin.csv cannot be read: 'utf-8' codec" in refused(script, tmp_path / "latin.csv")


def test_texts_of_several_columns(tmp_path):
    frame = pd.read_csv(DATA / "reviews" / "sentences.csv").groupby("label").head(8)
    frame["title"] = frame["text"].str.split().str[0].where(frame["label"] > 0, "")
    frame[["title", "text", "label"]].to_csv(tmp_path / "S.csv", index=False)
    samples = read(tmp_path / "S.csv", text="title,text", modality="text")
    folder = blend(tmp_path / "run", samples, samples, load_backbone(modality="text"), SOME[:1])
    script, *_ = eject(folder)
    compare(folder, tmp_path / "S.csv", said_by(script, tmp_path / "S.csv"))


def test_recordings(tmp_path):
    for who, place in (("theo", "T"), ("george", "S"), ("jackson", "S")):
        for word in "012":
            (tmp_path / place / word).mkdir(parents=True, exist_ok=True)
            for file in sorted((DATA / "spoken_digits").rglob(f"{word}_{who}_*"))[:4]:
                shutil.copy(file, tmp_path / place / word)
    target = tmp_path / "T"
    samples = read(tmp_path / "S"), read(target)
    folder = blend(tmp_path / "run", *samples, load_backbone(modality="audio"), SOME)
    script, *_ = eject(folder)
    plain(script)
    compare(folder, target, said_by(script, target), lambda ids: of(target, ids))

    whole = next((target / "0").iterdir()).read_bytes()
    half, words, silent = (target / "0" / f"{name}.wav" for name in ("half", "words", "silent"))
    half.write_bytes(whole[: len(whole) // 2])
    words.write_text("no recording")
    soundfile.write(silent, np.zeros(0), 8000)
    skips(folder, script, target, [half, words, silent], lambda ids: of(target, ids))
    (tmp_path / "nothing").mkdir()
    assert "nothing: no recordings" in refused(script, tmp_path / "nothing")


def test_a_network_that_was_trained_on_photos(tmp_path):
    pytest.importorskip("timm")
    source, target = signs(tmp_path / "S", slice(0, 6)), signs(tmp_path / "T", slice(12, 14))
    made = {"backbone": "timm:test_efficientnet", "weights": "random", "epochs": 1}
    script, *_ = eject(trained(source, target, tmp_path / "run", **made))
    plain(script)
    compare(script.parents[1], target, said_by(script, target), lambda ids: of(target, ids))


def test_a_network_that_was_trained_on_texts(tmp_path):
    pytest.importorskip("transformers")
    frame = pd.read_csv(DATA / "reviews" / "sentences.csv")
    few = frame.groupby(["domain", "label"]).head(6)
    few[few["domain"] != "imdb"].to_csv(tmp_path / "S.csv", index=False)
    few[few["domain"] == "imdb"].to_csv(tmp_path / "T.csv", index=False)
    new = tmp_path / "new.csv"
    few.assign(text=few["text"] + " " + few["text"])[["text"]].to_csv(new, index=False)
    folder = trained(
        tmp_path / "S.csv", tmp_path / "T.csv", tmp_path / "run", epochs=1, text="text"
    )
    script, *_ = eject(folder)
    plain(script)
    compare(folder, new, said_by(script, new))


def test_a_network_that_was_trained_on_recordings(tmp_path):
    """Clips shorter and longer than those of the training, and at another rate."""
    for who, place in (("theo", "T"), ("george", "S")):
        for word in "01":
            (tmp_path / place / word).mkdir(parents=True)
            for file in sorted((DATA / "spoken_digits").rglob(f"{word}_{who}_*"))[:8]:
                shutil.copy(file, tmp_path / place / word)
    folder = trained(tmp_path / "S", tmp_path / "T", tmp_path / "run", epochs=1)
    new = tmp_path / "new"
    new.mkdir()
    for seconds, rate in ((0.02, 8000), (0.3, 16000), (0.7, 44100), (1.5, 8000), (3, 48000)):
        noise = np.random.default_rng(rate).normal(size=(int(seconds * rate), 2)) * 0.1
        soundfile.write(new / f"{rate}_{seconds}.wav", noise, rate)
    shutil.copy(next((tmp_path / "T" / "0").iterdir()), new)
    script, *_ = eject(folder)
    plain(script)
    compare(folder, new, said_by(script, new), lambda ids: of(new, ids))


def test_a_table(tmp_path):
    frame = pd.read_csv(DATA / "heart" / "heart.csv", dtype=str, keep_default_na=False)
    hospital = next(c for c in frame.columns if "cleveland" in set(frame[c]))
    rng = np.random.default_rng(0)
    words = ["aorta", "valve", "fibrillation", "angina", "ischaemia", "murmur"]
    frame["note"] = [" ".join(rng.choice(words, 3)) + f" {i % 97}" for i in range(len(frame))]
    days = pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 900, len(frame)), unit="D")
    frame["seen"] = days.strftime("%Y-%m-%d")
    frame.loc[::9, "seen"] = ""
    frame.loc[::7, "note"] = ""
    source, target = (frame[frame[hospital] == name] for name in ("cleveland", "hungarian"))
    source.to_csv(tmp_path / "S.csv", index=False)
    target.drop(columns="num").to_csv(tmp_path / "T.csv", index=False)
    samples = (
        read(tmp_path / "S.csv", label="num>0", domain="none"),
        read(tmp_path / "T.csv", domain="none"),
    )
    folder = blend(tmp_path / "run", *samples, load_backbone(modality="table"), SOME)
    script, *_ = eject(folder)
    plain(script)
    text = script.read_text()
    assert "def date" in text and "TfidfVectorizer" in text and "def category" in text
    compare(folder, tmp_path / "T.csv", said_by(script, tmp_path / "T.csv"))

    target.drop(columns=["age", "note"]).to_csv(tmp_path / "less.csv", index=False)
    said = refused(script, tmp_path / "less.csv")
    assert "less.csv lacks what the model needs: age, note; it has " in said
    (tmp_path / "empty.csv").write_text("")
    assert "empty.csv cannot be read: " in refused(script, tmp_path / "empty.csv")


# every kind of head and map, on plain features


def rows(n=90, classes=3, seed=0):
    rng = np.random.default_rng(seed)
    X = (rng.normal(size=(n, 6)) * [1, 2, 1, 5, 1, 1] + [0, 3, 0, 0, 1, 0]).astype(np.float32)
    y = np.array(["a", "b", "c"], dtype=object)[np.arange(n) % classes]
    X[:, 0] += 2 * (np.arange(n) % classes)
    return X, y


def saved(folder, model, task="classification", classes=("a", "b", "c")):
    X = rows()[0]
    samples = read(X)
    save_model(
        folder,
        model=model,
        backbone=load_backbone("identity", modality="features").fixed(X.shape[1]),
        samples_like=samples,
        task=task,
        classes=classes,
    )
    np.savez(folder / "new.npz", X=rows(40, seed=3)[0])
    return folder


@pytest.mark.parametrize(
    "head, processor",
    [
        (make_head("logistic", C=1.0), FeatureProcessor()),
        (make_head("logistic", C=1.0), FeatureProcessor(clip=0.7)),
        (make_head("ridge"), FeatureProcessor(pca=4, whiten=True, l2=True)),
        (make_head("nearest-mean"), FeatureProcessor(standardize=False)),
        (make_head("nearest-mean", metric="cosine", shrinkage="auto"), None),
        (make_head("knn", n_neighbors=3), FeatureProcessor()),
        (make_head("knn", n_neighbors=5, metric="euclidean"), FeatureProcessor(pca=3)),
    ],
    ids=["logistic", "clipped", "ridge", "nearest-mean", "cosine", "knn", "knn-euclidean"],
)
@pytest.mark.parametrize("classes", [2, 3])
def test_every_head(head, processor, classes, tmp_path):
    X, y = rows(classes=classes)
    names = ("a", "b", "c")[:classes]
    model = FeatureModel(processor, head, Temperature(), classes=names).fit(X, y)
    folder = saved(tmp_path / "m", model, classes=names)
    script, *_ = eject(folder)
    compare(folder, folder / "new.npz", said_by(script, folder / "new.npz"))


def test_the_blend_of_all_candidates(tmp_path):
    """Thirteen models with their maps: affine ones, a kernel, class Gaussians, another prior."""
    X, y = rows()
    Xt = rows(70, seed=5)[0] * np.float32(1.3) + np.float32(0.5)
    new_model = lambda: FeatureModel(  # noqa: E731
        FeatureProcessor(), "logistic", Temperature(), classes=("a", "b", "c")
    )
    bench = Bench(Domains(source=Labelled(X, y), target=None, Xt=Xt), new_model)
    chosen = {c.name: c for c in CANDIDATES}
    members = [chosen[name].model(bench) for name in ALL]
    weights = np.arange(len(members), dtype=float)  # the first one has none
    model = BlendModel(members, weights, ALL)
    folder = saved(tmp_path / "m", model)
    script, _ = eject(folder)
    text = script.read_text()
    plain(script)
    assert "    (0.0, " not in text and text.count("'linear ") >= 12 and "source-only," in text
    compare(folder, folder / "new.npz", said_by(script, folder / "new.npz"))


@pytest.mark.parametrize("task", ["multilabel", "regression"])
def test_other_tasks(task, tmp_path):
    X, _ = rows()
    if task == "multilabel":
        y = np.column_stack([X[:, 0] > 1, X[:, 1] > 3, np.ones(len(X), dtype=bool)])
        model = FeatureModel(FeatureProcessor(), "logistic", Temperature(), task, ("x", "y", "z"))
        folder = saved(tmp_path / "m", model.fit(X, y), task, ("x", "y", "z"))
    else:
        y = X[:, 0] * 3 - X[:, 3] + 7
        model = FeatureModel(FeatureProcessor(), "ridge", None, task)
        folder = saved(tmp_path / "m", model.fit(X, y), task, ())
    script, *_ = eject(folder)
    answer = said_by(script, folder / "new.npz")
    expected = load(folder).predict(folder / "new.npz")
    if task == "regression":
        found = answer["prediction"].astype(float)
        assert np.abs(found - expected["prediction"]).max() < 1e-5
        assert np.abs(found - (rows(40, seed=3)[0] @ [3, 0, 0, -1, 0, 0] + 7)).max() < 0.5
    else:
        compare(folder, folder / "new.npz", answer)


def test_refusals(tmp_path, monkeypatch):
    X, y = rows()
    model = FeatureModel(FeatureProcessor(), "logistic", None, classes=("a", "b", "c")).fit(X, y)
    folder = saved(tmp_path / "m", model)
    with pytest.raises(UsageError, match=r"ends in \.py"):
        eject(folder, tmp_path / "script")
    first = eject(folder)
    with pytest.raises(UsageError, match="overwrite"):
        eject(folder)
    before = first[0].read_text()
    assert eject(folder, overwrite=True) == first and first[0].read_text() == before

    from isthmus.serve import eject_steps

    monkeypatch.setattr(eject_steps, "LogisticHead", type("Other", (), {}))
    with pytest.raises(UsageError, match="a LogisticHead has no plain form"):
        eject(folder, tmp_path / "x.py")
    assert not (tmp_path / "x.py").exists() and not (tmp_path / "x.safetensors").exists()


def test_rows_that_a_script_cannot_use(tmp_path):
    X, y = rows()
    model = FeatureModel(FeatureProcessor(), "logistic", None, classes=("a", "b", "c")).fit(X, y)
    script, *_ = eject(saved(tmp_path / "m", model))
    frame = pd.DataFrame(X[:4], columns=list("uvwxyz")).astype(object)
    frame.loc[1, "v"], frame.loc[2, "w"] = "", "much"
    frame.to_csv(tmp_path / "gaps.csv", index=False)
    done = ran(script, tmp_path / "gaps.csv")
    assert done.returncode == 0 and "2 of 4 could not be predicted" in done.stderr
    assert read_answer(done.stdout)["prediction"].isna().tolist() == [False, True, True, False]
    np.savez(tmp_path / "narrow.npz", X=X[:, :4])
    assert "the model takes rows of 6 numbers" in refused(script, tmp_path / "narrow.npz")
    (tmp_path / "damaged.npz").write_bytes(b"PK\x03\x04")
    assert "damaged.npz cannot be read: " in refused(script, tmp_path / "damaged.npz")
    assert "usage" not in ran(script).stderr and "A plain script" in ran(script).stderr


def test_a_backbone_without_a_plain_form_is_refused(tmp_path, monkeypatch):
    X, y = rows()
    model = FeatureModel(FeatureProcessor(), "logistic", None, classes=("a", "b", "c")).fit(X, y)
    folder = saved(tmp_path / "m", model)

    class Odd:
        name, modality = "odd", "features"

    from isthmus.serve import eject as module

    found = module.load_model(folder)
    odd = type(found)(found.folder, found.manifest, found.model, Odd())
    monkeypatch.setattr("isthmus.serve.eject.load_model", lambda folder: odd)
    with pytest.raises(UsageError, match="the backbone odd has no plain form"):
        eject(folder, tmp_path / "x.py")


def test_the_command(tmp_path, capsys):
    X, y = rows()
    model = FeatureModel(FeatureProcessor(), "logistic", None, classes=("a", "b", "c")).fit(X, y)
    folder = saved(tmp_path / "m", model)
    with pytest.raises(SystemExit) as stop:
        run(["eject", str(folder), "--out", str(tmp_path / "p.py"), "--format", "json"])
    assert not stop.value.code
    found = json.loads(capsys.readouterr().out)
    assert set(found) == {"script", "lines", "files"}
    assert found["script"] == str(tmp_path / "p.py")
    assert found["lines"] == len((tmp_path / "p.py").read_text().splitlines())


def test_affine_steps_are_multiplied_out():
    rng = np.random.default_rng(0)
    X, A, B = rng.normal(size=(5, 3)), rng.normal(size=(3, 4)), rng.normal(size=(4, 2))
    a, s, t, b = rng.normal(size=4), rng.normal(size=3), rng.normal(size=3), rng.normal(size=2)
    (step,) = fused([linear(s, t), linear(A, a), linear(B, b)])
    expected = (((X * s + t) @ A) + a) @ B + b
    assert np.allclose(X @ step.arrays["matrix"] + step.arrays["offset"], expected, atol=1e-12)


def test_a_network_that_is_not_onnx_is_refused(monkeypatch, tmp_path):
    from isthmus.serve.eject import _network

    backbone = load_backbone(modality="image")
    monkeypatch.setattr("isthmus.backbone.runtime.record_path", lambda mark: tmp_path / "gone.json")
    monkeypatch.setattr("isthmus.backbone.image.ImageBackbone.__call__", lambda self, batch: None)
    with pytest.raises(BackboneError, match="could not be converted to ONNX"):
        _network(backbone)
