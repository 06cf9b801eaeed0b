"""The extraction engine: every row accounted for, the same features however they were computed."""

from __future__ import annotations

import errno
import gc
import json
import logging
import os
import subprocess
import sys
import threading
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from isthmus import iofs
from isthmus.backbone import Store, embed
from isthmus.backbone import store as store_module
from isthmus.backbone.shard import write_shard
from isthmus.backbone.store import shard_paths
from isthmus.data.samples import FileItems, FrameItems, Problem, Samples, ValueItems
from isthmus.errors import BackboneError, DataError, StoreError, UsageError


class Toy:
    """Text -> (length, sum of bytes, first byte). Shapes differ by length, as with real texts."""

    name, modality, num_features, batch_size = "toy", "text", 3, 8

    def __init__(self, version: int = 0) -> None:
        self.recipe, self.fingerprint = {"version": version}, f"{version:064x}"
        self.reference = {"custom": True}
        self.shapes: list[tuple[int, ...]] = []
        self.forwarded = 0
        self.decoding: set[int] = set()

    def preprocess(self, raw):
        self.decoding.add(threading.get_ident())
        if raw.startswith("bad"):
            raise DataError("the text is bad", why="it says so", remedy="Write another")
        if raw.startswith("crash"):
            raise RuntimeError("a bug in the decoder")
        return np.frombuffer(raw.encode(), np.uint8)

    def __call__(self, batch):
        self.shapes.append(batch.shape)
        self.forwarded += len(batch)
        value = batch.astype(np.float64)
        columns = [np.full(len(batch), batch.shape[1]), value.sum(1), value[:, 0]]
        out = np.stack(columns, axis=1)
        out[value[:, 0] == ord("N")] = np.nan
        return out


def expected(words: list[str]) -> np.ndarray:
    rows = [[len(w.encode()), sum(w.encode()), w.encode()[0]] for w in words]
    return np.array(rows, dtype=np.float32).reshape(-1, 3)


def samples_of(words: list[str], **options) -> Samples:
    return Samples(ValueItems(words), tuple(f"w:{i}" for i in range(len(words))), "text", **options)


WORDS = [f"word {'x' * (i % 5)} {i % 60}" for i in range(100)]
DISTINCT = len(set(WORDS))


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(tmp_path / "store", chunk_rows=16)


# ---------------------------------------------------------------- the real path


def test_features_are_right_equal_items_are_computed_once_and_batches_are_fixed(store):
    toy = Toy()
    got = embed(toy, samples_of(WORDS), store=store)
    assert got.features.dtype == np.float32
    assert (got.features == expected(WORDS)).all()
    assert got.rows.tolist() == list(range(100))
    assert (got.hits, got.computed, got.unreached, got.problems) == (0, DISTINCT, 0, ())
    assert DISTINCT < 100
    assert {shape[0] for shape in toy.shapes} == {8}
    again = embed(toy, samples_of(WORDS), store=store, audit=0.0)
    assert (again.hits, again.computed) == (100, 0)
    assert again.features.tobytes() == got.features.tobytes()


def test_without_a_store_nothing_is_written_or_remembered(tmp_path, monkeypatch):
    monkeypatch.setenv("ISTHMUS_CACHE", str(tmp_path / "cache"))
    for _ in range(2):
        got = embed(Toy(), samples_of(WORDS))
        assert (got.hits, got.computed) == (0, DISTINCT)
        assert (got.features == expected(WORDS)).all()
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_workers_order_batch_size_and_what_was_there_before_change_nothing(store, workers):
    order = np.random.default_rng(workers).permutation(100)
    embed(Toy(), samples_of(WORDS).take(order[:30]), store=store, workers=workers)
    toy = Toy()
    toy.batch_size = 1 + workers
    got = embed(toy, samples_of(WORDS).take(order), store=store, workers=workers)
    assert (got.features == expected(WORDS)[order]).all()
    assert got.hits >= 30


