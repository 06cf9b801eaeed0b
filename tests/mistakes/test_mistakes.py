"""Whatever a person does wrong, the answer names what, where and why, and what mends it."""

from __future__ import annotations

import builtins
import errno
import importlib
import importlib.util
import os
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest

from isthmus import errors, iofs
from isthmus.backbone import embed
from isthmus.cli.main import run
from isthmus.data import read

spec = importlib.util.spec_from_file_location("mistakes", Path(__file__).with_name("mistakes.py"))
mistakes = importlib.util.module_from_spec(spec)
sys.modules["mistakes"] = mistakes  # where a dataclass looks its module up
spec.loader.exec_module(mistakes)


@pytest.fixture
def answer(workplace, monkeypatch, capfd):
    """``answer("isthmus words")`` -> exit code and everything that a terminal would show."""
    monkeypatch.chdir(workplace)
    monkeypatch.delenv("ISTHMUS_DEBUG", raising=False)

    def call(command: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as stop:
            run(shlex.split(command))
        out, err = capfd.readouterr()
        return int(stop.value.code or 0), out + err

    return call


def last_part(said: str) -> str:
    """The answer itself: what was read of the data stands before it."""
    for mark in ("isthmus: ", "Usage: "):
        if said.startswith(mark) or "\n" + mark in said:
            return ("\n" + said).rpartition("\n" + mark)[2]
    return said


def check(code: int, said: str, wanted: int, words: tuple[str, ...]) -> None:
    assert "Traceback" not in said and 'File "' not in said, said
    assert "something unforeseen" not in said, said
    assert code == wanted, said
    told = last_part(said)
    for word in words:
        assert any(part in told for part in word.split("|")), f"{word!r} is not in: {told}"


def test_the_table_has_a_hundred_different_mistakes():
    commands = {m.command for m in mistakes.TABLE}
    assert len(commands) == len(mistakes.TABLE) >= 150


@pytest.mark.parametrize("mistake", mistakes.TABLE, ids=lambda m: m.command)
def test_a_mistake_is_answered(mistake, answer):
    check(*answer(mistake.command), mistake.code, mistake.words)


@pytest.mark.parametrize(
    "module, command, extra",
    [
        ("soundfile", "transfer --target sounds --shots 2", "isthmus[audio]"),
        ("onnxruntime", "transfer --target sounds --shots 2 --no-cache", "isthmus["),
        ("skrub", "transfer --target table.csv --label label --shots 3", "isthmus[tabular]"),
        ("tokenizers", "transfer --target reviews.csv --label label --shots 3 --no-cache",
         "isthmus[text]"),
        ("timm", "transfer --target photos --shots 2 --backbone timm:resnet18", "isthmus[image]"),
        ("ot", "transfer --source features.npz --target features.npz --method emd-transport",
         "isthmus[transport]"),
    ],
)  # fmt: skip
def test_a_missing_library_is_named_with_the_line_that_installs_it(
    module, command, extra, answer, monkeypatch
):
    real, looked_up = importlib.import_module, importlib.util.find_spec

    def absent(name: str) -> bool:
        return name.split(".")[0] == module

    def load(name, package=None):
        if absent(name):
            raise ModuleNotFoundError(f"No module named {module!r}", name=module)
        return real(name, package)

    for name in [n for n in sys.modules if absent(n)]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(errors.importlib, "import_module", load)
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda n, *a: None if absent(n) else looked_up(n, *a)
    )
    plain = builtins.__import__

    def imported(name, *rest, **more):
        if absent(name):
            raise ModuleNotFoundError(f"No module named {module!r}", name=module)
        return plain(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", imported)
    code, said = answer(command)
    check(code, said, code, (module, "not installed|could be read", "pip install", extra))
    assert code in (1, 2)


SYSTEM = [
    (errno.ENOSPC, "the disk is full", "isthmus cache prune"),
    (errno.EDQUOT, "quota", "another disk"),
    (errno.EACCES, "permission denied", "chmod"),
    (errno.EROFS, "read-only", "can be written"),
    (errno.EIO, "disk reports an error", "another disk"),
    (errno.EMFILE, "too many files", "ulimit"),
]


@pytest.mark.parametrize("number, why, remedy", SYSTEM, ids=lambda v: str(v))
def test_what_the_system_refuses_is_told_in_words(number, why, remedy, answer, monkeypatch):
    def refuse(*_, **__):
        raise OSError(number, os.strerror(number), "run/model")

    monkeypatch.setattr("isthmus.run.preflight.check", refuse)
    check(*answer("check table.csv --label label"), 1, (why, "run/model", remedy))


def test_a_full_disk_while_the_answer_is_written(answer, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(iofs.os, "fsync", full)
    code, said = answer("predict model features.npz --no-cache --out answer.csv")
    check(code, said, 2, ("answer.csv", "No space left", "--out"))
    code, said = answer("eject model --out full.py")
    check(code, said, 2, ("full.py", "No space left", "another folder"))
    assert not Path("full.py").exists() and not Path("full.safetensors").exists()


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("Unable to allocate 12.0 GiB for an array"),
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
    ],
    ids=lambda e: type(e).__name__,
)
def test_no_memory_left(error, answer, monkeypatch):
    def starve(*args, **kwargs):
        raise error

    monkeypatch.setattr("isthmus.serve.predictor.load", starve)
    check(*answer("predict model features.npz"), 1, ("not enough memory", "--time"))


