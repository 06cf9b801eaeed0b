"""Small finished runs over each kind of data, made once for all tests of the report."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from isthmus.demo.cases import DATA

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture(scope="session")
def cached(tmp_path_factory):
    """The private cache, also for what is made once a session."""
    patch = pytest.MonkeyPatch()
    patch.setenv("ISTHMUS_CACHE", str(tmp_path_factory.getbasetemp().parent / "isthmus-cache"))
    yield
    patch.undo()


def finished(folder: Path, **call) -> Path:
    from isthmus.transfer import transfer

    transfer(**call, method="none", out=folder, say=lambda line: None)
    return folder


@pytest.fixture(scope="session")
def photos_run(cached, tmp_path_factory) -> Path:
    """Photos, labelled target rows, sealed labels; the model makes mistakes."""
    root = tmp_path_factory.mktemp("photos")
    for name in ("2", "4", "6"):
        (root / "signs" / name).mkdir(parents=True)
        for photo in sorted((DATA / "signs" / name).iterdir())[:14]:
            shutil.copy(photo, root / "signs" / name)
    return finished(root / "run", target=root / "signs", shots=3)


@pytest.fixture(scope="session")
def digits_run(cached, tmp_path_factory) -> Path:
    """Sound, two domains, sealed labels."""
    return finished(
        tmp_path_factory.mktemp("digits") / "run",
        source=DATA / "spoken_digits",
        source_domain="george,jackson",
        target_domain="theo",
        label="{label}_{domain}_{take}",
    )


@pytest.fixture(scope="session")
def texts_run(cached, tmp_path_factory) -> Path:
    """Texts, a target without any label: nobody knows the truth."""
    import pandas as pd

    root = tmp_path_factory.mktemp("texts")
    frame = pd.read_csv(DATA / "reviews" / "sentences.csv")
    text = next(c for c in frame.columns if frame[c].astype(str).str.len().mean() > 20)
    label = next(c for c in frame.columns if c != text and frame[c].nunique() == 2)
    frame.groupby(label).head(40)[[text, label]].to_csv(root / "known.csv", index=False)
    frame[[text]].tail(60).to_csv(root / "new.csv", index=False)
    return finished(
        root / "run", source=root / "known.csv", target=root / "new.csv", label=label, text=text
    )


@pytest.fixture(scope="session")
def table_run(cached, tmp_path_factory) -> Path:
    """A table of two hospitals with a few labelled target rows."""
    return finished(
        tmp_path_factory.mktemp("table") / "run",
        source=DATA / "heart" / "heart.csv",
        source_domain="cleveland",
        target_domain="hungarian",
        label="num>0",
        shots=10,
    )


@pytest.fixture(scope="session")
def browser():
    """Debian's chromium, driven by playwright; skipped with a reason where there is none."""
    if CHROMIUM is None:
        pytest.skip("chromium is not installed (apt-get install chromium)")
    driver = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
    with driver.sync_playwright() as tool:
        started = tool.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()
