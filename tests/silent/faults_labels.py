"""Faults in labels, texts, recordings, tables and procedures of the data."""

from __future__ import annotations

import shutil

import numpy as np
import pandas as pd
from faults import fault
from faults_data import jpegs, table_of
from PIL import Image
from scipy.io import wavfile


# 14 label order -------------------------------------------------------------------------------
def renumbered(labels, mapping):
    return [mapping[str(label)] for label in labels]


@fault(14, "image", "class numbers in the order of strings")
def string_order(d):
    world = d.images()
    names = ["8", "9", "10", "11", "12"]
    for role, order in (("source", names), ("target", sorted(names))):
        for number, name in enumerate(order):
            (world[role] / str(number)).rename(world[role] / f"new{name}")
        for name in order:
            (world[role] / f"new{name}").rename(world[role] / name)
    return world


@fault(14, "audio", "another order of the digits")
def audio_order(d):
    # the same speakers, so that a quick head knows what it says
    rows = d.speech_rows(["jackson", "theo"], range(10))
    base = d.folder()
    here, there = rows[rows["take"] < 6], rows[rows["take"] >= 6].copy()
    order = dict(zip("0123456789", "3017269845"))
    there["label"] = renumbered(there.label, order)

    def name(row):
        return f"{(row.Index * 7919) % 10007:05d}.wav"

    return {
        "source": d.write_speech(here, base / "source", name),
        "target": d.write_speech(there, base / "target", name),
    }


@fault(14, "features", "labels of the target rotated")
def feature_order(d):
    world = d.coil()
    X, y = world["target"]
    order = np.array([3, 1, 0, 2, 5, 4, 7, 8, 9, 6])
    return {**world, "target": (X, order[y])}


@fault(14, "text", "good is 0 on one side")
def text_flipped(d):
    world = table_of(d.texts(source=160, target=100))
    world["target"]["label"] = 1 - world["target"]["label"]
    return world


@fault(14, "table", "yes and no exchanged on one side")
def table_flipped(d):
    world = table_of(d.table())
    world["target"]["disease"] = world["target"].disease.map({"yes": "no", "no": "yes"})
    return world


# 15 missing class -----------------------------------------------------------------------------
@fault(15, "image", "no folder for one class in the target")
def missing_folder(d):
    world = d.images()
    shutil.rmtree(world["target"] / "2")
    return world


@fault(15, "audio", "one digit missing in the target")
def missing_digit(d):
    world = d.audio()
    shutil.rmtree(world["target"] / "4")
    return world


@fault(15, "features", "one class missing, the others renumbered")
def shifted_numbers(d):
    world = d.coil()
    X, y = world["target"]
    keep = y != 3
    moved = y[keep] - (y[keep] > 3)
    return {**world, "target": (X[keep], moved)}


# 16 spelling ----------------------------------------------------------------------------------
@fault(16, "text", "Good, good and 'good '")
def spelled_text(d):
    world = table_of(d.texts())
    for role in ("source", "target"):
        frame = world[role]
        names = np.where(frame.label == 1, "good", "bad").astype(object)
        names[::3] = [n.capitalize() for n in names[::3]]
        names[1::3] = [f"{n} " for n in names[1::3]]
        frame["label"] = names
    return world


@fault(16, "image", "folders five and Five")
def spelled_folders(d):
    world = d.images()
    words = ["nought", "one", "two", "three", "four"]
    for role in ("source", "target"):
        for number, word in enumerate(words):
            (world[role] / str(number)).rename(world[role] / word)
    (world["source"] / "Two").mkdir()
    for file in jpegs(world["source"]):
        if file.parent.name == "two" and int(file.stem.split("_")[1]) % 20 < 10:
            shutil.move(file, world["source"] / "Two" / file.name)
    return world


@fault(16, "table", "healthy and helthy")
def typing_error(d):
    world = table_of(d.table())
    for role in ("source", "target"):
        world[role]["disease"] = world[role].disease.map({"yes": "ill", "no": "healthy"})
    rows = world["source"].index[world["source"].disease == "healthy"][::3]
    world["source"].loc[rows, "disease"] = "helthy"
    return world


# 18 dead features -----------------------------------------------------------------------------
@fault(18, "features", "every row the same")
def dead_features(d):
    world = d.surf()
    X, y = world["target"]
    return {**world, "target": (np.repeat(X[:1], len(X), axis=0), y)}


# 19 tokenizer ---------------------------------------------------------------------------------
@fault(19, "text", "a script that the vocabulary does not know")
def foreign_script(d):
    world = table_of(d.texts())
    tamil = [chr(c) for c in range(0x0B85, 0x0BB9) if chr(c).isalpha()]
    rng = np.random.default_rng(0)
    world["target"]["text"] = [
        " ".join("".join(rng.choice(tamil, 5)) for _ in range(8)) for _ in world["target"].text
    ]
    return world


@fault(19, "text", "texts far beyond the limit")
def long_texts(d):
    world = table_of(d.texts(source=60, target=24))
    joined = " ".join(world["source"].text)
    world["target"]["text"] = [
        f"{t} {joined[i : i + 3000]}" for i, t in enumerate(world["target"].text)
    ]
    return world


