"""The feature store: keys, shards, damage, merging, upkeep."""

from __future__ import annotations

import errno
import logging
import os
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from isthmus import iofs
from isthmus.backbone import keys as keys_module
from isthmus.backbone import store as store_module
from isthmus.backbone import upkeep
from isthmus.backbone.keys import KeyMaker, as_words, item_digest, space_name
from isthmus.backbone.shard import DamagedShard, open_shard, verify_shard, write_shard
from isthmus.backbone.store import Store, cache_root, shard_paths
from isthmus.errors import BackboneError, DataError, StoreError, UsageError


@dataclass(frozen=True)
class Fake:
    """As much of a backbone as the store looks at."""

    weights: str = "w0"
    layer: str = "last"
    pooling: str = "avg"
    code: int = 1
    modality: str = "features"
    num_features: int = 6
    recipe: dict = field(default_factory=lambda: {"size": 224, "mean": [0.5, 0.4], "crop": 0.9})
    name: str = "fake"
    batch_size: int = 8

    @property
    def fingerprint(self) -> str:
        parts = [self.weights, self.recipe, self.layer, self.pooling, self.code]
        return iofs.sha256_bytes(iofs.canonical_json(parts))


def rows_of(n: int, seed: int = 0, d: int = 6) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    keys = rng.integers(0, 256, (n, 32), dtype=np.uint8)
    return keys, rng.normal(size=(n, d)).astype(np.float32)


