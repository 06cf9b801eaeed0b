"""1,000 random damages to the files of a saved model: every one is found, none crashes."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from isthmus import iofs
from isthmus.errors import BundleError
from isthmus.serve import load_model, verify
from isthmus.serve.manifest import MANIFEST, TENSORS, read_manifest, seal

PARTS, EACH = 10, 100


def flip(raw, rng):
    """One bit of one byte."""
    at = int(rng.integers(len(raw)))
    out = bytearray(raw)
    out[at] ^= 1 << int(rng.integers(8))
    return bytes(out), f"bit flipped at {at}"


def truncate(raw, rng):
    at = int(rng.integers(len(raw)))
    return raw[:at], f"cut to {at}"


def swap(raw, rng):
    """Two blocks change places."""
    size = int(rng.integers(1, min(16, len(raw) // 2)))
    a, b = sorted(rng.integers(0, len(raw) - size + 1, 2).tolist())
    if b - a < size or raw[a : a + size] == raw[b : b + size]:
        return None
    out = bytearray(raw)
    out[a : a + size], out[b : b + size] = raw[b : b + size], raw[a : a + size]
    return bytes(out), f"{size} bytes at {a} and {b} swapped"


def grow(raw, rng):
    extra = rng.integers(0, 256, int(rng.integers(1, 9))).astype(np.uint8).tobytes()
    return raw + extra, "bytes appended"


def whiten(raw, rng):
    """A space more or less, which a JSON parser would not notice."""
    spaces = [i for i, byte in enumerate(raw) if byte in b" \n"]
    at = spaces[int(rng.integers(len(spaces)))] if spaces else 0
    return raw[:at] + b" " + raw[at:], f"space inserted at {at}"


DAMAGES = (flip, flip, flip, truncate, swap, grow, whiten)


@pytest.mark.parametrize("part", range(PARTS))
def test_every_damage_is_found(bundle_copy, part):
    rng = np.random.default_rng(part)
    files = sorted(p for p in bundle_copy.rglob("*") if p.is_file())
    assert verify(bundle_copy)["ok"]
    done = 0
    while done < EACH:
        path = files[int(rng.integers(len(files)))]
        raw = path.read_bytes()
        made = DAMAGES[int(rng.integers(len(DAMAGES)))](raw, rng)
        if made is None:
            continue
        damaged, what = made
        assert damaged != raw
        path.write_bytes(damaged)
        report = verify(bundle_copy)
        bad = [check for check in report["checks"] if not check["ok"]]
        name = str(path.relative_to(bundle_copy))
        assert not report["ok"] and [check["file"] for check in bad] == [name], (name, what)
        if name in (MANIFEST, TENSORS):
            with pytest.raises(BundleError):
                load_model(bundle_copy)
        path.write_bytes(raw)
        done += 1
    assert verify(bundle_copy)["ok"]


def test_files_that_change_places_are_found(bundle_copy):
    files = sorted(p for p in bundle_copy.rglob("*") if p.is_file())
    for a in files:
        for b in files:
            if a >= b:
                continue
            left, right = a.read_bytes(), b.read_bytes()
            a.write_bytes(right)
            b.write_bytes(left)
            report = verify(bundle_copy)
            bad = {check["file"] for check in report["checks"] if not check["ok"]}
            either = {str(p.relative_to(bundle_copy)) for p in (a, b)}
            assert not report["ok"] and bad and bad <= either
            a.write_bytes(left)
            b.write_bytes(right)
    assert verify(bundle_copy)["ok"]


def test_files_that_are_missing_are_named(bundle_copy):
    for path in sorted(p for p in bundle_copy.rglob("*") if p.is_file()):
        raw = path.read_bytes()
        path.unlink()
        report = verify(bundle_copy)
        bad = [check["file"] for check in report["checks"] if not check["ok"]]
        assert bad == [str(path.relative_to(bundle_copy))]
        path.write_bytes(raw)
    shutil.rmtree(bundle_copy / "examples")
    assert len([c for c in verify(bundle_copy)["checks"] if not c["ok"]]) == 3


def test_parts_of_another_model_are_found(bundle_copy, tmp_path, kit):
    """A sound file of a sound model, in the wrong folder."""
    X, y = kit.numbers(seed=1)
    backbone = kit.load_backbone("identity", modality="features").fixed(5)
    other = kit.save(tmp_path / "other", kit.read((X, y)), backbone)
    for name in (TENSORS, "examples/arrays.safetensors", MANIFEST):
        kept = (bundle_copy / name).read_bytes()
        shutil.copy(other.folder / name, bundle_copy / name)
        assert not verify(bundle_copy)["ok"]
        (bundle_copy / name).write_bytes(kept)


def test_outputs_that_were_altered_with_all_digests_are_found_by_the_replay(bundle_copy):
    """Whoever forges digests as well still has to explain the examples."""
    path = bundle_copy / "examples" / "outputs.safetensors"
    tensors = {name: value.copy() for name, value in iofs.read_tensors(path).items()}
    tensors["proba"][0] = tensors["proba"][0][::-1]
    digest = iofs.write_tensors(path, tensors)
    manifest = read_manifest(bundle_copy)
    manifest["files"]["examples/outputs.safetensors"] = {
        "sha256": digest,
        "bytes": path.stat().st_size,
    }
    (bundle_copy / MANIFEST).write_bytes(seal(manifest))
    report = verify(bundle_copy)
    (bad,) = [check for check in report["checks"] if not check["ok"]]
    assert bad["name"] == "examples" and "1 of 8 examples" in bad["detail"]


def test_an_end_between_any_two_renames_never_mixes_models(bundle_copy, tmp_path, monkeypatch, kit):
    """Overwriting a model is a few renames; a power cut may fall between any two of them."""
    X, y = kit.numbers(seed=1)
    backbone = kit.load_backbone("identity", modality="features").fixed(5)
    samples = kit.read((X, y))
    real = Path.replace
    old = load_model(bundle_copy).model.predict_proba(X)
    outcomes = []
    for stop in range(100):
        folder = shutil.copytree(bundle_copy, tmp_path / str(stop))
        calls = 0

        def replace(self, target, stop=stop, folder=folder):
            nonlocal calls
            if folder in Path(target).parents or folder in self.parents:
                calls += 1
                if calls > stop:
                    raise KeyboardInterrupt
            return real(self, target)

        monkeypatch.setattr(Path, "replace", replace)
        try:
            new = kit.save(folder, samples, backbone).model.predict_proba(X)
            finished = True
        except KeyboardInterrupt:
            finished = False
        monkeypatch.setattr(Path, "replace", real)
        try:
            found = load_model(folder).model.predict_proba(X)
        except BundleError:
            outcomes.append("refused")
        else:
            outcomes.append("old" if np.array_equal(found, old) else "new")
        if finished:
            assert np.array_equal(found, new)
            break
        assert outcomes[-1] in ("old", "refused")
    assert outcomes[0] == "old" and outcomes[-1] == "new" and "refused" in outcomes
