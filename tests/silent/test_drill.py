"""Every fault is named by its code; honest data are left alone."""

from __future__ import annotations

import pytest
from clean import CLEAN
from drill import inject
from faults import FAULTS

from isthmus.run.preflight import check


def test_every_row_has_a_fault():
    assert {fault.row for fault in FAULTS} == set(range(1, 31))


@pytest.mark.parametrize("fault", sorted(FAULTS, key=lambda f: f.row), ids=lambda f: f.name)
def test_fault_is_named(fault, data):
    outcome = inject(fault, data)
    assert outcome.named, [str(f) for f in outcome.findings]
    assert not [f for f in outcome.findings if f.code == "ISX099"], "a check failed"


@pytest.fixture(scope="module")
def clean(data):
    return {name: check(**make(data)).findings for name, make in CLEAN.items()}


def test_clean_runs_are_not_stopped(clean):
    assert len(clean) >= 30
    stopped = {n: [str(f) for f in found if f.severity == "error"] for n, found in clean.items()}
    assert sum(map(bool, stopped.values())) <= 1, stopped


def test_clean_runs_are_hardly_warned_of(clean):
    warned = [str(f) for found in clean.values() for f in found if f.severity == "warning"]
    assert len(warned) <= 2 * len(clean), warned
    failed = [str(f) for found in clean.values() for f in found if f.code == "ISX099"]
    assert not failed, failed
