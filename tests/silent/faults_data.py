"""Faults in the data themselves."""

from __future__ import annotations

import numpy as np
import pandas as pd
from faults import fault
from PIL import Image
from scipy.io import wavfile


def jpegs(folder):
    return sorted(folder.glob("*/*.JPG"))


def rewrite(files, change, **how):
    """Save pictures anew after a change of their pixels."""
    for file in files:
        with Image.open(file) as image:
            pixels = np.asarray(image.convert("RGB"))
        Image.fromarray(np.ascontiguousarray(change(pixels))).save(file, "JPEG", quality=92, **how)


def table_of(world):
    return {**world, "source": world["source"].copy(), "target": world["target"].copy()}


# 1 duplicates ---------------------------------------------------------------------------------
@fault(1, "image", "source photos saved anew in the target")
def duplicate_images(d):
    world = d.images()
    for file in jpegs(world["source"])[::6]:
        with Image.open(file) as image:
            copy = world["target"] / file.parent.name / f"x{file.stem}.JPG"
            image.save(copy, "JPEG", quality=80)
    return world


@fault(1, "audio", "source clips in the target, other loudness")
def duplicate_audio(d):
    world = d.audio()
    for file in sorted(world["source"].glob("*/*.wav"))[::12]:
        rate, samples = wavfile.read(file)
        made = (samples * 0.6).astype(np.int16)
        wavfile.write(world["target"] / file.parent.name / f"x{file.stem}.wav", rate, made)
    return world


@fault(1, "text", "source sentences in the target, other case and stops")
def duplicate_text(d):
    world = table_of(d.texts())
    copies = world["source"][world["source"].text.str.split().str.len() > 8].iloc[:8].copy()
    copies["text"] = copies.text.str.upper() + "!!"
    world["target"] = pd.concat([world["target"], copies], ignore_index=True)
    return world


@fault(1, "table", "source patients in the target")
def duplicate_table(d):
    world = table_of(d.table())
    world["target"] = pd.concat([world["target"], world["source"].iloc[:10]], ignore_index=True)
    return world


@fault(1, "features", "source rows in the target, rounded")
def duplicate_features(d):
    world = d.features()
    (X, y), (Z, z) = world["source"], world["target"]
    world["target"] = (np.concatenate([Z, X[:10].round(2)]), np.concatenate([z, y[:10]]))
    return world


# 2 groups -------------------------------------------------------------------------------------
@fault(2, "image", "the same people on both sides, named in the files")
def groups_image(d):
    base = d.folder()
    rows = d.sign_rows(0, 24, "01234")
    rows["person"] = rows.groupby("label").cumcount() // 2
    one, other = base / "source", base / "target"
    one.mkdir()
    other.mkdir()
    odd = rows.groupby("label").cumcount() % 2 == 1

    def name(row):
        return f"patient{row.person:02d}_shot{row.number}.jpg"

    d.write_signs(rows[~odd], one, name)
    d.write_signs(rows[odd], other, name)
    return {"source": one, "target": other}


@fault(2, "audio", "the same speakers on both sides, named in the files")
def groups_audio(d):
    base = d.folder()
    rows = d.speech_rows(["jackson", "theo", "nicolas"], range(8))
    return {
        "source": d.write_speech(rows[rows["take"] % 2 == 0], base / "source"),
        "target": d.write_speech(rows[rows["take"] % 2 == 1], base / "target"),
    }


@fault(2, "table", "visits of the same patients on both sides")
def groups_table(d):
    world = table_of(d.table("cleveland", "cleveland", source=60, target=60))
    people = world["source"].reset_index(drop=True)
    visits = []
    for visit in range(4):
        rows = people.copy()
        rng = np.random.default_rng(visit)
        for name in ("trestbps", "chol", "thalach"):
            rows[name] = (rows[name] + rng.normal(0, 4, len(rows))).round()
        rows["patient"] = [f"P{i:03d}" for i in range(len(rows))]
        visits.append(rows)
    world["source"] = pd.concat(visits[:2], ignore_index=True)
    world["target"] = pd.concat(visits[2:], ignore_index=True)
    return {**world, "group": "none"}


# 3 preprocessing fitted on everything ---------------------------------------------------------
def jointly(world, fit):
    (X, y), (Z, z) = world["source"], world["target"]
    made = fit(np.concatenate([X, Z]).astype(np.float64))
    world["source"] = (made[: len(X)].astype(np.float32), y)
    world["target"] = (made[len(X) :].astype(np.float32), z)
    return world


@fault(3, "features", "standardised with the target")
def joint_standard(d):
    from sklearn.preprocessing import StandardScaler

    return jointly(d.surf(), lambda X: StandardScaler().fit_transform(X))


@fault(3, "features", "principal components of both")
def joint_pca(d):
    from sklearn.decomposition import PCA

    return jointly(d.features(), lambda X: PCA(32, random_state=0).fit_transform(X))


