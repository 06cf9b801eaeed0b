"""`isthmus cache info|verify|prune`, called as a person calls them."""

from __future__ import annotations

import json
import os
import time

import numpy as np
import pytest

from isthmus.backbone.shard import write_shard
from isthmus.cli.main import run


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A cache with two shards of three rows each."""
    monkeypatch.setenv("ISTHMUS_CACHE", str(tmp_path))
    folder = tmp_path / "features" / "aa"
    for seed in (0, 1):
        rng = np.random.default_rng(seed)
        keys = rng.integers(0, 256, (3, 32), dtype=np.uint8)
        features = rng.normal(size=(3, 4)).astype(np.float32)
        write_shard(folder, keys, features, space="aa", backbone="timm:small")
    return tmp_path


def call(capsys, *args: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as caught:
        run(["cache", *args])
    captured = capsys.readouterr()
    return caught.value.code, captured.out, captured.err


def test_info(cache, capsys):
    code, out, _ = call(capsys, "info")
    assert code == 0
    assert "timm:small: 6 rows of 4 features, 2 files" in out
    assert str(cache) in out
    code, out, _ = call(capsys, "info", "--format", "json")
    found = json.loads(out)
    assert found["spaces"][0]["rows"] == 6
    assert found["bytes"] == sum(p.stat().st_size for p in (cache / "features" / "aa").iterdir())


def test_info_on_an_empty_cache(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("ISTHMUS_CACHE", str(tmp_path / "none"))
    code, out, _ = call(capsys, "info")
    assert (code, "0 B" in out) == (0, True)
    assert not (tmp_path / "none").exists()


def test_verify_exits_with_1_and_names_the_damaged_file(cache, capsys):
    code, out, _ = call(capsys, "verify")
    assert (code, out) == (0, "2 files checked, 0 damaged\n")
    victim = sorted((cache / "features" / "aa").iterdir())[0]
    raw = bytearray(victim.read_bytes())
    raw[-1] ^= 1
    victim.write_bytes(raw)
    code, out, _ = call(capsys, "verify")
    assert code == 1
    assert f"damaged: {victim}" in out
    assert victim.exists()  # nothing is changed
    code, out, _ = call(capsys, "verify", "--format=json")
    assert code == 1
    assert json.loads(out)["damaged"][0]["path"] == str(victim)


def test_prune(cache, capsys):
    paths = sorted((cache / "features" / "aa").iterdir())
    old = time.time() - 40 * 86400
    os.utime(paths[0], (old, old))
    code, out, _ = call(capsys, "prune", "--older-than", "30d", "--dry-run")
    assert code == 0
    assert "1 files" in out and "would be deleted" in out
    assert paths[0].exists()
    code, out, _ = call(capsys, "prune", "--older-than", "30d", "--format", "json")
    assert json.loads(out)["files"] == 1
    assert [p.exists() for p in paths] == [False, True]
    call(capsys, "prune", "--max-size", "1kB")
    assert paths[1].exists()
    call(capsys, "prune", "--all")
    assert not paths[1].exists()


def test_wrong_use_exits_with_2_and_says_how_to_write_it(cache, capsys):
    code, _, err = call(capsys, "prune", "--max-size", "2XB")
    assert code == 2
    assert "2GB" in err
    code, _, err = call(capsys, "prune", "--older-than", "soon")
    assert code == 2
    assert "30d" in err
    assert call(capsys, "clean")[0] == 2
