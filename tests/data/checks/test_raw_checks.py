"""Each raw check against data whose fault is known, and beside it data without."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from isthmus.data import read
from isthmus.data.checks import (
    RawView,
    broken,
    collapse,
    duplicates,
    imbalance,
    joint_scaling,
    sample_rate,
    scale,
    sentinels,
    shortcuts,
    too_few,
)
from isthmus.data.checks.registry import discover, run_all
from isthmus.data.checks.sentinels import stand_in

RNG = np.random.default_rng(0)


def view(source, target, **options) -> RawView:
    """A view of two labelled sets; the target's labels are open."""
    one, other = (read(d, **options) for d in (source, target))
    return RawView(one, None, other.without_labels(), other.without_labels(), other.labels)


def codes(found) -> list[str]:
    return [f.code for f in found]


def numbers(n=60, d=5, seed=0):
    rng = np.random.default_rng(seed)
    return rng.gamma(2.0, 3.0, (n, d)), rng.integers(0, 2, n)


def test_the_folder_is_the_registry():
    names = set(discover("isthmus.data.checks"))
    assert {"duplicates", "joint_scaling", "scale", "refusals", "shortcuts"} <= names
    assert "finding" not in names and "view" not in names


def test_a_check_that_fails_is_a_finding_and_no_crash():
    found = run_all("isthmus.data.checks", object())  # type: ignore[arg-type]
    assert found and set(codes(found)) == {"ISX099"}


def test_clean_numbers_raise_nothing():
    found = run_all("isthmus.data.checks", view(numbers(seed=1), numbers(seed=2)))
    assert [f for f in found if f.severity != "info"] == []


def test_exact_duplicates_are_counted():
    (X, y), (Z, z) = numbers(), numbers(seed=3)
    Z[:4] = X[10:14]
    (found,) = duplicates.find(view((X, y), (Z, z)))
    assert found.figures == {"shared": 4, "scored": 60, "share": 4 / 60}
    assert found.severity == "warning"


def test_a_test_of_training_rows_is_an_error():
    X, y = numbers()
    (found,) = duplicates.find(view((X, y), (X[:50] + 0, y[:50])))
    assert found.severity == "error" and found.code in ("ISX001", "ISX003")


def test_texts_are_equal_by_their_words():
    one = pd.DataFrame({"text": ["It was a very good film!", "Great."], "label": [1, 0]})
    two = pd.DataFrame({"text": ["it was a VERY good film", "Great."], "label": [1, 0]})
    samples = [read(frame, label="label", text="text") for frame in (one, two)]
    assert duplicates.shared_rows(*samples) == [(0, 0)]  # "Great." is too short to tell


@pytest.mark.parametrize("together", [True, False])
def test_joint_standardisation(together):
    (X, y), (Z, z) = numbers(), numbers(seed=4)
    base = np.concatenate([X, Z]) if together else X
    made = [(m - base.mean(axis=0)) / base.std(axis=0) for m in (X, Z)]
    found = codes(joint_scaling.find(view((made[0], y), (made[1], z))))
    assert found == (["ISX003"] if together else [])


def test_each_domain_standardised_alone_is_no_leak():
    (X, y), (Z, z) = numbers(), numbers(seed=4)
    made = [(m - m.mean(axis=0)) / m.std(axis=0) for m in (X, Z)]
    assert not list(joint_scaling.find(view((made[0], y), (made[1], z))))


@pytest.mark.parametrize(("factor", "expected"), [(255.0, True), (1.0, False), (7.0, False)])
def test_factor_between_domains(factor, expected):
    X, y = numbers()
    Z = X[RNG.permutation(len(X))] * 0.999
    found = codes(scale.find(view((X, y), (Z / factor, y))))
    assert found == (["ISX005"] if expected else [])


def test_stand_ins_for_missing_values():
    measured = RNG.normal(200, 40, 200).clip(90)
    assert stand_in(measured) is None
    assert stand_in(np.append(measured, [0.0] * 9)) == (0.0, 9)
    assert stand_in(np.append(measured, [-999.0] * 3)) == (-999.0, 3)
    counts = RNG.poisson(3, 300).astype(float)
    assert stand_in(counts) is None  # zeros of a count are zeros