@fault(3, "table", "standardised with the target")
def joint_table(d):
    world = table_of(d.table())
    names = ["age", "trestbps", "chol", "thalach", "oldpeak"]
    whole = pd.concat([world["source"], world["target"]])[names]
    for role in ("source", "target"):
        world[role][names] = (world[role][names] - whole.mean()) / whole.std()
    return world


# 5 scale --------------------------------------------------------------------------------------
def in_memory(folder, change):
    """Pictures as a list of arrays with labels."""
    files = jpegs(folder)
    return [change(np.asarray(Image.open(f).convert("RGB"))) for f in files], [
        f.parent.name for f in files
    ]


@fault(5, "image", "float pixels in 0..255")
def float_pixels(d):
    world = d.images(source=6, target=4)
    source = in_memory(world["source"], lambda p: p.astype(np.float32) * 0.97)
    return {"source": source, "target": world["target"], "modality": "image"}


@fault(5, "image", "divided by 255 and saved as 8 bits")
def dark_pixels(d):
    world = d.images()
    for file in jpegs(world["target"]):
        with Image.open(file) as image:
            pixels = np.asarray(image.convert("RGB"))
        made = file.with_suffix(".png")
        Image.fromarray((pixels / 255).round().astype(np.uint8)).save(made)
        file.unlink()
    return world


@fault(5, "features", "one side in 0..255")
def scaled_features(d):
    world = d.features()
    X, y = world["target"]
    return {**world, "target": (X * 255, y)}


@fault(5, "table", "another unit in one hospital")
def unit_table(d):
    world = table_of(d.table())
    world["target"]["chol"] = world["target"]["chol"] * 1000
    return world


@fault(5, "audio", "samples not scaled")
def loud_audio(d):
    world = d.audio(takes=3)
    clips = [wavfile.read(f) for f in sorted(world["source"].glob("*/*.wav"))]
    labels = [f.parent.name for f in sorted(world["source"].glob("*/*.wav"))]
    items = [(samples.astype(np.float32), rate) for rate, samples in clips]
    return {"source": (items, labels), "target": world["target"], "modality": "audio"}


@fault(5, "audio", "scaled twice")
def quiet_audio(d):
    world = d.audio()
    for file in world["target"].glob("*/*.wav"):
        rate, samples = wavfile.read(file)
        wavfile.write(file, rate, (samples / 32768 / 32768).astype(np.float32))
    return world


# 6 channels -----------------------------------------------------------------------------------
@fault(6, "image", "the target in BGR")
def bgr_target(d):
    world = d.images()
    rewrite(jpegs(world["target"]), lambda p: p[..., ::-1])
    return world


@fault(6, "image", "arrays with channels first")
def channels_first(d):
    world = d.images(source=6, target=4)
    pixels, labels = in_memory(world["source"], lambda p: p.transpose(2, 0, 1))
    pixels[0] = pixels[0][:, :90]  # of different sizes, as photos are
    return {"source": (pixels, labels), "target": world["target"], "modality": "image"}


# 8 orientation --------------------------------------------------------------------------------
@fault(8, "image", "a third of the target photos turned by their EXIF tag")
def exif_target(d):
    world = d.images()
    for file in jpegs(world["target"])[::3]:
        with Image.open(file) as image:
            turned = image.convert("RGB").rotate(90, expand=True)
        exif = Image.Exif()
        exif[0x0112] = 6
        turned.save(file, "JPEG", quality=92, exif=exif)
    return world


@fault(8, "image", "the target lies on its side, its tags lost")
def turned_target(d):
    world = d.images()
    rewrite(jpegs(world["target"]), lambda p: np.rot90(p, 1))
    return world


# 9 collapse -----------------------------------------------------------------------------------
@fault(9, "image", "16-bit pictures clipped to 8 bits")
def clipped(d):
    world = d.images()
    for file in jpegs(world["target"]):
        with Image.open(file) as image:
            grey = np.asarray(image.convert("L")).astype(np.int32) * 257
        file.unlink()
        clipped = np.clip(grey, 0, 255).astype(np.uint8)  # what convert("L") does to mode I
        Image.fromarray(clipped).save(file.with_suffix(".png"))
    return world


@fault(9, "image", "palette of four colours")
def palette(d):
    world = d.images()
    for file in jpegs(world["target"]):
        with Image.open(file) as image:
            made = image.convert("L").quantize(4)
        file.unlink()
        made.save(file.with_suffix(".png"))
    return world


# 10 damaged -----------------------------------------------------------------------------------
@fault(10, "image", "photos of one class cut off")
def truncated_images(d):
    world = d.images()
    for file in jpegs(world["source"])[:5]:
        file.write_bytes(file.read_bytes()[:1500])
    return world


@fault(10, "audio", "recordings cut off")
def truncated_audio(d):
    world = d.audio()
    for file in sorted(world["source"].glob("*/*.wav"))[::20]:
        file.write_bytes(file.read_bytes()[:1500])
    return world
