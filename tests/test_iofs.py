from __future__ import annotations

import hashlib
import json
import os
import signal
import struct
import subprocess
import sys
import threading

import numpy as np
import pytest
from safetensors.numpy import load_file, save

from isthmus import iofs
from isthmus.errors import IsthmusError


def header(entries, body=b"", *, length=None, raw=None) -> bytes:
    """A safetensors file from parts, right or wrong."""
    text = json.dumps(entries).encode() if raw is None else raw
    return struct.pack("<Q", len(text) if length is None else length) + text + body


def entry(dtype="F32", shape=(2,), at=(0, 8)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(at)}


# -- writing -----------------------------------------------------------------------------------


def test_digests_are_sha256(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert iofs.sha256_bytes(b"abc") == known == iofs.sha256_file(path)
    assert iofs.write_bytes(tmp_path / "new" / "b", b"abc") == known
    assert (tmp_path / "new" / "b").read_bytes() == b"abc"


def test_a_failed_write_leaves_the_old_file_and_no_rubbish(tmp_path):
    path = tmp_path / "a.txt"
    iofs.write_text(path, "old")
    with pytest.raises(RuntimeError), iofs.writing(path) as handle:
        handle.write(b"half of the new")
        raise RuntimeError
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_readers_see_the_old_or_the_new_file_never_half(tmp_path):
    path = tmp_path / "a"
    texts = {c * 200_000 for c in "abcd"}
    iofs.write_text(path, "a" * 200_000)
    stop = threading.Event()
    seen = set()

    def read():
        while not stop.is_set():
            seen.add(path.read_text())

    reader = threading.Thread(target=read)
    reader.start()
    for text in sorted(texts) * 5:
        iofs.write_text(path, text)
    stop.set()
    reader.join()
    assert seen <= texts


def test_kill_during_a_write_leaves_the_old_file_and_a_part_that_is_found(tmp_path):
    path = tmp_path / "a"
    iofs.write_text(path, "old")
    code = (
        "import sys, os, signal; from isthmus import iofs\n"
        "with iofs.writing(sys.argv[1]) as h:\n"
        "    h.write(b'x' * 100000); h.flush(); os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert path.read_text() == "old"
    (part,) = iofs.stale_parts(tmp_path)
    assert part.stat().st_size == 100_000
    assert iofs.remove([part, tmp_path / "not there"]) == 1
    assert iofs.stale_parts(tmp_path) == []


def test_parts_of_living_writers_are_not_stale(tmp_path):
    with iofs.writing(tmp_path / "a"):
        assert len(list(tmp_path.iterdir())) == 1
        assert iofs.stale_parts(tmp_path) == []
    (tmp_path / ".odd.part").touch()
    (tmp_path / f".b.{2**31}.ff.part").touch()
    assert {p.name for p in iofs.stale_parts(tmp_path)} == {".odd.part", f".b.{2**31}.ff.part"}


def test_json_is_written_one_way_and_nan_is_refused(tmp_path):
    assert iofs.canonical_json({"b": 1, "a": [1.5, "ü"]}) == '{"a":[1.5,"ü"],"b":1}'.encode()
    with pytest.raises(ValueError):
        iofs.canonical_json(float("nan"))
    with pytest.raises(ValueError):
        iofs.write_json(tmp_path / "a", {"x": float("inf")})
    assert not list(tmp_path.iterdir())
    digest = iofs.write_json(tmp_path / "a", {"x": 1})
    assert iofs.read_json(tmp_path / "a", digest=digest) == {"x": 1}


def test_tensors_come_back_bit_for_bit(tmp_path):
    rng = np.random.default_rng(0)
    arrays = {
        "f": rng.normal(size=(3, 4)).astype(np.float32),
        "t": rng.normal(size=(4, 3)).T,  # not C-contiguous
        "i": np.arange(5),
        "b": np.array([True, False]),
        "empty": np.zeros((0, 7), np.float32),
        "scalar": np.array(2.5),
    }
    digest = iofs.write_tensors(tmp_path / "a.safetensors", arrays, {"note": "x"})
    assert digest == hashlib.sha256((tmp_path / "a.safetensors").read_bytes()).hexdigest()
    found = iofs.read_tensors(tmp_path / "a.safetensors", digest=digest)
    assert set(found) == set(arrays)
    for name, value in arrays.items():
        assert found[name].dtype == value.dtype
        assert found[name].shape == value.shape
        assert np.array_equal(found[name], value)
    assert np.array_equal(load_file(tmp_path / "a.safetensors")["t"], arrays["t"])
    iofs.write_tensors(tmp_path / "none", {})
    assert iofs.read_tensors(tmp_path / "none") == {}


# -- staging a folder --------------------------------------------------------------------------


def fill(folder, text):
    (folder / "sub").mkdir()
    for name in ("a", "sub/b", "last"):
        iofs.write_text(folder / name, text)


def read_all(folder):
    return {str(p.relative_to(folder)): p.read_text() for p in folder.rglob("*") if p.is_file()}


def test_a_new_folder_appears_whole(tmp_path):
    final = tmp_path / "deep" / "model"
    with iofs.staging(final, last="last") as temporary:
        fill(temporary, "1")
        assert not final.exists()
    assert read_all(final) == {"a": "1", "sub/b": "1", "last": "1"}
    assert [p.name for p in final.parent.iterdir()] == ["model"]


def test_a_folder_in_use_keeps_its_other_files(tmp_path):
    final = tmp_path / "model"
    with iofs.staging(final, last="last") as temporary:
        fill(temporary, "1")
    (final / "mine.txt").write_text("kept")
    (final / "sub" / "old").write_text("goes with its folder")
    with iofs.staging(final, last="last") as temporary:
        fill(temporary, "2")
    assert read_all(final) == {"a": "2", "sub/b": "2", "last": "2", "mine.txt": "kept"}
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


def test_a_failure_while_staging_changes_nothing(tmp_path):
    final = tmp_path / "model"
    with iofs.staging(final, last="last") as temporary:
        fill(temporary, "1")
    with pytest.raises(RuntimeError), iofs.staging(final, last="last") as temporary:
        fill(temporary, "2")
        raise RuntimeError
    assert read_all(final) == {"a": "1", "sub/b": "1", "last": "1"}
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


def test_what_a_killed_process_left_goes_with_the_next_write(tmp_path):
    for pid, name in ((2**31 - 5, "model"), (os.getpid(), "model"), (2**31 - 5, "other")):
        (tmp_path / f".{name}.{pid}.ff.part").mkdir()
    with iofs.staging(tmp_path / "model", last="last") as temporary:
        fill(temporary, "1")
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        f".model.{os.getpid()}.ff.part",
        f".other.{2**31 - 5}.ff.part",
        "model",
    ]


# -- reading what may be hostile ---------------------------------------------------------------

HOSTILE_TENSORS = {
    "empty": b"",
    "short": b"\x08\0\0",
    "oversize length": struct.pack("<Q", 2**63) + b"{}",
    "length beyond the file": header({}, length=1000),
    "length beyond the limit": struct.pack("<Q", iofs.MAX_HEADER + 1) + b" " * 64,
    "not JSON": header(None, raw=b"{nope}"),
    "a list": header([1]),
    "utf-16": header(None, raw='{"a":1}'.encode("utf-16")),
    "deep nesting": header(None, raw=b"[" * 100_000),
    "same name twice": header(
        None, bytes(8), raw=b'{"a":%s,"a":%s}' % ((json.dumps(entry()).encode(),) * 2)
    ),
    "outside": header({"a": entry(at=(0, 9))}, bytes(8)),
    "negative": header({"a": entry(at=(-8, 0))}, bytes(8)),
    "backwards": header({"a": entry(at=(8, 0))}, bytes(8)),
    "offsets are floats": header({"a": entry(at=(0.0, 8.0))}, bytes(8)),
    "offsets are truths": header({"a": entry("U8", (1,), at=(False, True))}, bytes(1)),
    "three offsets": header({"a": entry(at=(0, 8, 8))}, bytes(8)),
    "overlap": header({"a": entry(), "b": entry(at=(4, 12))}, bytes(12)),
    "same bytes twice": header({"a": entry(), "b": entry()}, bytes(8)),
    "gap": header({"a": entry(), "b": entry(at=(12, 20))}, bytes(20)),
    "bytes of no tensor": header({"a": entry()}, bytes(9)),
    "dtype too small": header({"a": entry("F64")}, bytes(8)),
    "unknown dtype": header({"a": entry("PICKLE")}, bytes(8)),
    "dtype is a list": header({"a": entry(["F32"])}, bytes(8)),
    "negative size": header({"a": entry(shape=(-2,))}, bytes(8)),
    "size overflows 64 bits": header({"a": entry(shape=(2**33, 2**33))}, bytes(8)),
    "size wraps to the right one": header({"a": entry("U8", (2**32, 2**32, 8), (0, 8))}, bytes(8)),
    "size beyond 63 bits": header({"a": entry("U8", (2**70, 0), (0, 0))}),
    "many dimensions": header({"a": entry("U8", (1,) * 1000, (0, 1))}, bytes(1)),
    "huge number": header(None, raw=b'{"a":' + b"9" * 10_000 + b"}"),
    "not described": header({"a": {"dtype": "F32"}}, bytes(8)),
    "metadata are code": header({"__metadata__": {"run": {"os": "system"}}}),
    "a pickle": b"\x80\x04\x95\x1b\0\0\0\0\0\0\0\x8c\x05posix\x94\x8c\x06system\x94\x93\x94.",
    "bfloat16, which NumPy lacks": header({"a": entry("BF16", (4,))}, bytes(8)),
}


@pytest.mark.parametrize("name", HOSTILE_TENSORS)
def test_hostile_safetensors_are_refused(tmp_path, name):
    path = tmp_path / "weights.safetensors"
    path.write_bytes(HOSTILE_TENSORS[name])
    with pytest.raises(IsthmusError) as caught:
        iofs.read_tensors(path)
    assert caught.value.where == str(path)
    assert caught.value.why
    if "NumPy" not in name:
        with pytest.raises(IsthmusError):
            iofs.tensor_header(path)


def test_a_good_header_is_returned(tmp_path):
    path = tmp_path / "a.safetensors"
    path.write_bytes(save({"x": np.zeros((2, 3), np.float32)}, metadata={"a": "b"}))
    found = iofs.tensor_header(path)
    assert found["x"]["shape"] == [2, 3]
    assert found["__metadata__"] == {"a": "b"}


def test_a_wrong_digest_is_refused_before_parsing(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"{nope")
    for read in (iofs.read_json, iofs.read_tensors, iofs.check_digest):
        with pytest.raises(IsthmusError, match="not the ones that were recorded"):
            read(path, digest="0" * 64)
    iofs.check_digest(path, None)
    iofs.check_digest(path, iofs.sha256_file(path))


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"[NaN]",
        b"[Infinity]",
        b"[1e999]",
        b'{"a":1,"a":2}',
        b'{"a":{"b":1,"b":1}}',
        b"[" * 1_000_000,
        b'{"a":' * 100_000,
        b"9" * 5000,
        '{"a":1}'.encode("utf-16"),
        b'{"a":"\xff"}',
        b"!!python/object/apply:os.system ['id']",
        b"[1] trailing",
    ],
    ids=lambda raw: repr(raw[:24]),
)
def test_odd_json_is_refused(tmp_path, raw):
    path = tmp_path / "a.json"
    path.write_bytes(raw)
    with pytest.raises(IsthmusError) as caught:
        iofs.read_json(path)
    assert caught.value.where == str(path)


