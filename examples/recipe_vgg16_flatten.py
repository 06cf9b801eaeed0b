"""VGG16, Flatten, Dense 512, dropout: trained on the source, then fine-tuned on the target.

python examples/recipe_vgg16_flatten.py [--weights vgg16-397923af.pth] [--rows 400] [--size 32]

The source are digits from forms (MNIST), the target digits from letters (USPS), 10 labels a class.
Without a weights file VGG16 starts from nothing, and all it can bring along is the source.
"""

import argparse
import os
from pathlib import Path

import numpy as np

from isthmus.run.finetune import finetune

HERE = Path(__file__).resolve().parents[1].parent / "shared" / "data"
DATA = Path(os.environ.get("ISTHMUS_TEST_DATA", HERE)) / "digits"
parser = argparse.ArgumentParser()
parser.add_argument("--weights", default="random", help="a local file of VGG16's weights")
parser.add_argument("--rows", type=int, default=400)
parser.add_argument("--size", type=int, default=32)
parser.add_argument("--epochs", type=int, default=10)
parser.add_argument("--shots", type=int, default=10)
given = parser.parse_args()


def digits(file: str) -> tuple[np.ndarray, np.ndarray]:
    """The first rows of a domain: grey pictures and what they show."""
    with np.load(DATA / file) as stored:
        return stored["X_train"][: given.rows], stored["y_train"][: given.rows]


if given.weights == "random":
    print("No weights file was given: this VGG16 starts from nothing, not from ImageNet.")
result = finetune(
    digits("mnist_25k.npz"),
    digits("usps.npz"),
    recipe="vgg16-flatten",
    shots=given.shots,
    weights=given.weights,
    size=given.size,
    epochs=given.epochs,
    against_scratch=True,
)
print(result.text())
