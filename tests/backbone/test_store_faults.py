"""Drills: kill -9, byte flips, truncation, swaps, several writers. No wrong byte ever comes out.

The functions whose names begin with an underscore run in a light process of their own (this file
is loaded there by path); it forks, because a hundred starts of Python would take minutes.
"""

from __future__ import annotations

import json
import mmap
import os
import random
import signal
import struct
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from isthmus.backbone import store as store_module
from isthmus.backbone import upkeep
from isthmus.backbone.embed import embed
from isthmus.backbone.keys import KeyMaker, as_words
from isthmus.backbone.shard import verify_shard
from isthmus.backbone.store import Store, shard_paths
from isthmus.data.samples import Samples, ValueItems

ROWS, BATCH, CHUNK = 320, 8, 16


class Toy:
    """Text -> 16 numbers that anybody can compute again; slow enough to be killed at work."""

    name, modality, num_features, batch_size = "toy", "text", 16, BATCH

    def __init__(self, version: int = 0, *, pause: float = 0.0, counter: mmap.mmap | None = None):
        self.reference = {"custom": True}
        self.recipe = {"version": version}
        self.fingerprint = f"{version:064x}"
        self.pause, self.counter, self.batches = pause, counter, 0

    def preprocess(self, raw):
        return np.frombuffer(raw.encode().ljust(16, b"."), np.uint8)

    def __call__(self, batch):
        time.sleep(self.pause)
        if self.counter is not None:
            self.counter[:8] = struct.pack("q", struct.unpack("q", self.counter[:8])[0] + 1)
        return np.sqrt(batch.astype(np.float32) + self.recipe["version"])


def texts(n: int = ROWS) -> Samples:
    return Samples(
        ValueItems([f"text {i}" for i in range(n)]), tuple(f"t:{i}" for i in range(n)), "text"
    )


def truth(version: int = 0, n: int = ROWS) -> np.ndarray:
    toy = Toy(version)
    return toy(np.stack([toy.preprocess(f"text {i}") for i in range(n)]))


def stored(store: Store, version: int = 0, n: int = ROWS):
    """(rows that the store has, what it said); every one of them compared bit for bit."""
    toy = Toy(version)
    maker = KeyMaker(toy)
    keys = np.stack([np.frombuffer(maker(f"text {i}"), np.uint8) for i in range(n)])
    wanted, first = np.unique(as_words(keys), return_index=True)
    out = np.full((n, 16), np.nan, np.float32)
    got = store.fetch(toy, wanted, out, first)
    found = first[got.found]
    assert out[found].tobytes() == truth(version, n)[found].tobytes(), "a wrong byte"
    return np.sort(found), got