def test_sizes_and_kinds_of_files_are_checked(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"[1, 2, 3]")
    with pytest.raises(IsthmusError, match="too large"):
        iofs.read_json(path, limit=8)
    assert iofs.read_json(path, limit=9) == [1, 2, 3]
    os.mkfifo(tmp_path / "pipe")
    for odd in (tmp_path, tmp_path / "pipe", tmp_path / "missing", tmp_path / "nul\0"):
        for read in (iofs.read_json, iofs.read_tensors, iofs.tensor_header, iofs.read_bytes):
            with pytest.raises(IsthmusError):
                read(odd)
    (tmp_path / "zero").symlink_to("/dev/zero")
    with pytest.raises(IsthmusError, match="not a regular file"):
        iofs.read_bytes(tmp_path / "zero")


@pytest.mark.parametrize(
    "name",
    ["../a", "/etc/passwd", "sub/../../a", "a\0b", "out/secret", "loop", "..", 7],
    ids=lambda name: repr(name)[:16],
)
def test_names_that_lead_outside_are_refused(tmp_path, name):
    root = tmp_path / "root"
    (root / "sub").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "secret").write_text("x")
    (root / "out").symlink_to(tmp_path / "elsewhere")
    (root / "loop").symlink_to(root / "loop")
    if name == "loop" and sys.version_info >= (3, 13):
        pytest.skip("newer Python resolves a loop of links to itself")
    with pytest.raises(IsthmusError):
        iofs.open_inside(root, name)


def test_names_inside_are_given_back(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert iofs.open_inside(tmp_path, "a/b") == tmp_path.resolve() / "a" / "b"
    assert iofs.open_inside(tmp_path, "a/../b") == tmp_path.resolve() / "b"
    assert iofs.open_inside(tmp_path, "link/x") == tmp_path.resolve() / "real" / "x"


# -- large results and damaged files -----------------------------------------------------------


def test_scratch_arrays_vanish_with_their_last_view(tmp_path):
    array = iofs.scratch_array(tmp_path, (100, 3))
    array[5] = 7
    view = array[5:6]
    del array
    assert len(list(tmp_path.iterdir())) == 1
    assert view.sum() == 21
    del view
    assert list(tmp_path.iterdir()) == []


def test_set_aside_moves_once(tmp_path):
    path = tmp_path / "a"
    path.write_text("damaged")
    moved = iofs.set_aside(path, tmp_path / "bad")
    assert moved is not None and moved.read_text() == "damaged" and not path.exists()
    assert iofs.set_aside(path, tmp_path / "bad") is None
