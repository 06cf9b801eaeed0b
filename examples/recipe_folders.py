"""train/val/test folders: augmentation, a frozen pretrained body, evaluation, curves.

python examples/recipe_folders.py [--data DIR] [--out DIR]

Early stopping looks at val; test is opened once, at the end. Without --data the hand signs of the
package are laid out in such folders first.
"""

import argparse
import shutil
import tempfile
from pathlib import Path

from isthmus.demo.cases import DATA  # photos of hand signs that come with the package
from isthmus.run.finetune import finetune

parser = argparse.ArgumentParser()
parser.add_argument("--data", help="a folder with train/CLASS, val/CLASS and test/CLASS")
parser.add_argument("--out", help="where the model, its report and training.png go")
parser.add_argument("--size", type=int, default=96)
parser.add_argument("--epochs", type=int, default=10)
parser.add_argument("--most", type=int, default=30, help="photos a class")
given = parser.parse_args()


def lay_out(folder: Path) -> Path:
    """Of each class a half for training, a sixth for validation, the rest for the test."""
    for sign in sorted(p for p in (DATA / "signs").iterdir() if p.is_dir()):
        photos = sorted(sign.iterdir())[: given.most]
        for k, photo in enumerate(photos):
            share = k / len(photos)
            part = "train" if share < 1 / 2 else "val" if share < 2 / 3 else "test"
            goal = folder / part / sign.name
            goal.mkdir(parents=True, exist_ok=True)
            shutil.copy(photo, goal)
    return folder


with tempfile.TemporaryDirectory() as temporary:
    data = Path(given.data) if given.data else lay_out(Path(temporary) / "signs")
    out = Path(given.out) if given.out else Path(temporary) / "model"
    result = finetune(
        target=data,
        recipe="folders",
        size=given.size,
        epochs=given.epochs,
        against_scratch=True,
        out=out,
    )
    print(result.text())
    print(f"curves of accuracy and loss: {(out / 'training.png').stat().st_size} bytes of PNG")
