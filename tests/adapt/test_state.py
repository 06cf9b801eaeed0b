"""Maps as tensors and JSON: bit-equal there and back, and nothing but our own maps comes back."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import pytest

from isthmus.adapt.maps import Affine, Scaled
from isthmus.adapt.state import from_state, to_state
from isthmus.errors import BundleError, UsageError
from isthmus.types import identity

RNG = np.random.default_rng(0)


def nested():
    inner = Affine(RNG.normal(size=4), np.asfortranarray(RNG.normal(size=(4, 3))), None)
    return Scaled(np.array([0.37]), inner)


def through_json(value):
    tensors, meta = to_state(value)
    return from_state(tensors, json.loads(json.dumps(meta, allow_nan=False)))


def test_a_nested_map_comes_back_with_the_same_numbers():
    there, rows = nested(), RNG.normal(size=(9, 4)).astype("f4")
    back = through_json(there)
    assert type(back) is Scaled and type(back.then) is Affine and back.then.offset is None
    assert back.then.matrix.dtype == np.float64
    np.testing.assert_array_equal(back.then.matrix, there.then.matrix)
    np.testing.assert_allclose(back(rows), there(rows), rtol=1e-12)


def test_tensors_are_named_by_their_path():
    tensors, meta = to_state(nested())
    assert set(tensors) == {"scale", "then.centre", "then.matrix"}
    assert meta["class"] == "isthmus.adapt.maps.Scaled"
    assert all(t.flags.c_contiguous for t in tensors.values())


def test_the_identity_and_numbers_keep_their_kind():
    assert through_json(identity) is identity
    value = through_json(Affine(np.float32(2.0), None, (1, 0.1, "name", None, True)))
    assert type(value.centre) is np.float32  # NumPy promotes a scalar of its own differently
    assert value.offset == (1, 0.1, "name", None, True)


@dataclass(frozen=True)
class Stranger:
    centre: int = 0

    def __call__(self, rows):
        return rows


@dataclass
class Thawed:
    centre: int = 0


Thawed.__module__ = Stranger.__module__ = "isthmus.adapt.maps"


@pytest.mark.parametrize(
    "value",
    [
        Stranger(),  # claims the module, which does not know it
        Thawed(),
        lambda rows: rows,
        np.tanh,
        Affine(lambda rows: rows),
        Affine({"a": 1}),
        Affine(np.array([None, 1], dtype=object)),
        Affine(np.array(["text"])),
        Affine(np.array([np.nan])),
        Affine(float("inf")),
    ],
)
def test_what_has_no_such_form_is_refused_when_it_is_saved(value):
    with pytest.raises(UsageError, match="cannot be saved"):
        to_state(value)


def state_of_affine():
    tensors, meta = to_state(Affine(np.zeros(3), np.eye(3)))
    return dict(tensors), json.loads(json.dumps(meta))


@pytest.mark.parametrize(
    "path",
    [
        "os.system",
        "builtins.eval",
        "subprocess.Popen",
        "isthmus.adapt.maps.os",
        "isthmus.adapt.maps.Any",
        "isthmus.adapt.maps.dataclass",
        "isthmus.adapt.coral.CORAL",  # a class of the package, but no dataclass
        "isthmus.adapt.coral.Adaptation",  # imported there, defined elsewhere
        "isthmus.adapt.state.to_state",
        "isthmus.adapt.mixture.Affine",
        "isthmus.adapt.joint_transport.JointPlan",  # a dataclass that can be changed
        "isthmus.types.Adaptation",
        "isthmus.data.samples.Samples",
        "isthmus.adapt.maps.inner.Affine",
        "isthmus.adapt..maps.Affine",
        "isthmus.adapt.no_such.Affine",
        "isthmus.adapt.maps",
        "Affine",
        "",
        None,
        3,
        ["isthmus.adapt.maps.Affine"],
    ],
)
def test_a_class_path_outside_the_allow_list_is_refused(path):
    tensors, meta = state_of_affine()
    meta["class"] = path
    with pytest.raises(BundleError, match="not one of this package"):
        from_state(tensors, meta)


def test_a_module_that_is_not_ours_is_never_imported(monkeypatch):
    import importlib

    tensors, meta = state_of_affine()
    asked = []
    plain = importlib.import_module
    monkeypatch.setattr(importlib, "import_module", lambda n, *a: asked.append(n) or plain(n, *a))
    for path in ("antigravity.fly.Affine", "isthmus.cli.main.Affine", "isthmus.adapt.evil.Affine"):
        with pytest.raises(BundleError):
            from_state(tensors, {**meta, "class": path})
    assert set(asked) <= {"isthmus.adapt"}


def changed(change):
    tensors, meta = state_of_affine()
    change(tensors, meta)
    return tensors, meta


@pytest.mark.parametrize(
    "change",
    [
        lambda t, m: t.pop("matrix"),
        lambda t, m: t.update(more=np.zeros(2)),
        lambda t, m: t.update(matrix=np.full((3, 3), np.nan)),
        lambda t, m: t.update(matrix=np.array(["x"])),
        lambda t, m: m["fields"].pop("offset"),
        lambda t, m: m["fields"].update(evil={"value": 1}),
        lambda t, m: m["fields"].update(matrix={"tensor": "matrix"}),
        lambda t, m: m["fields"].update(matrix={"tensor": ["matrix"], "scalar": False}),
        lambda t, m: m["fields"].update(matrix={"tensor": "matrix", "scalar": True}),
        lambda t, m: m["fields"].update(offset={"value": {"a": 1}}),
        lambda t, m: m["fields"].update(offset={"value": float("nan")}),
        lambda t, m: m["fields"].update(offset=None),
        lambda t, m: m["fields"].update(offset={"items": "abc"}),
        lambda t, m: m.update(fields=[1]),
        lambda t, m: m.update(extra=1),
        lambda t, m: (m.clear(), m.update(value=1), t.clear()),  # a number is no map
    ],
)
def test_a_damaged_state_is_refused(change):
    with pytest.raises(BundleError):
        from_state(*changed(change))


def test_deep_nesting_is_refused_both_ways():
    value = identity
    for _ in range(12):
        value = Scaled(np.ones(1), value)
    with pytest.raises(UsageError, match="deep"):
        to_state(value)
    meta = {"value": 1}
    for _ in range(2000):
        meta = {"items": [meta]}
    with pytest.raises(BundleError):
        from_state({}, meta)