# 21 sample rate -------------------------------------------------------------------------------
@fault(21, "audio", "the target upsampled from 4 to 8 kHz")
def upsampled(d):
    import soxr

    world = d.audio()
    for file in world["target"].glob("*/*.wav"):
        rate, samples = wavfile.read(file)
        low = soxr.resample(samples.astype(np.float32), rate, rate // 2)
        made = soxr.resample(low, rate // 2, rate)
        wavfile.write(file, rate, np.clip(made, -32768, 32767).astype(np.int16))
    return world


@fault(21, "audio", "a header that says twice the rate")
def wrong_header(d):
    world = d.audio()
    for file in world["target"].glob("*/*.wav"):
        rate, samples = wavfile.read(file)
        wavfile.write(file, 2 * rate, samples)
    return world


@fault(21, "audio", "arrays without a rate")
def no_rate(d):
    world = d.audio(takes=3)
    files = sorted(world["source"].glob("*/*.wav"))
    clips = [wavfile.read(f)[1] for f in files]
    items = [np.resize(clip, 3000) for clip in clips]
    labels = [f.parent.name for f in files]
    return {"source": (items, labels), "target": world["target"], "modality": "audio"}


# 24 imbalance ---------------------------------------------------------------------------------
@fault(24, "table", "nine of ten are healthy")
def imbalanced_table(d):
    world = table_of(d.table(source=300, target=260))
    rows = world["target"]
    ill = rows[rows.disease == "yes"].iloc[:12]
    world["target"] = pd.concat([rows[rows.disease == "no"], ill], ignore_index=True)
    return world


@fault(24, "text", "nearly all target sentences are good")
def imbalanced_text(d):
    world = table_of(d.texts(target=120))
    rows = world["target"]
    few = rows[rows.label == 0].iloc[:4]
    world["target"] = pd.concat([rows[rows.label == 1], few], ignore_index=True)
    return world


# 27 numbers that are none ---------------------------------------------------------------------
@fault(27, "features", "NaN turned into zeros")
def zero_rows(d):
    world = d.surf()
    X, y = world["source"]
    X = X.copy()
    X[::9] = np.nan
    return {**world, "source": (np.nan_to_num(X), y)}


@fault(27, "table", "-999 for missing")
def sentinel_table(d):
    world = table_of(d.table())
    world["source"].loc[::8, "thalach"] = -999
    return world


@fault(27, "table", "division by zero")
def infinite_table(d):
    world = table_of(d.table())
    world["source"]["ratio"] = world["source"].chol / world["source"].exang
    world["target"]["ratio"] = world["target"].chol / world["target"].exang
    return world


# 28 shortcuts ---------------------------------------------------------------------------------
@fault(28, "image", "one camera a class")
def camera(d):
    world = d.images()
    for file in [*jpegs(world["source"]), *jpegs(world["target"])]:
        with Image.open(file) as image:
            side = 80 + 8 * int(file.parent.name)
            image.resize((side, side)).save(file, "JPEG", quality=50 + 8 * int(file.parent.name))
    return world


@fault(28, "audio", "file names that tell the class")
def telling_names(d):
    base = d.folder()
    words = {digit: f"{chr(ord('a') + 2 * int(digit))}room" for digit in "0123456789"}
    found = {}
    for role, speakers in (("source", ("jackson", "nicolas")), ("target", ("theo",))):
        rows = d.speech_rows(speakers, range(6))
        found[role] = d.write_speech(
            rows, base / role, lambda row: f"{words[row.label]}{(row.Index * 7919) % 997}.wav"
        )
    return found


@fault(28, "table", "a running number sorted by the label")
def record_number(d):
    world = table_of(d.table())
    for role in ("source", "target"):
        frame = world[role].sort_values("disease").reset_index(drop=True)
        frame["record_no"] = np.arange(len(frame)) + 1
        world[role] = frame
    return {**world, "id": "none"}


@fault(28, "text", "a marker left in the text")
def marker(d):
    world = table_of(d.texts())
    for role in ("source", "target"):
        frame = world[role]
        tag = np.where(frame.label == 1, "rated five", "rated one")
        frame["text"] = [f"{t} ({m})" for t, m in zip(frame.text, tag)]
    return world


# 29 label map ---------------------------------------------------------------------------------
@fault(29, "text", "a label map with a gap")
def label_gap(d):
    world = table_of(d.texts(source=180))
    frame = world["source"]
    frame["label"] = frame.label.map({0: "bad", 1: "good"}).astype(object)
    frame.loc[frame.index[::4], "label"] = None
    world["target"]["label"] = world["target"].label.map({0: "bad", 1: "good"})
    return world


@fault(29, "table", "another word for the same label")
def other_words(d):
    world = table_of(d.table())
    world["target"]["disease"] = world["target"].disease.map({"yes": "sick", "no": "no"})
    return world


@fault(29, "image", "a target class that the source lacks")
def unmapped_folder(d):
    world = d.images()
    (world["target"] / "4").rename(world["target"] / "four")
    return world


# 30 luck --------------------------------------------------------------------------------------
@fault(30, "features", "a test of thirty rows")
def tiny_test(d):
    world = d.features()
    X, y = world["target"]
    return {**world, "target": (X[:30], y[:30])}


@fault(30, "text", "a test of two dozen sentences")
def tiny_text(d):
    return d.texts(target=24)


@fault(30, "image", "one shot a class")
def one_shot(d):
    world = d.images()
    return {"target": world["target"], "shots": 1}
