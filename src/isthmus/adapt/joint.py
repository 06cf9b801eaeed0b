"""Layer 4: the common course of TCA, JDA and BDA: components under an MMD penalty."""

from __future__ import annotations

from typing import Any

import numpy as np

from isthmus.adapt import pseudo_labels, space
from isthmus.adapt.base import Checked
from isthmus.adapt.discriminability import balance as estimated
from isthmus.errors import UsageError
from isthmus.types import Adaptation, Trouble


def aligned(
    given: Checked,
    *,
    n_components: int,
    trade_off: float,
    kernel: str,
    gamma: float | None,
    normalize: bool,
    max_iter: int,
    balance: float | str | None,
    solver: str,
    max_exact: int,
    landmarks: int | None,
    random_state: int,
    who: str,
) -> Adaptation:
    """Components, refined by pseudo-labels unless `balance` is None (then the marginal only).

    Raises
    ------
    UsageError
        If a parameter is out of its range.
    """
    positive(who, trade_off=trade_off, n_components=n_components, max_iter=max_iter)
    if isinstance(balance, str) and balance != "auto":
        raise UsageError(f"unknown balance {balance!r}", where=who, remedy="Use auto or 0 to 1")
    if balance is not None and not isinstance(balance, str) and not 0 <= balance <= 1:
        raise UsageError(f"balance must lie in [0, 1], not {balance}", where=who)
    whole = space.build(
        given,
        kernel=kernel,
        gamma=gamma,
        normalize=normalize,
        solver=solver,
        max_exact=max_exact,
        landmarks=landmarks,
        random_state=random_state,
        who=who,
    )
    xp, ns, classes = given.xp, whole.ns, len(given.classes)

    def components(marginal: float, conditional: float, pseudo: Any, start: Any) -> Any:
        G = space.contrasts(
            whole, given.codes, pseudo, classes, marginal=marginal, conditional=conditional
        )
        found = space.solve(whole, G, trade_off=trade_off, k=n_components, start=start)
        return found, *whole.embed(found.vectors, unit=normalize)

    found, Z, map_target = components(1.0, 0.0, None, None)  # the first round has no labels
    info: dict[str, Any] = {"solver": whole.solver, "kernel": kernel}
    if whole.kernel is not None:
        info["gamma"] = float(whole.kernel.gamma)
    troubles: tuple[Trouble, ...] = ()
    if balance is not None:
        settled, share, count = False, 0.0, 1
        pseudo = _labels(xp, given, Z, solver, max_exact, random_state)
        while count < max_iter and not settled:
            count += 1
            share = (
                estimated(xp, Z[:ns], given.codes, Z[ns:], pseudo)
                if isinstance(balance, str)
                else float(balance)
            )
            # Long et al. give M_0 the weight of all classes together
            found, Z, map_target = components((1 - share) * classes, share, pseudo, found.vectors)
            fresh = _labels(xp, given, Z, solver, max_exact, random_state)
            settled = pseudo_labels.settled(
                fresh, pseudo, rows=int(Z.shape[0]), solver=solver, max_exact=max_exact
            )
            pseudo = fresh
        info |= {"iterations": count, "labels_settled": settled, "balance": share}
        troubles = pseudo_labels.missing(given.classes, pseudo)
    info["components"] = int(Z.shape[1])
    stopped: tuple[Trouble, ...] = () if found.trouble is None else (found.trouble,)
    # pseudo-labels are a means here: the estimator is to learn from the source's own labels
    return Adaptation(
        Z[:ns], map_target=map_target, troubles=whole.troubles + stopped + troubles, info=info
    )


def positive(who: str, **values: float) -> None:
    """Refuse a parameter that is not above zero.

    Raises
    ------
    UsageError
    """
    for name, value in values.items():
        if not value > 0:
            raise UsageError(f"{name} must be positive, not {value}", where=who)


def _labels(
    xp: Any, given: Checked, Z: Any, solver: str, max_exact: int, random_state: int
) -> np.ndarray:
    ns = given.Xs.shape[0]
    return pseudo_labels.nearest(
        xp,
        Z[:ns],
        given.codes,
        Z[ns:],
        solver=solver,
        max_exact=max_exact,
        random_state=random_state,
    )
