"""Rebuild the demo data inside the package from the full data sets (maintainers only).

Usage: python scripts/demo_data.py DATA_FOLDER
The subsets are the first files in name order at an even stride: no hand picking.
"""

from __future__ import annotations

import sys
from pathlib import Path

from isthmus import iofs

PACKAGE_DATA = Path(__file__).parents[1] / "src" / "isthmus" / "demo" / "data"
SIGNS_PER_CLASS, TAKES = 30, 3


def main(source: Path) -> None:
    """Copy the subsets and the licences beside them."""
    for folder in sorted(p for p in (source / "sign_digits").iterdir() if p.is_dir()):
        files = sorted(folder.iterdir())
        stride = len(files) / SIGNS_PER_CLASS
        for i in range(SIGNS_PER_CLASS):
            copy(files[int(i * stride)], PACKAGE_DATA / "signs" / folder.name)
    copy(source / "sign_digits" / "LICENSE", PACKAGE_DATA / "signs")
    takes: dict[str, int] = {}
    for file in sorted((source / "spoken_digits").glob("*.wav")):
        digit, speaker, _ = file.stem.split("_")
        key = f"{digit}_{speaker}"
        takes[key] = takes.get(key, 0) + 1
        if takes[key] <= TAKES:
            copy(file, PACKAGE_DATA / "spoken_digits")
    copy(source / "reviews" / "sentences.csv", PACKAGE_DATA / "reviews")
    copy(source / "heart" / "heart.csv", PACKAGE_DATA / "heart")


def copy(file: Path, folder: Path) -> None:
    """Copy one file through the house's own writer."""
    iofs.write_bytes(folder / file.name, file.read_bytes())


if __name__ == "__main__":
    iofs.remove(PACKAGE_DATA / name for name in ("signs", "spoken_digits", "reviews", "heart"))
    main(Path(sys.argv[1]))
