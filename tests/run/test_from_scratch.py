"""The network from scratch: labelled target rows alone, scored on the same sealed rows."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from isthmus.errors import UsageError  # noqa: E402
from isthmus.evaluate.shots import draw_shots  # noqa: E402
from isthmus.fit.finetune import FineTunedClassifier  # noqa: E402
from isthmus.run import from_scratch  # noqa: E402
from isthmus.run.finetune import finetune  # noqa: E402


def domains(n=240, seed=0):
    """Three classes in six columns; the target is turned a little."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, 2 * n)
    X = rng.normal(size=(2 * n, 6)) + 2.5 * np.eye(6)[y]
    X[n:] += 1.0 * np.eye(6)[(y[n:] + 1) % 3]
    names = np.array(["a", "b", "c"])[y]
    return (X[:n].astype("f4"), names[:n]), (X[n:].astype("f4"), names[n:])


def test_it_is_the_same_network_on_the_labelled_target_rows_alone():
    source, target = domains()
    done = finetune(
        source, target, shots=5, epochs=6, hidden=(8,), dropout=0.1, seed=2, against_scratch=True
    )
    rows = draw_shots(target[1], 5, random_state=2).rows
    rest = np.setdiff1d(np.arange(len(target[1])), rows)
    alone = FineTunedClassifier(hidden=(8,), dropout=0.1, epochs=6, random_state=2)
    alone.fit(target[0][rows], target[1][rows])
    right = (alone.predict(target[0][rest]) == target[1][rest]).mean()
    proof = done.results["proof"]
    assert proof["openings"] == 1 and proof["rows"] == len(rest)
    own = proof["headline"][from_scratch.NAME]
    assert own["value"] == pytest.approx(right, abs=1e-9)
    gain = proof["gains"][from_scratch.NAME]
    assert gain["value"] == pytest.approx(
        proof["headline"]["fine-tuned network"]["value"] - right, abs=1e-9
    )
    assert f"{100 * right:.1f} %" in done.text() and "labelled target rows only" in done.text()


def test_a_class_without_labelled_target_rows_is_never_answered():
    source, (Xt, yt) = domains()
    known = [(k, yt[k]) for k in np.flatnonzero(yt != "c")[:12]]
    ids = [f"r{k}" for k in range(len(yt))]
    import pandas as pd

    target = pd.DataFrame(Xt, columns=list("uvwxyz")).assign(row=ids, label=None)
    labels = pd.DataFrame({"id": [ids[k] for k, _ in known], "label": [n for _, n in known]})
    test = pd.DataFrame(Xt, columns=list("uvwxyz")).assign(row=[f"t{k}" for k in ids], label=yt)
    first = pd.DataFrame(source[0], columns=list("uvwxyz")).assign(label=source[1])
    first["row"] = [f"s{k}" for k in range(len(first))]
    done = finetune(
        first, target, target_labels=labels, test=test, label="label", id="row", epochs=2,
        task="classification", hidden=(8,), against_scratch=True,
    )  # fmt: skip
    assert done.results["classes"] == ["a", "b", "c"]
    assert done.results["proof"]["headline"][from_scratch.NAME]["value"] <= (yt != "c").mean()


def test_texts_are_refused_before_anything_is_trained():
    with pytest.raises(UsageError, match="against-scratch"):
        from_scratch.check("text")
    with pytest.raises(UsageError, match="no test rows"):
        from_scratch.check("image", tested=False)


def test_weights_are_drawn_by_the_seed():
    pytest.importorskip("timm")
    from isthmus.backbone import load_backbone
    from isthmus.fit.deep.surgery import state_of

    backbone = load_backbone("timm:test_efficientnet", weights="random", size=32)
    first, again, other = (
        state_of(from_scratch.anew(backbone, seed=seed)) for seed in (1, 1, 2)
    )  # fmt: skip
    assert all(torch.equal(first[name], again[name]) for name in first)
    convolutions = [name for name in first if first[name].ndim == 4]
    assert convolutions and all(not torch.equal(first[n], other[n]) for n in convolutions)
