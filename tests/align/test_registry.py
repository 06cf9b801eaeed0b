"""Methods are found by the names of their files; settings are plain values."""

from __future__ import annotations

import doctest
import json

import pytest

pytest.importorskip("torch")

from isthmus.align import registry
from isthmus.align.deep_coral import DeepCORAL
from isthmus.align.registry import discover, find, made, settings
from isthmus.errors import UsageError


def test_the_folder_is_the_registry():
    known = discover()
    assert {"dann", "cdan", "mcc", "osbp", "deep_coral"} <= set(known)
    assert not {"base", "kernels", "discriminator", "tent"} & set(known)


@pytest.mark.parametrize("name", ["deep-coral", "deep_coral", "DeepCORAL", "Deep CORAL"])
def test_names_are_found_however_they_are_written(name):
    assert find(name) is DeepCORAL


def test_a_wrong_name_is_answered_by_near_ones():
    with pytest.raises(UsageError, match="deep-coral"):
        find("deepcorale")
    with pytest.raises(UsageError, match="Use one of"):
        find("xyzzy")


def test_settings_make_an_equal_method_and_are_json():
    method = DeepCORAL(trade_off=0.2, layer="logits")
    kept = json.loads(json.dumps(settings(method)))
    assert settings(DeepCORAL(**kept)) == settings(method)


def test_a_method_is_made_with_defaults_or_for_features_or_as_asked():
    assert settings(made("dann")) == settings(find("dann")())
    small = settings(find("dann")(**find("dann").on_features))
    assert settings(made("dann", on_features=True)) == small
    assert settings(made("dann", on_features=True, rate=1.0)) == small | {"rate": 1.0}
    assert made("shot", on_features=True).uses_source is False


def test_the_examples_run():
    assert doctest.testmod(registry).failed == 0