def test_an_unforeseen_error_is_short_and_its_trace_is_kept(answer, monkeypatch, tmp_path):
    def fail(*args, **kwargs):
        raise ZeroDivisionError("division by zero")

    monkeypatch.setenv("ISTHMUS_CACHE", str(tmp_path))
    monkeypatch.setattr("isthmus.serve.predictor.load", fail)
    code, said = answer("predict model features.npz")
    assert code == 1 and "Traceback" not in said
    assert "ZeroDivisionError: division by zero" in said
    assert "isthmus doctor" in said and "--debug" in said and "report" in said
    (kept,) = (tmp_path / "traces").iterdir()
    assert str(kept) in said
    text = kept.read_text()
    assert "Traceback" in text and "isthmus predict model features.npz" in text
    code, said = answer("predict model features.npz --debug")
    assert code == 1 and "Traceback" in said
    monkeypatch.setenv("ISTHMUS_DEBUG", "1")
    assert "Traceback" in answer("predict gone features.npz")[1]


def test_where_the_trace_cannot_be_kept_the_answer_says_what_to_do(answer, monkeypatch, tmp_path):
    def fail(*args, **kwargs):
        raise ZeroDivisionError

    (tmp_path / "cache").write_text("a file")
    monkeypatch.setenv("ISTHMUS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("isthmus.serve.predictor.load", fail)
    code, said = answer("predict model features.npz")
    assert code == 1 and "--debug shows the full trace" in said and "Traceback" not in said


def test_only_so_many_traces_are_kept(answer, monkeypatch, tmp_path):
    from isthmus.cli.trouble import KEPT

    def fail(*args, **kwargs):
        raise ZeroDivisionError

    monkeypatch.setenv("ISTHMUS_CACHE", str(tmp_path))
    (tmp_path / "traces").mkdir()
    for i in range(KEPT + 5):
        (tmp_path / "traces" / f"20200101-0000{i:02d}-1.txt").write_text("old")
    monkeypatch.setattr("isthmus.serve.predictor.load", fail)
    answer("predict model features.npz")
    left = sorted(p.name for p in (tmp_path / "traces").iterdir())
    assert len(left) == KEPT and not left[-1].startswith("2020")


class Cramped:
    """A network that has memory for a few rows at a time."""

    name, modality, num_features, batch_size = "cramped", "features", 5, 8
    recipe, reference, fingerprint = {"kind": "features"}, {"custom": True}, "1" * 64
    worth_storing = False

    def __init__(self, room, error):
        self.room, self.error, self.sizes = room, error, []

    def preprocess(self, raw):
        return np.asarray(raw, dtype=np.float32)

    def __call__(self, batch):
        self.sizes.append(len(batch))
        if len(batch) > self.room:
            raise self.error
        return batch * 2


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")]
)
def test_out_of_memory_halves_the_batch_and_goes_on(error, workplace, caplog):
    samples = read(workplace / "features.npz")
    wide = embed(Cramped(8, error), samples)
    small = Cramped(2, error)
    narrow = embed(small, samples)
    assert np.array_equal(wide.features, narrow.features) and len(narrow.rows) == 60
    assert set(small.sizes) == {8, 4, 2} and "going on with 4" in caplog.text
    with pytest.raises(type(error)):
        embed(Cramped(0, error), samples)


def test_another_error_is_not_taken_for_a_lack_of_memory(workplace):
    odd = Cramped(2, RuntimeError("shapes do not match"))
    with pytest.raises(RuntimeError, match="shapes"):
        embed(odd, read(workplace / "features.npz"))
    assert odd.sizes == [8]