def fill(store: Store, backbone: Fake, n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    keys, features = rows_of(n, seed, backbone.num_features)
    with store.writer(backbone) as writer:
        writer.add(keys, features)
    return keys, features


def look_up(store: Store, backbone: Fake, keys: np.ndarray):
    wanted, first = np.unique(as_words(keys), return_index=True)
    out = np.full((len(keys), backbone.num_features), np.nan, np.float32)
    got = store.fetch(backbone, wanted, out, first)
    found = np.zeros(len(keys), bool)
    found[first[got.found]] = True
    return got, out, found


# ---------------------------------------------------------------- keys

BASE = Fake()
PIXELS = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
CHANGED = {
    "pixel": (BASE, np.where(PIXELS == 5, 6, PIXELS).astype(np.uint8)),
    "array dtype": (BASE, PIXELS.astype(np.uint16)),
    "array byte order": (BASE, PIXELS.astype(">u2")),
    "array shape": (BASE, PIXELS.reshape(4, 2, 3)),
    "array as its bytes": (BASE, PIXELS.tobytes()),
    "bytes": (BASE, b"abc"),
    "one more byte": (BASE, b"abc\0"),
    "text instead of bytes": (BASE, "abc"),
    "text, other case": (BASE, "Abc"),
    "text, trailing space": (BASE, "abc "),
    "sample rate": (BASE, (PIXELS, 8000)),
    "other sample rate": (BASE, (PIXELS, 16000)),
    "nesting": (BASE, ((PIXELS,), 16000)),
    "number": (BASE, 1),
    "float number": (BASE, 1.0),
    "recipe size": (replace(BASE, recipe=BASE.recipe | {"size": 225}), PIXELS),
    "recipe mean": (replace(BASE, recipe=BASE.recipe | {"mean": [0.5, 0.41]}), PIXELS),
    "recipe order of channels": (replace(BASE, recipe=BASE.recipe | {"mean": [0.4, 0.5]}), PIXELS),
    "recipe gains an entry": (replace(BASE, recipe=BASE.recipe | {"pad": 0}), PIXELS),
    "weights": (replace(BASE, weights="w1"), PIXELS),
    "layer": (replace(BASE, layer="block4"), PIXELS),
    "pooling": (replace(BASE, pooling="max"), PIXELS),
    "code version": (replace(BASE, code=2), PIXELS),
    "modality": (replace(BASE, modality="image"), PIXELS),
    "width": (replace(BASE, num_features=7), PIXELS),
}


def test_every_input_that_changes_a_result_changes_the_key(monkeypatch):
    found = {"as it is": KeyMaker(BASE)(PIXELS)}
    for name, (backbone, raw) in CHANGED.items():
        found[name] = KeyMaker(backbone)(raw)
    monkeypatch.setattr(keys_module, "ENGINE_VERSION", keys_module.ENGINE_VERSION + 1)
    found["engine version"] = KeyMaker(BASE)(PIXELS)
    assert len(found) == 27
    assert len(set(found.values())) == len(found)
    assert all(len(key) == 32 for key in found.values())


def test_what_cannot_change_a_result_does_not_change_the_key():
    key = KeyMaker(BASE)(PIXELS)
    wide = np.zeros((2, 8, 3), np.uint8)
    wide[:, ::2] = PIXELS
    assert KeyMaker(BASE)(wide[:, ::2]) == key  # memory layout
    assert KeyMaker(BASE)(np.asfortranarray(PIXELS)) == key
    assert KeyMaker(replace(BASE, name="alias", batch_size=3))(PIXELS) == key
    turned = dict(reversed(BASE.recipe.items()))
    assert KeyMaker(replace(BASE, recipe=turned))(PIXELS) == key  # order of a dict
    assert item_digest(bytearray(b"abc")) == item_digest(b"abc")
    assert item_digest(np.str_("abc")) == item_digest("abc")


def test_items_without_a_stable_digest_are_refused():
    with pytest.raises(DataError, match="Python objects"):
        item_digest(np.array([object()]))
    with pytest.raises(DataError, match="dict"):
        item_digest({})
    with pytest.raises(BackboneError, match="not plain JSON"):
        KeyMaker(replace(BASE, recipe={"mean": float("nan")}))


def test_space_name_never_leaves_the_folder():
    assert space_name("a" * 64) == "a" * 64
    for hostile in ("../up", "/etc", "a/b", "", ".", "x" * 300):
        assert len(space_name(hostile)) == 64


def test_cache_root_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("ISTHMUS_CACHE", str(tmp_path / "own"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_root() == tmp_path / "own"
    monkeypatch.delenv("ISTHMUS_CACHE")
    assert cache_root() == tmp_path / "xdg" / "isthmus"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_root() == tmp_path / ".cache" / "isthmus"


# ---------------------------------------------------------------- writing and reading


def test_rows_come_back_bit_for_bit_and_only_those_that_are_there(tmp_path):
    store = Store(tmp_path, chunk_rows=10)
    keys, features = fill(store, BASE, 35)
    assert len(shard_paths(store.folder(BASE))) == 4  # 10 + 10 + 10 + 5
    strangers, _ = rows_of(7, seed=9)
    asked = np.concatenate([strangers, keys[::-1]])
    got, out, found = look_up(store, BASE, asked)
    assert found.tolist() == [False] * 7 + [True] * 35
    assert out[7:].tobytes() == features[::-1].tobytes()
    assert np.isnan(out[:7]).all()
    assert not got.damaged
    assert (got.origin[got.found] >= 0).all()
    assert not look_up(store, replace(BASE, layer="other"), keys)[2].any()


def test_an_empty_store_knows_nothing_and_makes_no_folder(tmp_path):
    store = Store(tmp_path / "none")
    assert not look_up(store, BASE, rows_of(3)[0])[2].any()
    with store.writer(BASE):
        pass
    assert not store.root.exists()


def test_the_same_rows_in_two_shards_are_no_harm(tmp_path):
    store = Store(tmp_path)
    keys, features = fill(store, BASE, 8)
    with store.writer(BASE) as writer:
        writer.add(keys[4:], features[4:])
    _, out, found = look_up(store, BASE, keys)
    assert found.all()
    assert out.tobytes() == features.tobytes()


def test_a_chunk_is_also_written_after_some_seconds(tmp_path):
    store = Store(tmp_path, chunk_seconds=0.0)
    keys, features = rows_of(3)
    with store.writer(BASE) as writer:
        writer.add(keys, features)
        assert len(shard_paths(store.folder(BASE))) == 1


def test_wide_rows_make_small_chunks(tmp_path, monkeypatch):
    monkeypatch.setattr(store_module, "CHUNK_BYTES", 100)  # four rows of 6 floats
    fill(Store(tmp_path), BASE, 9)
    assert len(shard_paths(Store(tmp_path).folder(BASE))) == 3


def test_shards_are_safetensors_named_by_their_own_digest(tmp_path):
    keys, features = rows_of(5)
    path = write_shard(tmp_path, keys, features, space="s", backbone="b")
    assert all(write_shard(tmp_path, *rows_of(5), space="s", backbone="b") == path for _ in "12345")
    assert path.name == iofs.sha256_file(path) + ".safetensors"
    tensors = iofs.read_tensors(path)
    assert tensors["keys"].tobytes() == keys.tobytes()
    assert tensors["features"].tobytes() == features.tobytes()
    shard = verify_shard(path, space="s")
    assert shard.metadata["backbone"] == "b"
    assert not shard.features.flags.writeable
    with pytest.raises(DamagedShard, match="another backbone"):
        open_shard(path, space="t")


def test_wrong_width_under_the_right_name_is_not_used(tmp_path):
    store = Store(tmp_path)
    keys, _ = rows_of(3)
    features = np.zeros((3, 4), np.float32)
    write_shard(store.folder(BASE), keys, features, space=BASE.fingerprint)
    got, _, found = look_up(store, BASE, keys)
    assert not found.any()
    assert "4 features" in got.damaged[0].reason


# ---------------------------------------------------------------- damage


def damage(path: Path, how: str) -> None:
    raw = bytearray(path.read_bytes())
    if how == "flip":
        raw[-1] ^= 1
    elif how == "truncate":
        raw = raw[:-1]
    elif how == "empty":
        raw = bytearray()
    elif how == "grow":
        raw += b"\0"
    elif how == "header":
        raw[:8] = (2**40).to_bytes(8, "little")
    elif how == "not json":
        raw[8] = 0
    elif how == "zeros":
        raw[-40:] = bytes(40)
    path.write_bytes(raw)


@pytest.mark.parametrize(
    "how", ["flip", "truncate", "empty", "grow", "header", "not json", "zeros"]
)
def test_a_damaged_shard_is_moved_aside_reported_and_never_used(tmp_path, caplog, how):
    store = Store(tmp_path, chunk_rows=4)
    keys, features = fill(store, BASE, 8)
    victim = shard_paths(store.folder(BASE))[0]
    lost = set(verify_shard(victim).keys.tolist())
    damage(victim, how)
    assert [Path(d.path) for d in upkeep.verify(tmp_path)[1]] == [victim]
    with caplog.at_level(logging.WARNING):
        got, out, found = look_up(store, BASE, keys)
    assert [d.path for d in got.damaged] == [str(victim)]
    assert str(victim) in caplog.text
    assert not victim.exists()
    assert len(list((tmp_path / "damaged").iterdir())) == 1
    expected = np.array([key not in lost for key in as_words(keys).tolist()])
    assert (found == expected).all()
    assert out[found].tobytes() == features[expected].tobytes()


def test_a_shard_changed_after_it_was_read_once_is_hashed_again(tmp_path):
    store = Store(tmp_path)
    keys, _ = fill(store, BASE, 8)
    victim = shard_paths(store.folder(BASE))[0]
    old = time.time_ns() - 10**11
    os.utime(victim, ns=(old, old))
    assert look_up(store, BASE, keys)[2].all()
    damage(victim, "flip")
    os.utime(victim, ns=(old, old))  # the time stamp looks as before
    assert not look_up(store, BASE, keys)[2].any()


def test_a_store_that_cannot_be_changed_still_never_yields_wrong_rows(tmp_path, monkeypatch):
    store = Store(tmp_path)
    keys, _ = fill(store, BASE, 8)
    damage(shard_paths(store.folder(BASE))[0], "flip")

    def refuse(*args):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(iofs, "set_aside", refuse)
    got, _, found = look_up(store, BASE, keys)
    assert not found.any()
    assert "could not be moved aside" in got.damaged[0].reason


def test_header_that_lies_about_shapes_is_refused(tmp_path):
    keys, features = rows_of(4)
    path = write_shard(tmp_path, keys, features, space="s")
    raw = path.read_bytes()
    for old, new in (
        (b'"shape":[4,6]', b'"shape":[6,4]'),
        (b'"shape":[4,6]', b'"shape":[9,6]'),
        (b'"shape":[4,6]', b'"shape":[-4]'),
        (b'"F32"', b'"I32"'),
        (b'"U8"', b'"I8"'),
        (b'"keys"', b'"kEys"'),
        (b"isthmus-features-1", b"isthmus-features-2"),
    ):
        assert old in raw
        (tmp_path / "x.safetensors").write_bytes(raw.replace(old, new.ljust(len(old))))
        with pytest.raises(DamagedShard, match="header is not one of a feature shard"):
            open_shard(tmp_path / "x.safetensors")


@pytest.mark.parametrize(
    ("code", "remedy"), [(errno.ENOSPC, "cache prune"), (errno.EROFS, "writable")]
)
def test_a_full_or_read_only_disk_is_an_error_with_a_remedy(tmp_path, monkeypatch, code, remedy):
    def full(descriptor):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(iofs.os, "fsync", full)
    keys, features = rows_of(4)
    with pytest.raises(StoreError, match=remedy) as caught:
        write_shard(tmp_path / "s", keys, features, space="s")
    assert str(tmp_path / "s") in str(caught.value)
    assert not [p for p in tmp_path.rglob("*") if p.is_file()]  # no half file


# ---------------------------------------------------------------- merging


def test_many_small_shards_become_few(tmp_path):
    store = Store(tmp_path, chunk_rows=4)
    keys, features = fill(store, BASE, 200)
    with store.writer(BASE) as writer:
        writer.add(keys[2:6], features[2:6])  # rows that are there already
    assert len(shard_paths(store.folder(BASE))) == 51
    assert store.compact(BASE) == 51
    merged = shard_paths(store.folder(BASE))[0]
    assert len(open_shard(merged).keys) == 200
    assert len(shard_paths(store.folder(BASE))) == 1
    _, out, found = look_up(store, BASE, keys)
    assert found.all()
    assert out.tobytes() == features.tobytes()
    assert store.compact(BASE) == 0  # one is not many
    assert upkeep.verify(tmp_path) == (1, [])


def test_merging_leaves_a_damaged_shard_out(tmp_path):
    store = Store(tmp_path, chunk_rows=4)
    keys, features = fill(store, BASE, 200)
    damage(shard_paths(store.folder(BASE))[7], "flip")
    store.compact(BASE)
    _, out, found = look_up(store, BASE, keys)
    assert found.sum() == 196
    assert out[found].tobytes() == features[found].tobytes()
    assert upkeep.info(tmp_path)["damaged"]["files"] == 1


def test_merging_that_fails_deletes_nothing(tmp_path, monkeypatch):
    store = Store(tmp_path, chunk_rows=4)
    keys, _ = fill(store, BASE, 200)

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(iofs.os, "fsync", full)
        with pytest.raises(StoreError):
            store.compact(BASE)
    assert look_up(store, BASE, keys)[2].all()


def test_a_reader_finds_rows_that_move_while_it_reads(tmp_path, monkeypatch):
    store = Store(tmp_path, chunk_rows=4)
    keys, features = fill(store, BASE, 200)
    real = store_module.open_shard
    opened = []

    def merge_at_the_third(path, **options):
        opened.append(path)
        if len(opened) == 3:
            Store(tmp_path).compact(BASE)
        return real(path, **options)

    monkeypatch.setattr(store_module, "open_shard", merge_at_the_third)
    got, out, found = look_up(store, BASE, keys)
    assert found.all()
    assert not got.damaged
    assert out.tobytes() == features.tobytes()


# ---------------------------------------------------------------- scratch and upkeep


def test_scratch_array_is_removed_with_its_last_view(tmp_path):
    array = Store(tmp_path).scratch((10, 3))
    files = list((tmp_path / "scratch").iterdir())
    assert len(files) == 1
    array[4] = 7
    view = array[3:6]
    del array
    assert view[1].tolist() == [7, 7, 7]
    assert files[0].exists()
    del view
    assert not files[0].exists()


def test_scratch_falls_back_to_the_temporary_folder_or_says_why(tmp_path, monkeypatch):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    array = Store(blocked).scratch((2, 2))
    assert not str(array.filename).startswith(str(blocked))

    def full(descriptor, offset, size):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(iofs.os, "posix_fallocate", full)
    with pytest.raises(StoreError, match="prune"):
        Store(tmp_path).scratch((2, 2))
    assert not list((tmp_path / "scratch").iterdir())


def test_info_counts_what_is_there(tmp_path):
    store = Store(tmp_path, chunk_rows=4)
    fill(store, BASE, 10)
    iofs.write_bytes(tmp_path / "onnx" / "n.onnx", b"12345")
    (tmp_path / "scratch").mkdir()
    (tmp_path / "scratch" / ".features.999999999.aa.part").write_bytes(b"123")
    (tmp_path / "scratch" / f".features.{os.getpid()}.aa.part").write_bytes(b"mine")
    found = upkeep.info(tmp_path)
    (space,) = found["spaces"]
    assert (space["rows"], space["features"], space["shards"]) == (10, 6, 3)
    assert space["backbone"] == "fake"
    assert space["bytes"] == sum(p.stat().st_size for p in shard_paths(store.folder(BASE)))
    assert found["networks"] == {"files": 1, "bytes": 5}
    assert found["leftover"] == {"files": 1, "bytes": 3}
    assert found["bytes"] == space["bytes"] + 8
    assert upkeep.info(tmp_path / "none")["bytes"] == 0


def test_verify_names_damaged_networks(tmp_path):
    digest = iofs.write_bytes(tmp_path / "onnx" / "a.onnx", b"graph")
    for name, record in (("a", {"sha256": digest}), ("c", {"engine": "torch"})):
        own = iofs.sha256_bytes(iofs.canonical_json(record))
        iofs.write_json(tmp_path / "onnx" / f"{name}.json", record | {"self": own})
    assert upkeep.verify(tmp_path) == (2, [])
    (tmp_path / "onnx" / "a.onnx").write_bytes(b"grapH")
    (tmp_path / "onnx" / "b.onnx").write_bytes(b"no record")
    raw = (tmp_path / "onnx" / "c.json").read_text()
    (tmp_path / "onnx" / "c.json").write_text(raw.replace("torch", "t0rch"))
    checked, damaged = upkeep.verify(tmp_path)
    assert checked == 3
    assert [Path(d.path).name for d in damaged] == ["a.onnx", "b.json", "c.json"]


def aged(store: Store) -> list[Path]:
    """Shards of the store, each a day older than the one before."""
    paths = shard_paths(store.folder(BASE))
    for days, path in enumerate(paths):
        stamp = time.time() - 86400 * (days + 0.5)
        os.utime(path, (stamp, stamp))
    return paths


def test_prune_by_age_and_size_takes_the_longest_unused(tmp_path):
    store = Store(tmp_path, chunk_rows=4)
    fill(store, BASE, 20)
    paths = aged(store)
    size = paths[0].stat().st_size
    plan = upkeep.prune(tmp_path, older_than=3 * 86400, dry_run=True)
    assert plan == {"files": 2, "bytes": 2 * size, "kept_bytes": 3 * size}
    assert all(p.exists() for p in paths)
    assert upkeep.prune(tmp_path, older_than=3 * 86400) == plan
    assert [p.exists() for p in paths] == [True, True, True, False, False]
    upkeep.prune(tmp_path, max_bytes=2 * size)
    assert [p.exists() for p in paths] == [True, True, False, False, False]
    assert upkeep.prune(tmp_path)["files"] == 0
    upkeep.prune(tmp_path, everything=True)
    assert not store.folder(BASE).exists()


def test_prune_cleans_up_after_killed_processes_and_leaves_strangers_alone(tmp_path):
    store = Store(tmp_path)
    fill(store, BASE, 3)
    dead = store.folder(BASE) / ".x.safetensors.999999999.abcd.part"
    dead.write_bytes(b"half")
    alive = store.folder(BASE) / f".x.safetensors.{os.getpid()}.abcd.part"
    alive.write_bytes(b"half")
    (tmp_path / "notes.txt").write_text("the user's")
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "old").write_bytes(b"x")
    assert upkeep.prune(tmp_path, everything=True)["files"] == 3
    assert alive.exists()
    assert (tmp_path / "notes.txt").exists()
    assert not dead.exists()


def test_prune_keeps_a_network_and_its_record_together(tmp_path):
    for name, age in (("a", 10), ("b", 1)):
        iofs.write_bytes(tmp_path / "onnx" / f"{name}.onnx", b"x" * 100)
        iofs.write_json(tmp_path / "onnx" / f"{name}.json", {})
        stamp = time.time() - age * 86400
        os.utime(tmp_path / "onnx" / f"{name}.onnx", (stamp, stamp))
        os.utime(tmp_path / "onnx" / f"{name}.json", (stamp, stamp))
    upkeep.prune(tmp_path, older_than=5 * 86400)
    assert sorted(p.name for p in (tmp_path / "onnx").iterdir()) == ["b.json", "b.onnx"]


@pytest.mark.parametrize("text", ["", "2XB", "-1GB", "GB", "1e9", "two"])
def test_sizes_that_make_no_sense_are_refused(text):
    with pytest.raises(UsageError, match="is not a size"):
        upkeep.parse_size(text)


def test_sizes_and_ages():
    assert upkeep.parse_size("1.5 GiB") == 3 << 29
    assert upkeep.parse_size("500m") == 500_000_000
    assert upkeep.parse_age("45m") == 2700
    for text in ("30", "d", "30 years", "-1d"):
        with pytest.raises(UsageError, match="is not an age"):
            upkeep.parse_age(text)
