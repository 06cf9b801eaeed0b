"""Shared fixtures: where the real data sets lie, and a private cache for every test."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

# Before NumPy is imported, here and in what tests start: the workers share the cores, and two BLAS
# threads that wait for each other made single tests take fifty times as long.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest

REAL_DATA = Path(
    os.environ.get("ISTHMUS_TEST_DATA", Path(__file__).parents[2] / "shared" / "data")
).resolve()


# The dearest files (one to three minutes each) start first: what starts last is waited for alone.
FIRST = (
    "silent/test_drill.py",
    "test_readme.py",
    "cli/test_transfer.py",
    "test_examples.py",
    "run/test_classifier.py",
    "run/test_network_rung.py",
)


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: not str(item.path).endswith(FIRST))


@pytest.fixture(autouse=True)
def private_cache(tmp_path_factory, monkeypatch):
    """No test reads or fills the user's cache; weights converted once are shared by the session."""
    base = tmp_path_factory.getbasetemp().parent / "isthmus-cache"
    monkeypatch.setenv("ISTHMUS_CACHE", str(base))
    return base


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of the real data sets; the test is skipped with a clear reason where it is absent."""
    if not REAL_DATA.is_dir():
        pytest.skip(f"real data sets not found at {REAL_DATA}; set ISTHMUS_TEST_DATA")
    return REAL_DATA


@pytest.fixture(scope="session")
def silent_transformers():
    """A context: transformers without progress bars, torch seeded and left as it was."""

    @contextlib.contextmanager
    def silent(seed: int):
        import torch
        import transformers

        transformers.utils.logging.disable_progress_bar()
        try:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                yield transformers
        finally:
            transformers.utils.logging.enable_progress_bar()

    return silent
