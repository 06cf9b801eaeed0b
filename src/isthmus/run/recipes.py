"""Layer 8: the classic recipes of the field as presets of `isthmus finetune`: one row, one preset.

A preset is a set of options and nothing more: whatever is given beside it replaces its value.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ParamSpec, TypeVar

from isthmus.errors import ModalityError, UsageError, did_you_mean

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class Recipe:
    """One preset.

    Parameters
    ----------
    name : str
        As ``--recipe`` takes it.
    story : str
        What it does, for ``--help``.
    options : dict
        Arguments of `isthmus.run.finetune.finetune`.
    on_network : dict
        More of them where the network itself is trained (``on="network"``).
    needs : tuple of (str, str)
        Argument (or several with ``|``, of which one will do) without which it means nothing, and
        what to give.
    """

    name: str
    story: str
    options: Mapping[str, Any]
    on_network: Mapping[str, Any] = field(default_factory=dict)
    needs: tuple[tuple[str, str], ...] = ()


# A frozen body gives the same features in every epoch, so they are computed once. With --on
# network it runs in every step, which only augmentation needs.
_FROZEN: dict[str, Any] = {
    "on": "features", "hidden": (1024,), "dropout": 0.5, "optimizer": "adam", "lr": 1e-4,
    "epochs": 10, "batch_size": 32,
}  # fmt: skip
_HEAD_ONLY = {"strategy": "head-only"}

RECIPES = (
    Recipe(
        "vgg16-flatten",
        "VGG16, Flatten, Dense 512: first source, then target",
        {
            "on": "network", "backbone": "torchvision:vgg16", "layer": "features",
            "pooling": "flatten", "size": 64, "hidden": (512,), "dropout": 0.5,
            "optimizer": "adam", "lr": 1e-4, "epochs": 10, "batch_size": 32,
            "stages": "three-step",
        },
        needs=(
            ("source", "Give labelled source data: --source S"),
            ("shots|target_labels", "Label some target rows: --shots K or --target-labels FILE"),
        ),
    ),
    Recipe(
        "frozen-dense",
        "default backbone frozen, Dense 1024; Adam 1e-4",
        _FROZEN,
        _HEAD_ONLY,
    ),
    Recipe(
        "frozen-vgg16",
        "the same on VGG16 (--weights FILE)",
        {**_FROZEN, "backbone": "torchvision:vgg16"},
        _HEAD_ONLY,
    ),
    Recipe(
        "frozen-resnet50",
        "the same on ResNet-50 (--weights FILE)",
        {**_FROZEN, "backbone": "torchvision:resnet50"},
        _HEAD_ONLY,
    ),
    Recipe(
        "frozen-inception-v3",
        "the same on Inception-V3, 299 pixels",
        {**_FROZEN, "backbone": "torchvision:inception_v3"},
        _HEAD_ONLY,
    ),
    Recipe(
        "saved-dense",
        "weights of a saved dense network (--start-from FILE)",
        {"on": "features", "optimizer": "adam", "lr": 1e-3, "epochs": 20, "batch_size": 32},
        needs=(("start_from", "Give the file of the dense network: --start-from FILE"),),
    ),
    Recipe(
        "domain-adversarial",
        "loss = task + lambda * domain (--lambda)",
        {"on": "features", "method": "dann", "trade_off": 1.0, "hidden": (256,), "epochs": 20},
        needs=(("source", "Give labelled source data: --source S"),),
    ),
    Recipe(
        "folders",
        "train/val/test: augmentation, frozen body, plots",
        {
            "on": "network", "augment": "standard", "hidden": (256,), "dropout": 0.3,
            "optimizer": "adam", "lr": 1e-3, "epochs": 20, "batch_size": 32, "patience": 5,
        },
        _HEAD_ONLY,
    ),
)  # fmt: skip


def find(name: str) -> Recipe:
    """The recipe of that name.

    Raises
    ------
    UsageError
        If there is none; the names are listed.
    """
    known = [recipe.name for recipe in RECIPES]
    for recipe in RECIPES:
        if recipe.name == name.replace("_", "-"):
            return recipe
    raise UsageError(
        f"no recipe {name!r}",
        where="--recipe",
        remedy=did_you_mean(name, known) + "There are: " + ", ".join(known),
    )


def options_of(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """`given` with the recipe's value for everything that is not in it.

    Parameters
    ----------
    name : str
    given : dict
        Only what was asked for: a default of the call must not be in it. None asks for nothing.

    Raises
    ------
    UsageError
        If there is no such recipe, or something that it needs is missing.
    """
    recipe = find(name)
    given = {key: value for key, value in given.items() if value is not None}
    preset = dict(recipe.options)
    on = given.get("on") or preset.get("on")
    if on == "network":
        preset |= recipe.on_network
    if "backbone" in given:
        preset.pop("layer", None)  # a name inside the network that was replaced
    if given.get("method") not in (None, preset.get("method")):
        preset.pop("trade_off", None)
    chosen = {**preset, **given}
    for names, remedy in recipe.needs:
        if all(chosen.get(name) is None for name in names.split("|")):
            raise UsageError(
                f"the recipe {recipe.name} needs {names.split('|')[0].replace('_', ' ')}",
                where="--recipe",
                remedy=remedy,
            )
    return chosen


def strategy_of(name: str | None, strategy: str, *, pretrained: bool) -> tuple[str, str]:
    """What is trained, and a sentence where that is not what the recipe says.

    A recipe freezes a body for what it has learned. One that starts from nothing has learned
    nothing: a head on it would read random features.

    Parameters
    ----------
    name : str or None
        Of the recipe.
    strategy : str
        As asked for, by the recipe or beside it.
    pretrained : bool
        Whether the body has weights of a training before.
    """
    frozen = None if name is None else find(name).on_network.get("strategy")
    if pretrained or strategy != frozen:
        return strategy, ""
    return "full", (
        f"The recipe {name} freezes a pretrained body, and this one starts from nothing: all of "
        "it is trained (strategy full). A pretrained one is named with --backbone."
    )


def takes_recipe(function: Callable[P, R]) -> Callable[P, R]:
    """`function` whose keyword ``recipe`` fills in what the caller did not give.

    A model that the recipe itself names, and that cannot take the data, is refused by the name of
    the recipe: its weights, or another --backbone, would help nobody.
    """

    @functools.wraps(function)
    def call(*args: P.args, **given: P.kwargs) -> R:
        name = given.get("recipe")
        if name is None:
            return function(*args, **given)
        named = {**dict(zip(("source", "target"), args)), **given}
        options = options_of(str(name), named)
        try:
            return function(**options)  # type: ignore[arg-type, call-arg]
        except ModalityError as error:
            if named.get("backbone") is not None:
                raise
            raise _for_other_data(str(name), options["backbone"], error) from None

    return call


def _for_other_data(name: str, backbone: str, error: ModalityError) -> UsageError:
    from isthmus.backbone.load import TAKES

    takes = TAKES[backbone.partition(":")[0]]
    return UsageError(
        f"the recipe {find(name).name} is for {takes} data",
        where="--recipe",
        why=error.what,
        remedy="Use --recipe frozen-dense, which takes the default backbone of the data, or say "
        f"--modality {takes} if they were misread",
    )


def in_words() -> str:
    """One line a recipe, for ``--help``."""
    return "\n".join(f"  {recipe.name:20s} {recipe.story}" for recipe in RECIPES)
