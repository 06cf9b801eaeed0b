"""A folder of small data sets, whole and broken, and three saved models, made once a session."""

from __future__ import annotations

import json
import shutil
import wave
import zipfile

import numpy as np
import pandas as pd
import pytest

from isthmus.backbone import embed, load_backbone
from isthmus.data import read
from isthmus.demo.cases import DATA
from isthmus.fit.calibrate import Temperature
from isthmus.fit.features import FeatureProcessor
from isthmus.fit.model import FeatureModel
from isthmus.serve import save_model


def tables(folder):
    rng = np.random.default_rng(0)
    n = 60
    frame = pd.DataFrame(
        {
            "age": rng.normal(50, 9, n).round(1),
            "height": rng.normal(170, 8, n).round(1),
            "colour": rng.choice(["red", "green", "blue"], n),
            "hospital": np.repeat(["north", "south"], n // 2),
            "label": rng.choice(["ill", "well"], n),
        }
    )
    frame.to_csv(folder / "table.csv", index=False)
    frame.to_csv(folder / "latin.csv", index=False, encoding="latin-1")
    raw = (folder / "latin.csv").read_bytes().replace(b"red", b"r\xe9d\xff")
    (folder / "latin.csv").write_bytes(raw)
    bare = frame.drop(columns=["hospital", "label"])
    bare.to_csv(folder / "target.csv", index=False)
    bare.rename(columns={"age": "agee"}).to_csv(folder / "renamed.csv", index=False)
    pd.DataFrame({"x1": range(30), "x2": range(30)}).to_csv(folder / "other.csv", index=False)
    frame.assign(label="").to_csv(folder / "mute.csv", index=False)
    frame.assign(label="ill").to_csv(folder / "one_class.csv", index=False)
    frame.assign(label=range(n)).to_csv(folder / "unique.csv", index=False)
    frame.head(1).to_csv(folder / "one_row.csv", index=False)
    frame.head(0).to_csv(folder / "header_only.csv", index=False)
    frame.assign(code=np.arange(n) // 2).to_csv(folder / "ids.csv", index=False)
    frame.assign(size=rng.normal(0, 1, n)).to_csv(folder / "sizes.csv", index=False)
    frame.assign(label="words of " + frame["label"]).to_csv(folder / "words.csv", index=False)
    lines = (folder / "table.csv").read_text().splitlines()
    (folder / "ragged.csv").write_text("\n".join([*lines[:9], "1,2,3,4,5,6,7,8", *lines[9:]]))
    (folder / "twice.csv").write_text("age,age,label\n1,2,a\n3,4,b\n5,6,a\n")
    (folder / "empty.csv").write_text("")
    (folder / "binary.csv").write_bytes(bytes(range(256)) * 40)
    (folder / "broken.parquet").write_bytes(b"PAR1 this is no parquet file PAR1")
    (folder / "broken.json").write_text('[{"age": 1, "label": "a"}, {"age": ')
    (folder / "broken.jsonl").write_text('{"age": 1, "label": "a"}\n{"age": \n')
    (folder / "sheet.docx").write_bytes(b"PK\x03\x04 not a table")
    ids = [f"table.csv:{i}" for i in range(2, 62)]
    names = ["age", "height", "label"]
    pd.DataFrame({"id": [*ids[:5], "table.csv:900"], "label": ["ill"] * 6}).to_csv(
        folder / "unknown_ids.csv", index=False
    )
    pd.DataFrame({"id": [ids[0], ids[0]], "label": ["ill", "well"]}).to_csv(
        folder / "two_labels.csv", index=False
    )
    pd.DataFrame({"who": ids[:4], "says": [*names, "x"], "and": 1, "more": 2}).to_csv(
        folder / "no_id.csv", index=False
    )
    (folder / "no_labels.csv").write_text("id,label\n")


def arrays(folder):
    rng = np.random.default_rng(1)
    X, y = rng.normal(size=(60, 5)).astype(np.float32), np.array(["a", "b"] * 30)
    np.savez(folder / "features.npz", X=X, y=y)
    np.savez(folder / "short.npz", X=X, y=y[:7])
    np.savez(folder / "wide.npz", X=np.hstack([X, X]))
    np.savez(folder / "without_x.npz", weights=X)
    holes = X.copy()
    holes[:, 2] = np.nan
    np.savez(folder / "holes.npz", X=holes, y=y)
    np.save(folder / "pickled.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    (folder / "broken.npz").write_bytes(b"PK\x03\x04 broken")


def media(folder):
    for digit in "01":
        (folder / "photos" / digit).mkdir(parents=True)
        for file in sorted((DATA / "signs" / digit).iterdir())[:8]:
            shutil.copy(file, folder / "photos" / digit)
    shutil.copytree(folder / "photos" / "0", folder / "one_kind" / "only")
    shutil.copytree(folder / "photos" / "0", folder / "flat")
    (folder / "nothing").mkdir()
    (folder / "notes").mkdir()
    (folder / "notes" / "todo.md").write_text("milk")
    for name in "ab":
        (folder / "fake" / name).mkdir(parents=True)
        for i in range(4):
            (folder / "fake" / name / f"{i}.jpg").write_text(f"this is no picture {name}{i} " * 20)
    for name in "ab":
        (folder / "sounds" / name).mkdir(parents=True)
        (folder / "broken_sounds" / name).mkdir(parents=True)
        for i in range(4):
            with wave.open(str(folder / "sounds" / name / f"{i}.wav"), "wb") as file:
                file.setnchannels(1)
                file.setsampwidth(2)
                file.setframerate(8000)
                file.writeframes(bytes([i + ord(name)]) * 4000)
            whole = (folder / "sounds" / name / f"{i}.wav").read_bytes()
            (folder / "broken_sounds" / name / f"{i}.wav").write_bytes(whole[:900])
    shutil.copytree(folder / "photos", folder / "mixed")
    for name in "01":
        for file in (folder / "sounds" / "a").iterdir():
            shutil.copy(file, folder / "mixed" / name)
    lines = (DATA / "reviews" / "sentences.csv").read_text().splitlines()
    (folder / "reviews.csv").write_text("\n".join([lines[0], *lines[1:2000:25]]))
    (folder / "files.csv").write_text("file,label\ngone1.jpg,a\ngone2.jpg,b\ngone3.jpg,a\n")
    with zipfile.ZipFile(folder / "photos.zip", "w") as archive:
        archive.writestr("0/a.jpg", b"x")


def networks(folder):
    (folder / "junk.onnx").write_bytes(b"this is no network")
    (folder / "junk.pth").write_bytes(b"this is no checkpoint")
    (folder / "junk.safetensors").write_bytes(b"\x10\x00\x00\x00\x00\x00\x00\x00 no tensors")
    (folder / "junk.keras").write_bytes(b"this is no network")
    (folder / "model_folder").mkdir()
    (folder / "model_folder" / "readme.txt").write_text("no config here")


def plans(folder):
    (folder / "broken.yaml").write_text("options: [unclosed\n")
    (folder / "list.yaml").write_text("- transfer\n- now\n")
    good = "isthmus_plan: 1\noptions:\n  target: table.csv\n"
    (folder / "typo.yaml").write_text(good + "  sead: 3\n")


def saved(folder, name, data, modality, backbone, **reading):
    samples = read(data, modality=modality, **reading)
    if hasattr(backbone, "fit"):
        backbone = backbone.fit(samples.items.frame)
    got = embed(backbone, samples)
    model = FeatureModel(FeatureProcessor(), "logistic", Temperature(), classes=samples.classes)
    model.fit(got.features, samples.labels)
    save_model(
        folder / name,
        model=model,
        backbone=backbone,
        samples_like=samples,
        task="classification",
        classes=samples.classes,
        examples=samples,
    )


def models(folder):
    plain = load_backbone("identity", modality="features").fixed(5)
    saved(folder, "model", folder / "features.npz", "features", plain)
    table = load_backbone("tabular", modality="table")
    saved(folder, "table_model", folder / "table.csv", "table", table, label="label")
    for name in ("torn", "flipped", "headless", "newer", "edited", "nameless"):
        shutil.copytree(folder / "model", folder / name)
    tensors = (folder / "model" / "model.safetensors").read_bytes()
    (folder / "torn" / "model.safetensors").write_bytes(tensors[:-40])
    bad = bytearray(tensors)
    bad[-5] ^= 1
    (folder / "flipped" / "model.safetensors").write_bytes(bytes(bad))
    (folder / "headless" / "manifest.json").unlink()
    manifest = json.loads((folder / "model" / "manifest.json").read_text())
    (folder / "newer" / "manifest.json").write_text(json.dumps(manifest | {"schema": 99}))
    text = (folder / "model" / "manifest.json").read_text()
    (folder / "edited" / "manifest.json").write_text(text.replace('"a"', '"c"'))
    (folder / "nameless" / "model.safetensors").unlink()


@pytest.fixture(scope="session")
def workplace(tmp_path_factory):
    """Treat as read-only; outputs go to names of their own."""
    folder = tmp_path_factory.mktemp("mistakes")
    for part in (tables, arrays, media, networks, plans, models):
        part(folder)
    (folder / "occupied").mkdir()
    (folder / "occupied" / "thesis.txt").write_text("do not lose me")
    (folder / "taken.py").write_text("# mine")
    for name, text in (("other_run", '{"call": "another"}'), ("damaged_run", '{"call": "ano')):
        shutil.copytree(folder / "occupied", folder / name)
        (folder / name / "run.json").write_text(text)
    return folder
