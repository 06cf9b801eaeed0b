"""A saved dense network, whose weights start a classifier of other digits.

python examples/recipe_saved_dense.py [--start-from network.h5]

The file may come from Keras (.h5, .keras) or torch (.safetensors, .pt). Here one is made first:
scikit-learn's dense network, trained on digits from forms (MNIST). It starts the classifier of
digits from letters (USPS), 5 labels a class.
"""

import argparse
import os
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from safetensors.numpy import save_file
from sklearn.neural_network import MLPClassifier

from isthmus.run.finetune import finetune

HERE = Path(__file__).resolve().parents[1].parent / "shared" / "data"
DATA = Path(os.environ.get("ISTHMUS_TEST_DATA", HERE)) / "digits"
parser = argparse.ArgumentParser()
parser.add_argument("--start-from", help="a saved dense network of 28 x 28 grey pixels")
parser.add_argument("--rows", type=int, default=5000)
parser.add_argument("--epochs", type=int, default=20)
parser.add_argument("--shots", type=int, default=5)
given = parser.parse_args()


def digits(file: str) -> tuple[np.ndarray, np.ndarray]:
    """The first rows of a domain, 28 x 28, the digit in a box of 20 x 20 as MNIST has it."""
    with np.load(DATA / file) as stored:
        X, y = stored["X_train"][: given.rows], stored["y_train"][: given.rows]
    if X.shape[1] != 28:
        small = [np.asarray(Image.fromarray(x).resize((20, 20))) for x in X]
        X = np.pad(np.stack(small), [(0, 0), (4, 4), (4, 4)])
    return X, y


with tempfile.TemporaryDirectory() as folder:
    file = given.start_from
    if file is None:
        X, y = digits("mnist_25k.npz")
        dense = MLPClassifier((128, 64), early_stopping=True, random_state=0)
        dense.fit(X.reshape(len(X), -1) / 255, y)
        tensors = {}
        for k, (weight, bias) in enumerate(zip(dense.coefs_, dense.intercepts_)):
            tensors[f"dense{k}.weight"] = np.ascontiguousarray(weight.T, dtype=np.float32)
            tensors[f"dense{k}.bias"] = bias.astype(np.float32)
        file = f"{folder}/network.safetensors"
        save_file(tensors, file)
    result = finetune(
        target=digits("usps.npz"),
        recipe="saved-dense",
        start_from=file,
        shots=given.shots,
        epochs=given.epochs,
        against_scratch=True,
        say=lambda text: print(text) if text.startswith("--- start") else None,
    )
print(result.text())
