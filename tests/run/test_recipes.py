"""Presets: every option exists, what is typed wins, and what is missing is asked for."""

from __future__ import annotations

import inspect

import pytest

from isthmus.errors import BackboneError, UsageError
from isthmus.run import recipes
from isthmus.run.finetune import finetune
from isthmus.run.recipes import RECIPES, find, options_of, strategy_of, takes_recipe


def test_every_option_of_every_row_is_an_argument_of_the_call():
    known = set(inspect.signature(finetune).parameters)
    assert len({recipe.name for recipe in RECIPES}) == len(RECIPES)
    for recipe in RECIPES:
        needed = {name for names, _ in recipe.needs for name in names.split("|")}
        assert {*recipe.options, *recipe.on_network, *needed} <= known, recipe.name


def test_the_command_offers_every_option_of_every_row_and_lists_them():
    from isthmus.cli.finetune import command

    offered = {param.name for param in command.params}
    for recipe in RECIPES:
        assert {*recipe.options, *recipe.on_network} <= offered
        assert recipe.name in command.help and recipe.story in command.help
        assert len(f"    {recipe.name:20s} {recipe.story}") <= 80  # a line of a terminal


def test_what_is_given_replaces_the_preset():
    given = {"target": "T", "lr": 0.5, "hidden": ()}
    found = options_of("frozen-dense", given)
    assert found["lr"] == 0.5 and found["hidden"] == () and found["epochs"] == 10
    assert options_of("frozen-dense", {"target": "T", "on": "network"})["strategy"] == "head-only"
    assert "strategy" not in found


def test_another_backbone_takes_the_layer_of_the_old_one_away():
    given = {"source": "S", "target": "T", "shots": 3, "backbone": "timm:resnet18"}
    found = options_of("vgg16-flatten", given)
    assert "layer" not in found and found["backbone"] == "timm:resnet18"
    nothing = options_of("vgg16_flatten", {**given, "backbone": None})
    assert nothing["backbone"] == "torchvision:vgg16" and nothing["layer"] == "features"


@pytest.mark.parametrize(
    ("name", "given", "word"),
    [
        ("vgg16-flatten", {"source": "S", "target": "T"}, "shots"),
        ("vgg16-flatten", {"target": "T", "shots": 2}, "source"),
        ("saved-dense", {"target": "T"}, "--start-from FILE"),
        ("domain-adversarial", {"target": "T"}, "--source S"),
    ],
)
def test_what_a_recipe_needs_is_asked_for(name, given, word):
    with pytest.raises(UsageError, match=word):
        options_of(name, given)


@pytest.mark.parametrize(
    "name", ["vgg16-flatten", "frozen-vgg16", "frozen-resnet50", "frozen-inception-v3"]
)
def test_a_recipe_for_images_refuses_other_data_by_its_name(name):
    """Its weights would not help, and nothing is said of them."""
    texts = [f"a good film indeed, number {i}" for i in range(12)]
    call = {"source": (texts, ["yes", "no"] * 6), "target": (texts, ["no", "yes"] * 6)}
    with pytest.raises(UsageError) as caught:
        finetune(**call, shots=2, recipe=name, modality="text")
    assert caught.value.what == f"the recipe {name} is for image data"
    assert "the data are text" in caught.value.why and "weights" not in str(caught.value)
    assert "--recipe frozen-dense" in caught.value.remedy
    with pytest.raises(BackboneError, match=r"torchvision:resnet18 takes image .* another --back"):
        finetune(**call, shots=2, recipe=name, modality="text", backbone="torchvision:resnet18")


def test_a_body_that_starts_from_nothing_is_not_frozen():
    for name in ("folders", "frozen-dense"):
        trained, said = strategy_of(name, "head-only", pretrained=False)
        assert trained == "full" and f"The recipe {name} freezes a pretrained body" in said
        assert strategy_of(name, "head-only", pretrained=True) == ("head-only", "")
        assert strategy_of(name, "lora", pretrained=False) == ("lora", "")  # typed beside it
    assert strategy_of(None, "head-only", pretrained=False) == ("head-only", "")
    assert strategy_of("vgg16-flatten", "full", pretrained=False) == ("full", "")


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(UsageError, match="frozen-dense"):
        find("frozen-dens")


def test_a_call_without_a_recipe_is_passed_on_untouched():
    @takes_recipe
    def echo(source=None, target=None, *, recipe=None, lr=1.0, epochs=3, **rest):
        return source, target, recipe, lr, epochs, rest

    assert echo("S", "T", lr=2.0) == ("S", "T", None, 2.0, 3, {})
    made = echo(None, "T", recipe="frozen-dense", epochs=1)
    assert made[:5] == (None, "T", "frozen-dense", 1e-4, 1)
    assert made[5]["hidden"] == (1024,)
    assert recipes.in_words().count("\n") == len(RECIPES) - 1