def test_names_and_times_of_files_do_not_matter_but_bytes_do(store, tmp_path):
    class Files(Toy):
        def preprocess(self, raw):
            return super().preprocess(raw.decode())

    def read(names):
        return Samples(FileItems(tmp_path, tuple(names)), tuple(names), "text")

    for name, text in (("a.txt", "one"), ("b.txt", "two")):
        (tmp_path / name).write_text(text)
    embed(Files(), read(["a.txt", "b.txt"]), store=store)
    (tmp_path / "a.txt").rename(tmp_path / "z.txt")
    os.utime(tmp_path / "z.txt", (1, 1))
    (tmp_path / "b.txt").write_text("tw0")
    got = embed(Files(), read(["b.txt", "z.txt"]), store=store, audit=0.0)
    assert (got.hits, got.computed) == (1, 1)
    assert (got.features == expected(["tw0", "one"])).all()


def test_decoding_runs_beside_the_network(store):
    """While the network is busy with the first batch the next ones are being decoded."""

    class Waits(Toy):
        ahead = threading.Semaphore(0)

        def preprocess(self, raw):
            self.ahead.release()
            return np.zeros(4, np.uint8)

        def __call__(self, batch):
            if not self.shapes:
                for _ in range(12):  # 8 of this batch, and 4 that nobody has asked for yet
                    assert self.ahead.acquire(timeout=20)
            return super().__call__(batch)

    got = embed(Waits(), samples_of(WORDS), store=store)
    assert len(got.rows) == 100


def test_the_look_ahead_is_bounded():
    class Counts(Toy):
        decoded = 0
        worst = 0

        def preprocess(self, raw):
            self.decoded += 1
            return np.zeros(4, np.uint8)

        def __call__(self, batch):
            time.sleep(0.002)
            self.worst = max(self.worst, self.decoded - self.forwarded)
            return super().__call__(batch)

    toy = Counts()
    embed(toy, samples_of([f"w{i}" for i in range(1000)]), workers=2)
    assert toy.worst <= 4 * toy.batch_size


def test_many_different_shapes_do_not_pile_up(monkeypatch):
    from isthmus.backbone import pipeline

    monkeypatch.setattr(pipeline, "WAITING_BYTES", 2000)
    words = ["x" * (i + 1) for i in range(200)]
    got = embed(Toy(), samples_of(words))
    assert (got.features == expected(words)).all()


def note(seen: list, done: int, total: int) -> None:
    seen.append((done, total))


def test_progress_ends_at_the_total(store):
    for words in (WORDS, [*WORDS, "bad one", "bad one", "N"]):
        seen: list[tuple[int, int]] = []
        embed(Toy(), samples_of(words), store=store, progress=partial(note, seen))
        assert seen[-1] == (len(words), len(words))
        assert seen == sorted(seen)


def test_no_rows():
    got = embed(Toy(), samples_of([]))
    assert got.features.shape == (0, 3)
    assert len(got.rows) == got.unreached == 0