def test_infinite_cells_are_named():
    X, y = numbers()
    frame = pd.DataFrame(X, columns=list("abcde")).assign(label=y)
    bad = frame.copy()
    bad.loc[3, "b"] = np.inf
    (found,) = sentinels.find(view(bad, frame, label="label", modality="table"))
    assert found.code == "ISX027" and "'b': 1 infinite" in found.title


def test_cut_off_files():
    assert broken.cut_off(b"\xff\xd8\xff\xe0", b"...\xff\xd9", 99) == ""
    assert "JPEG" in broken.cut_off(b"\xff\xd8\xff\xe0", b"...", 99)
    whole = b"RIFF" + (92).to_bytes(4, "little") + b"WAVE"
    assert broken.cut_off(whole, b"", 100) == ""
    assert "100 bytes" in broken.cut_off(whole, b"", 60)
    assert broken.cut_off(b"", b"", 0) == "it is empty"


def test_levels_and_saturation():
    picture = np.zeros((10, 10, 3), np.uint8)
    picture[:3] = 255
    assert collapse.levels_and_saturation(picture) == (2, 0.3)


def test_edge_of_a_spectrum():
    rng = np.random.default_rng(1)
    noise = rng.normal(size=16000)
    assert sample_rate.edge(sample_rate.spectrum(noise)) == 1.0
    power = np.fft.rfft(noise)
    power[len(power) // 2 :] = 0  # as after upsampling by two
    assert 0.45 < sample_rate.edge(sample_rate.spectrum(np.fft.irfft(power))) < 0.6


def test_majority_and_shift():
    (X, _), (Z, _) = numbers(), numbers(seed=5)
    rare, even = np.r_[np.ones(57), np.zeros(3)].astype(int), np.r_[np.ones(30), np.zeros(30)]
    found = list(imbalance.find(view((X, even.astype(int)), (Z, rare))))
    assert found[0].figures == {"majority": 0.95}
    assert found[1].figures["total_variation"] == pytest.approx(0.45)


def test_few_rows():
    (X, y), (Z, z) = numbers(), numbers(n=20, seed=6)
    (found,) = too_few.find(view((X, y), (Z, z)))
    assert found.code == "ISX030" and round(found.figures["half_width"]) == 22
    assert not list(too_few.find(view((X, y), numbers(seed=7))))


def test_a_column_that_tells():
    X, y = numbers(n=100)
    frame = pd.DataFrame(X, columns=list("abcde")).assign(label=y)
    told = frame.assign(code=[3 * v + 1 for v in y])
    assert not list(shortcuts.find(view(frame, frame, label="label", modality="table")))
    (found,) = shortcuts.find(view(told, told, label="label", modality="table"))
    assert "'code'" in found.title


def test_skill_of_noise_is_none():
    y = np.array(["a", "b"] * 100)
    assert abs(shortcuts.tree_skill(RNG.normal(size=200), y)) < 0.3
    assert shortcuts.tree_skill((y == "a").astype(float), y) == 1.0


def test_equal_rows_of_a_table_with_few_different_rows_are_no_leak():
    rng = np.random.default_rng(0)

    def answers(n):
        frame = pd.DataFrame({f"q{i}": rng.integers(0, 3, n) for i in range(4)})
        return frame.assign(label=rng.choice(["no", "yes"], n))

    one, other = answers(400), answers(300)
    (found,) = [f for f in duplicates.find(view(one, other)) if f.code == "ISX001"]
    assert found.severity == "warning" and "few different rows" in found.evidence
    wide = pd.DataFrame(rng.normal(size=(400, 4)), columns=list("abcd"))
    wide = wide.assign(label=rng.choice(["no", "yes"], 400))
    copied = wide[:300][::-1].reset_index(drop=True)
    (found,) = [f for f in duplicates.find(view(wide, copied)) if f.code == "ISX001"]
    assert found.severity == "error" and "few different" not in found.evidence
