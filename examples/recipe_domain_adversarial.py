"""Domain-adversarial training: loss = task + lambda * domain, the domain's gradient reversed.

python examples/recipe_domain_adversarial.py [--lambda 1.0] [--rows 1500] [--epochs 12] [--back]

Digits from forms (MNIST) are labelled, digits from letters (USPS) are not. The small network of the
papers starts from nothing in both runs; only one of them sees the unlabelled target.
"""

import argparse
import os
from pathlib import Path

import numpy as np

from isthmus import FineTunedClassifier
from isthmus.data.domains import stack_domains
from isthmus.evaluate.intervals import mean_interval, paired_difference

HERE = Path(__file__).resolve().parents[1].parent / "shared" / "data"
DATA = Path(os.environ.get("ISTHMUS_TEST_DATA", HERE)) / "digits"
parser = argparse.ArgumentParser()
parser.add_argument("--lambda", dest="weight", type=float, default=1.0)
parser.add_argument("--rows", type=int, default=1500)
parser.add_argument("--epochs", type=int, default=12)
parser.add_argument("--back", action="store_true", help="USPS is the source")
given = parser.parse_args()


def digits(file: str, part: str) -> tuple[np.ndarray, np.ndarray]:
    """Rows of a domain from 0 (paper) to 1 (ink), 28 x 28; USPS lies in the middle."""
    with np.load(DATA / file) as stored:
        X, y = stored[f"X_{part}"][: given.rows], stored[f"y_{part}"][: given.rows]
    edge = (28 - X.shape[1]) // 2
    return np.pad(X / np.float32(255), [(0, 0), (edge, edge), (edge, edge)]), y


files = ["mnist_25k.npz", "usps.npz"]
source, target = reversed(files) if given.back else files
Xs, ys = digits(source, "train")
Xt, _ = digits(target, "train")  # the target's labels are not even read
X_test, y_test = digits(target, "test")
X, y, sample_domain, _ = stack_domains(Xs, ys, Xt)

right = {}
for name, method in (("from scratch, source rows only", None), ("domain-adversarial", "dann")):
    weight = given.weight if method else None
    network = FineTunedClassifier(method=method, trade_off=weight, epochs=given.epochs)
    network.fit(X, y, sample_domain=sample_domain)
    right[name] = (network.predict(X_test) == y_test).astype(float)
    print(f"{name}: {mean_interval(right[name]).percent()} on {len(y_test)} test rows")
gain = paired_difference(right["domain-adversarial"], right["from scratch, source rows only"])
print(
    f"lambda = {given.weight:g} bought {100 * gain.value:+.1f} points "
    f"[{100 * gain.low:+.1f}, {100 * gain.high:+.1f}]"
)