def run_here(function: str, *args: object) -> dict:
    """Run a function of this file in a fresh process and return the JSON that it prints."""
    code = "import runpy, sys; runpy.run_path(sys.argv[1])[sys.argv[2]](*sys.argv[3:])"
    done = subprocess.run(
        [sys.executable, "-c", code, __file__, function, *map(str, args)],
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def _fork(work) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        work()
        os._exit(0)
    except BaseException:
        import traceback

        traceback.print_exc()
        os._exit(1)


def _ended(pid: int) -> bool:
    """Whether the child is done; it stays to be waited for."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _finish(store: Store, missing: int) -> None:
    """The run after the kills: it computes what is missing, no more, and all is right."""
    got = embed(Toy(), texts(), store=store, audit=0.0)
    assert got.features.tobytes() == truth().tobytes()
    assert (got.computed, got.hits) == (missing, ROWS - missing)


def _kill_many(folder: str, kills: str) -> None:
    chance = random.Random(0)
    report = {"killed": 0, "midway": 0, "leftover": 0, "worst": 0, "completed": 0, "wrong": 0}
    counter = mmap.mmap(-1, 8)
    round_ = 0
    store = Store(Path(folder) / "0", chunk_rows=CHUNK)
    while report["killed"] < int(kills):
        before = len(stored(store)[0])
        if before > ROWS // 2:  # finish it, and begin with an empty store again
            assert os.waitpid(_fork(partial(_finish, store, ROWS - before)), 0)[1] == 0
            round_ += 1
            report["completed"] += 1
            store = Store(Path(folder) / str(round_), chunk_rows=CHUNK)
            continue
        counter[:8] = bytes(8)
        work = partial(embed, Toy(pause=0.001, counter=counter), texts(), store=store, audit=0.0)
        pid = _fork(work)
        # At a random batch and a random moment within it, however loaded the machine is.
        batch = chance.randrange(max(1, (ROWS - before) // BATCH))
        while struct.unpack("q", counter[:8])[0] < batch and not _ended(pid):
            time.sleep(0.0002)
        time.sleep(chance.uniform(0, 0.004))
        os.kill(pid, signal.SIGKILL)
        status = os.waitpid(pid, 0)[1]
        if os.WIFEXITED(status):  # it was faster
            assert os.WEXITSTATUS(status) == 0
            continue
        report["killed"] += 1
        after, got = stored(store)
        report["wrong"] += len(got.damaged) + len(upkeep.verify(store.root)[1])
        computed = struct.unpack("q", counter[:8])[0] * BATCH
        report["worst"] = max(report["worst"], computed - (len(after) - before))
        report["midway"] += len(after) - before > 0 and len(after) < ROWS
        report["leftover"] += upkeep.info(store.root)["leftover"]["files"] > 0
        upkeep.prune(store.root)
    print(json.dumps(report))  # noqa: T201


@pytest.mark.slow
def test_kill_minus_nine_a_hundred_times(tmp_path):
    report = run_here("_kill_many", tmp_path, 100)
    assert report["killed"] == 100
    assert report["wrong"] == 0
    assert report["worst"] <= CHUNK  # lost work: at most one chunk
    assert report["midway"] >= 30  # the drill did hit runs at work
    assert report["completed"] >= 10


def _write_together(folder: str, writers: str) -> None:
    store_module.MANY_SHARDS = 8  # so that all of them merge while others read and write
    orders = [np.random.default_rng(seed).permutation(ROWS) for seed in range(int(writers))]

    def work(order):
        toy = Toy(pause=0.0005)
        got = embed(toy, texts().take(order), store=Store(folder, chunk_rows=4), workers=2)
        assert got.features.tobytes() == truth()[order].tobytes()
        assert not got.damaged
        assert got.store_error is None

    children = [_fork(partial(work, order)) for order in orders]
    codes = [os.WEXITSTATUS(os.waitpid(pid, 0)[1]) for pid in children]
    found, got = stored(Store(folder))
    print(  # noqa: T201
        json.dumps(
            {
                "codes": codes,
                "found": len(found),
                "damaged": len(got.damaged) + len(upkeep.verify(folder)[1]),
                "shards": len(shard_paths(Store(folder).folder(Toy()))),
                "leftover": upkeep.info(folder)["leftover"]["files"],
            }
        )
    )


@pytest.mark.parametrize("attempt", range(3))
def test_four_writers_at_once_end_in_one_correct_store(tmp_path, attempt):
    report = run_here("_write_together", tmp_path, 4)
    assert report["codes"] == [0, 0, 0, 0]
    assert report["found"] == ROWS
    assert report["damaged"] == report["leftover"] == 0
    assert report["shards"] < 4 * ROWS / 4  # something was merged


@pytest.mark.slow
def test_a_thousand_flips_truncations_and_swaps_are_all_detected(tmp_path):
    store = Store(tmp_path, chunk_rows=32)
    rows = 128
    for version in (0, 1):
        embed(Toy(version), texts(rows), store=store)
    folders = {version: store.folder(Toy(version)) for version in (0, 1)}
    intact = {
        path: path.read_bytes() for folder in folders.values() for path in shard_paths(folder)
    }
    assert len(intact) == 8
    chance = random.Random(1)
    kinds: dict[str, int] = {}
    for _ in range(1000):
        kind = chance.choice(["flip"] * 6 + ["truncate", "swap", "foreign", "rename", "zeros"])
        kinds[kind] = kinds.get(kind, 0) + 1
        touched = _damage(kind, chance, folders, list(intact))
        checked, damaged = upkeep.verify(tmp_path)
        assert {Path(d.path) for d in damaged} == touched, kind
        assert checked >= 7
        lost: set[Path] = set()
        for version in (0, 1):
            found, got = stored(store, version, rows)
            lost |= {Path(d.path) for d in got.damaged}
            left = [path for path in shard_paths(folders[version]) if path in intact]
            assert len(found) == 32 * len(left)
        # A foreign file is superfluous: a run that has all its rows need not even open it.
        assert lost == touched or (kind == "foreign" and not lost), kind
        for path in [*touched, *(tmp_path / "damaged").iterdir()]:
            path.unlink(missing_ok=True)
        for path, raw in intact.items():
            if not path.exists():
                path.write_bytes(raw)
    assert all(kinds[kind] > 40 for kind in kinds)
    assert len(kinds) == 6


def _damage(kind: str, chance: random.Random, folders: dict, shards: list[Path]) -> set[Path]:
    """Harm the store; return the paths that are not what they should be now."""
    victim = chance.choice(shards)
    raw = bytearray(victim.read_bytes())
    if kind == "swap":  # two files under each other's names
        other = chance.choice([p for p in shards if p != victim])
        other_raw = other.read_bytes()
        other.write_bytes(raw)
        victim.write_bytes(other_raw)
        return {victim, other}
    if kind == "foreign":  # intact, but in the folder of another backbone
        target = next(f for f in folders.values() if f != victim.parent) / victim.name
        victim.rename(target)
        return {target}
    if kind == "rename":
        target = victim.with_name(f"{chance.getrandbits(256):064x}.safetensors")
        victim.rename(target)
        return {target}
    if kind == "flip":
        raw[chance.randrange(len(raw))] ^= 1 << chance.randrange(8)
    elif kind == "truncate":
        raw = raw[: chance.randrange(len(raw))]
    else:  # a lost block, as after a power cut
        start = chance.randrange(len(raw) - 512)
        raw[start : start + 512] = bytes(512)
    victim.write_bytes(raw)
    return {victim}


def test_a_shard_that_vanishes_or_is_unreadable_is_computed_again(tmp_path):
    store = Store(tmp_path, chunk_rows=32)
    embed(Toy(), texts(128), store=store)
    paths = shard_paths(store.folder(Toy()))
    paths[0].unlink()
    paths[1].unlink()
    paths[1].mkdir()  # a folder in its place
    again = embed(Toy(), texts(128), store=store, audit=0.0)
    assert again.features.tobytes() == truth(n=128).tobytes()
    assert (again.hits, again.computed, len(again.damaged)) == (64, 64, 1)
    assert all(verify_shard(path) for path in shard_paths(store.folder(Toy())))