def test_real_photos_with_a_truncated_one_among_them(real_data, store, tmp_path):
    from PIL import Image

    from isthmus.data.images import decode

    class Thumb:
        name, modality, num_features, batch_size = "thumb", "image", 48, 16
        recipe, fingerprint, reference = {"side": 4}, "thumb", {"custom": True}

        def preprocess(self, raw):
            return np.asarray(Image.fromarray(decode(raw)).resize((4, 4)))

        def __call__(self, batch):
            return batch.reshape(len(batch), -1) / np.float32(255)

    photos = sorted((real_data / "sign_digits").rglob("*.JPG"))[:40]
    assert len(photos) == 40
    for i, photo in enumerate(photos):
        raw = photo.read_bytes()
        (tmp_path / f"{i}.jpg").write_bytes(raw if i != 7 else raw[: len(raw) // 2])
    names = tuple(f"{i}.jpg" for i in range(40))
    labels = np.array(["cat" if i == 7 else "dog" for i in range(40)], dtype=object)
    files = Samples(
        FileItems(tmp_path, names), names, "image", "classification", labels, ("cat", "dog")
    )
    got = embed(Thumb(), files, store=store)
    assert [(p.where, p.label) for p in got.problems] == [("7.jpg", "cat")]
    assert got.rows.tolist() == [i for i in range(40) if i != 7]
    direct = np.asarray(Image.open(photos[8]).convert("RGB").resize((4, 4))).reshape(-1)
    assert np.allclose(got.features[7], direct / 255, atol=1e-6)


def test_tables_go_to_the_frame_backbone_whole():
    class Frames:
        name, modality, num_features = "frames", "table", 2
        recipe, fingerprint, reference = {}, "f", {}

        def fit(self, frame):
            return self

        def __call__(self, frame):
            return frame.to_numpy(dtype=float)

        def state(self):
            return {}, {}

    frame = pd.DataFrame({"a": [1.0, 2.0, np.inf], "b": [3.0, 4.0, 5.0]})
    rows = Samples(FrameItems(frame), ("f:1", "f:2", "f:3"), "table")
    got = embed(Frames(), rows)
    assert got.features.tolist() == [[1, 3], [2, 4]]
    assert got.rows.tolist() == [0, 1]
    assert [p.where for p in got.problems] == ["f:3"]
    with pytest.raises(UsageError, match="takes text input"):
        embed(Toy(), rows)
    with pytest.raises(UsageError, match="takes table input"):
        embed(Frames(), samples_of(["a"]))


# ---------------------------------------------------------------- rows that fail


def test_bad_rows_are_problems_by_name_and_label_copies_included(store):
    words = ["good", "bad", "NaN", "bad", "fine"]
    labels = np.array(["a", "b", "c", None, "e"], dtype=object)
    rows = samples_of(words, task="classification", labels=labels, classes=tuple("abce"))
    for _ in range(2):  # a failed row is never taken for a stored one
        got = embed(Toy(), rows, store=store)
        assert got.rows.tolist() == [0, 4]
        assert (got.features == expected(["good", "fine"])).all()
        assert got.problems[0] == Problem(
            "w:1", "the text is bad (it says so)", "Write another", "b"
        )
        assert [(p.where, p.label) for p in got.problems] == [
            ("w:1", "b"), ("w:2", "c"), ("w:3", None),
        ]  # fmt: skip
        assert "NaN" in got.problems[1].reason
        assert got.unreached == 0


def test_a_file_that_is_gone_or_changes_under_way_is_a_problem(tmp_path, store):
    (tmp_path / "a").write_text("one")
    (tmp_path / "b").write_text("two")

    class Changing(FileItems):
        def __getitem__(self, row):
            raw = super().__getitem__(row)
            (tmp_path / "b").write_text("later")  # after the first look at it
            return raw

    class Files(Toy):
        def preprocess(self, raw):
            return super().preprocess(raw.decode())

    names = ("a", "b", "c")
    got = embed(Files(), Samples(Changing(tmp_path, names), names, "text"), store=store, workers=1)
    assert got.rows.tolist() == [0, 1]
    reasons = {p.where: p.reason for p in got.problems}
    assert "cannot be read" in reasons["c"]
    (tmp_path / "b").write_text("two")

    class ChangingLater(FileItems):
        reads = 0

        def __getitem__(self, row):
            raw = super().__getitem__(row)
            type(self).reads += 1
            return raw if type(self).reads <= 2 else raw + b"!"

    got = embed(Files(), Samples(ChangingLater(tmp_path, names[:2]), names[:2], "text"))
    assert not len(got.rows)
    assert all("changed while it was being read" in p.reason for p in got.problems)


def test_a_bug_in_the_decoder_propagates_and_names_the_item():
    with pytest.raises(RuntimeError, match="a bug in the decoder") as caught:
        embed(Toy(), samples_of([*WORDS, "crash"]))
    assert any("w:100" in note for note in caught.value.__notes__)


def test_a_failing_network_propagates_and_what_was_finished_is_kept(store):
    class Fails(Toy):
        def __call__(self, batch):
            if len(self.shapes) == 5:
                raise MemoryError("no more")
            return super().__call__(batch)

    words = [f"{i:04d}" for i in range(100)]
    with pytest.raises(MemoryError) as caught:
        embed(Fails(), samples_of(words), store=store)
    assert "w:40 and 7 more" in caught.value.__notes__[0]
    got = embed(Toy(), samples_of(words), store=store, audit=0.0)
    assert (got.hits, got.computed) == (40, 60)


def test_an_interrupt_writes_the_finished_rows_and_the_next_call_goes_on(tmp_path):
    class Stops(Toy):
        def __call__(self, batch):
            if len(self.shapes) == 3:
                raise KeyboardInterrupt
            return super().__call__(batch)

    store = Store(tmp_path)  # chunks far larger than what is finished
    words = [f"{i:04d}" for i in range(100)]
    before = set(threading.enumerate())  # networks that other tests loaded keep theirs
    with pytest.raises(KeyboardInterrupt):
        embed(Stops(), samples_of(words), store=store)
    got = embed(Toy(), samples_of(words), store=store, audit=0.0)
    assert (got.hits, got.computed) == (24, 76)
    assert (got.features == expected(words)).all()
    new = set(threading.enumerate()) - before
    assert not [t for t in new if t.name.startswith("isthmus-")]


def test_rows_of_features_need_no_width_from_the_caller(store):
    from isthmus.backbone import load_backbone

    rows = np.random.default_rng(0).normal(size=(50, 7))
    rows[4, 2] = np.nan
    numbers = Samples(ValueItems(rows), tuple(map(str, range(50))), "features")
    got = embed(load_backbone("identity"), numbers, store=store)
    good = np.flatnonzero(np.arange(50) != 4)
    assert (got.features == rows[good].astype(np.float32)).all()
    assert [p.where for p in got.problems] == ["4"]


def test_a_backbone_that_costs_nothing_is_not_stored(store):
    class Trivial(Toy):
        worth_storing = False

    embed(Trivial(), samples_of(WORDS), store=store)
    assert not store.root.exists()


def test_a_network_that_breaks_its_promise_is_named():
    class Flat(Toy):
        def __call__(self, batch):
            return super().__call__(batch)[:, :2]

    with pytest.raises(BackboneError, match=r"toy: .* array of shape \(8, 2\)"):
        embed(Flat(), samples_of(WORDS))


def test_values_too_large_for_float32_are_a_problem():
    class Huge(Toy):
        def __call__(self, batch):
            return super().__call__(batch) * 1e300

    got = embed(Huge(), samples_of(["abc"]))
    assert not len(got.rows)
    assert len(got.problems) == 1


# ---------------------------------------------------------------- deadline


def test_a_deadline_in_the_past_reaches_nothing(store):
    got = embed(Toy(), samples_of(WORDS), store=store, deadline=time.monotonic() - 1)
    assert got.features.shape == (0, 3)
    assert got.unreached == 100


def test_a_deadline_stops_cleanly_and_the_rows_reached_are_right_and_kept(store):
    class Slow(Toy):
        def __call__(self, batch):
            if len(self.shapes) == 4:
                time.sleep(max(0.0, end - time.monotonic()))
            return super().__call__(batch)

    words = [f"{i:04d}" for i in range(100)]
    end = time.monotonic() + 2
    got = embed(Slow(), samples_of(words), store=store, deadline=end)
    assert got.rows.tolist() == list(range(40))  # the batch under way is finished, no other begun
    assert got.unreached == 60
    assert (got.features == expected(words)[:40]).all()
    assert embed(Toy(), samples_of(words), store=store, audit=0.0).hits == 40


# ---------------------------------------------------------------- the store's answers


def test_the_audit_finds_features_of_another_code_version(store):
    words = [f"{i:04d}" for i in range(50)]
    embed(Toy(), samples_of(words), store=store)

    class Changed(Toy):
        def __call__(self, batch):
            return super().__call__(batch) * 1.001

    with pytest.raises(StoreError, match="Delete the folder") as caught:
        embed(Changed(), samples_of(words), store=store, audit=1.0)
    assert str(store.folder(Toy())) in str(caught.value)

    # rounding of another engine is no alarm
    class Rounded(Toy):
        def __call__(self, batch):
            return super().__call__(batch) * (1 + 1e-6)

    got = embed(Rounded(), samples_of([*words, "new"]), store=store, audit=1.0)
    assert (got.audited, got.hits, got.computed) == (2, 50, 1)


def test_the_audit_is_a_random_share(store):
    words = [f"{i:04d}" for i in range(50)]
    embed(Toy(), samples_of(words), store=store)
    counts = [embed(Toy(), samples_of(words), store=store, audit=0.01).audited for _ in range(60)]
    assert 0 < sum(count > 0 for count in counts) < 60
    assert max(counts) <= 2


def test_a_stored_row_that_can_no_longer_be_decoded_is_an_alarm(store):
    embed(Toy(), samples_of(["good"]), store=store)

    class Stricter(Toy):
        def preprocess(self, raw):
            raise DataError("refused now")

    with pytest.raises(StoreError, match="are not the ones"):
        embed(Stricter(), samples_of(["good"]), store=store, audit=1.0)


def test_damage_is_reported_and_mended(store):
    words = [f"{i:04d}" for i in range(64)]
    embed(Toy(), samples_of(words), store=store)
    victim = shard_paths(store.folder(Toy()))[2]
    raw = bytearray(victim.read_bytes())
    raw[-3] ^= 64
    victim.write_bytes(raw)
    got = embed(Toy(), samples_of(words), store=store, audit=0.0)
    assert [d.path for d in got.damaged] == [str(victim)]
    assert (got.hits, got.computed) == (48, 16)
    assert (got.features == expected(words)).all()
    again = embed(Toy(), samples_of(words), store=store, audit=0.0)
    assert (again.hits, again.damaged) == (64, ())


def test_a_full_disk_costs_the_cache_but_not_the_features(store, monkeypatch, caplog):
    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(iofs.os, "fsync", full)
    with caplog.at_level(logging.ERROR):
        got = embed(Toy(), samples_of(WORDS), store=store)
    assert (got.features == expected(WORDS)).all()
    assert isinstance(got.store_error, StoreError)
    assert str(store.root) in str(got.store_error)
    assert "cache prune" in got.store_error.remedy
    assert len([r for r in caplog.records if r.name.startswith("isthmus")]) == 1  # said once


def test_small_shards_are_merged_after_a_run(tmp_path):
    store = Store(tmp_path, chunk_rows=2)
    words = [f"{i:04d}" for i in range(100)]
    embed(Toy(), samples_of(words), store=store)
    assert len(shard_paths(store.folder(Toy()))) == 1
    got = embed(Toy(), samples_of(words), store=store, audit=0.0)
    assert got.hits == 100
    assert (got.features == expected(words)).all()


def test_two_backbones_do_not_share_rows(store):
    embed(Toy(), samples_of(WORDS), store=store)
    assert embed(Toy(1), samples_of(WORDS), store=store).hits == 0
    sloppy = Toy(1)
    sloppy.fingerprint = Toy().fingerprint  # a leaf that forgot its recipe in the fingerprint
    assert embed(sloppy, samples_of(WORDS), store=store).hits == 0


# ---------------------------------------------------------------- large results


def test_large_results_lie_on_the_disk_and_are_the_same(store, request):
    words = [*WORDS, "bad", "N", *WORDS[:9]]
    gc.collect()
    gc.disable()  # the file must go without the help of the collector
    request.addfinalizer(gc.enable)
    plain = embed(Toy(), samples_of(words), in_memory=1 << 30)
    got = embed(Toy(), samples_of(words), store=store, in_memory=64)
    hits = embed(Toy(), samples_of(words), store=store, in_memory=64)
    assert isinstance(got.features, np.memmap)
    for other in (got, hits):
        assert np.array_equal(other.features, plain.features)
        assert np.array_equal(other.rows, plain.rows)
        assert [p.where for p in other.problems] == [p.where for p in plain.problems]
    assert len(list((store.root / "scratch").iterdir())) == 2
    del got, hits, other
    assert not list((store.root / "scratch").iterdir())


def _measure(folder: str) -> None:
    """Peak anonymous memory of two runs whose features are far larger."""
    store_module.CHUNK_BYTES = store_module.COPY_BYTES = 1 << 20
    store_module.MERGED_BYTES = 4 << 20
    rows, width = 2000, 8192

    class Wide(Toy):
        num_features = width

        def __call__(self, batch):
            return np.repeat(batch[:, :1].astype(np.float32), width, axis=1)

    def anonymous() -> int:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("RssAnon"):
                return int(line.split()[1]) * 1024
        raise OSError("no RssAnon")

    words = [f"{chr(33 + i % 90)}{i:05d}" for i in range(rows)]
    rows_ = Samples(ValueItems(words), tuple(words), "text")
    embed(Wide(), rows_.take(np.arange(8)), store=Store(folder))  # libraries are loaded
    start, peak, stop = anonymous(), [0], threading.Event()

    def watch() -> None:
        while not stop.wait(0.002):
            peak[0] = max(peak[0], anonymous())

    watcher = threading.Thread(target=watch)
    watcher.start()
    results = [embed(Wide(), rows_, store=Store(folder), in_memory=1 << 20) for _ in range(2)]
    stop.set()
    watcher.join()
    truth = np.array([ord(word[0]) for word in words], dtype=np.float32)
    right = all(
        (r.features[:, 0] == truth).all() and (r.features[:, -1] == truth).all() for r in results
    )
    print(  # noqa: T201
        json.dumps(
            {
                "features": rows * width * 4,
                "grown": peak[0] - start,
                "hits": [r.hits for r in results],
                "right": bool(right),
            }
        )
    )


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_memory_stays_far_below_the_size_of_the_features(tmp_path):
    code = "import runpy, sys; runpy.run_path(sys.argv[1])['_measure'](sys.argv[2])"
    done = subprocess.run(
        [sys.executable, "-c", code, __file__, str(tmp_path)],
        capture_output=True, text=True, timeout=300,
        env=os.environ | {"OMP_NUM_THREADS": "1", "MALLOC_TRIM_THRESHOLD_": "0"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["features"] == 65_536_000
    assert report["right"]
    assert report["hits"] == [8, 2000]
    assert report["grown"] < report["features"] / 2.5


def test_the_engine_imports_no_heavy_library(tmp_path):
    code = (
        "import sys, isthmus.backbone; "
        "print([m for m in ('torch', 'timm', 'onnxruntime', 'PIL', 'pandas', 'sklearn') "
        "if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_result_is_a_value():
    got = embed(Toy(), samples_of(["a"]))
    assert replace(got, hits=3).hits == 3
    with pytest.raises(AttributeError):
        got.hits = 4


def test_a_shard_written_by_hand_under_a_known_key_is_used_only_when_whole(store):
    """The keys are public: a row put there by a tool that follows the format is a hit."""
    from isthmus.backbone.keys import KeyMaker

    key = np.frombuffer(KeyMaker(Toy())("abc"), np.uint8)[None]
    row = np.array([[1, 2, 3]], np.float32)
    path = write_shard(store.folder(Toy()), key, row, space=Toy().fingerprint)
    assert embed(Toy(), samples_of(["abc"]), store=store, audit=0.0).features.tolist() == [
        [1, 2, 3]
    ]
    path.write_bytes(path.read_bytes() + b"\0")
    assert (embed(Toy(), samples_of(["abc"]), store=store).features == expected(["abc"])).all()


class Alone(Toy):
    """Each item by itself, from whatever thread decoded it."""

    one_by_one = True


def test_one_by_one_gives_the_same_features_and_problems(store):
    texts = [f"item {i} " + "x" * (i % 7) for i in range(50)]
    texts[11] = "bad one"
    samples = Samples(ValueItems(texts), tuple(f"t{i}" for i in range(50)), "text")
    plain, alone = embed(Toy(), samples), Alone()
    got = embed(alone, samples, store=store, workers=3)
    np.testing.assert_array_equal(got.features, plain.features)
    np.testing.assert_array_equal(got.rows, plain.rows)
    assert [p.where for p in got.problems] == [p.where for p in plain.problems] == ["t11"]
    assert {shape[0] for shape in alone.shapes} == {1}
    again = embed(Alone(), samples, store=store, audit=0.0)
    assert again.hits == 49 and again.computed == 0
    np.testing.assert_array_equal(again.features, plain.features)


def test_one_by_one_errors_name_the_item():
    class Broken(Alone):
        def __call__(self, batch):
            raise RuntimeError("no memory")

    samples = Samples(ValueItems(["a"]), ("first",), "text")
    with pytest.raises(RuntimeError) as error:
        embed(Broken(), samples)
    assert error.value.__notes__ == ["while computing features of first"]


def test_the_default_image_backbone_computes_one_by_one(real_data):
    from isthmus.backbone import load_backbone
    from isthmus.data import read

    backbone = load_backbone(modality="image")
    assert backbone.one_by_one
    samples = read(real_data / "sign_digits").take(np.arange(0, 2062, 250))
    got = embed(backbone, samples, workers=3)
    batch = np.stack([backbone.preprocess(samples.items[i]) for i in range(len(samples))])
    np.testing.assert_array_equal(got.features, backbone(batch))
