"""A pretrained network, frozen; Dense 1024 and dropout on top; Adam 1e-4, 10 epochs.

python examples/recipe_frozen_dense.py [--recipe frozen-vgg16 --weights vgg16-397923af.pth]

Photos of hand signs, 10 labels a class. The package's own pretrained network serves unless another
is named; VGG16, ResNet-50 and Inception-V3 need a local file of weights (--weights).
"""

import argparse

from isthmus.demo.cases import DATA  # photos of hand signs that come with the package
from isthmus.errors import BackboneError
from isthmus.run.finetune import finetune

parser = argparse.ArgumentParser()
parser.add_argument("--recipe", default="frozen-dense")
parser.add_argument("--weights", help="a local file of weights")
parser.add_argument("--size", type=int, default=96)
parser.add_argument("--epochs", type=int, default=10)
parser.add_argument("--shots", type=int, default=10)
given = parser.parse_args()
options = {"shots": given.shots, "size": given.size, "epochs": given.epochs}
try:
    result = finetune(
        target=DATA / "signs",
        recipe=given.recipe,
        weights=given.weights,
        against_scratch=True,
        **options,
    )
except BackboneError as error:  # the weights are not on this machine: it says where to put them
    raise SystemExit(str(error)) from None
print(result.text())
