"""The drill's modules lie beside the tests, not in a package."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def data(real_data, tmp_path_factory):
    """The real sets, each read once."""
    from worlds import Data

    return Data(real_data, tmp_path_factory.mktemp("drill"))
