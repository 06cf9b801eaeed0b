"""JDA: align the domain means and the class means, by pseudo-labels (Long et al. 2013)."""

from __future__ import annotations

from typing import Any, ClassVar

from isthmus.adapt.base import Adapter, check_domains
from isthmus.adapt.joint import aligned
from isthmus.types import Adaptation


class JDA(Adapter):
    """Joint distribution adaptation: TCA whose penalty also compares the classes.

    ``M = C M_0 + sum_c M_c`` with pseudo-labels of the target by 1-NN, refined until they settle
    (Long, Wang, Ding, Sun and Yu, *Transfer feature learning with joint distribution adaptation*,
    ICCV 2013, eq. 8 and 9; the factor C is in the authors' code).

    Parameters
    ----------
    n_components : int, default=20
    trade_off : float, default=1.0
        Weight of the penalty (lambda).
    max_iter : int, default=10
        Rounds of pseudo-labels; fewer when they stop changing.
    kernel, gamma, normalize, solver, max_exact, landmarks, random_state
        As in `TCA`. Beyond `max_exact` rows of both domains (or ``solver="approximate"``) the
        nearest source row is sought in inverted lists.

    Notes
    -----
    Cost: O(n d^2 + d^3) once, then O(n_s n_t k) a round; O(n sqrt(n_s) k) with inverted lists.
    Where the first pseudo-labels are wrong, the rounds make them firmer.
    """

    family = "feature"
    needs_labels: ClassVar[bool] = True

    def __init__(
        self,
        n_components: int = 20,
        *,
        trade_off: float = 1.0,
        max_iter: int = 10,
        kernel: str = "linear",
        gamma: float | None = None,
        normalize: bool = False,
        solver: str = "auto",
        max_exact: int = 5000,
        landmarks: int | None = None,
        random_state: int = 0,
    ) -> None:
        self.n_components, self.trade_off, self.max_iter = n_components, trade_off, max_iter
        self.kernel, self.gamma, self.normalize = kernel, gamma, normalize
        self.solver, self.max_exact, self.landmarks = solver, max_exact, landmarks
        self.random_state = random_state

    def adapt(self, Xs: Any, ys: Any, Xt: Any) -> Adaptation:
        given = check_domains(Xs, ys, Xt, labels=True, who="JDA")
        return aligned(given, balance=0.5, who="JDA", **self.get_params())
