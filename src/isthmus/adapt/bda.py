"""BDA: JDA with a balance between domain means and class means (Wang et al. 2017)."""

from __future__ import annotations

from typing import Any, ClassVar

from isthmus.adapt.base import Adapter, check_domains
from isthmus.adapt.joint import aligned
from isthmus.types import Adaptation


class BDA(Adapter):
    """Balanced distribution adaptation: ``M = (1 - balance) C M_0 + balance sum_c M_c``.

    Wang, Chen, Hao, Feng and Shen, *Balanced distribution adaptation for transfer learning*,
    ICDM 2017, eq. 8. ``balance=0`` is TCA with pseudo-labels, ``0.5`` is JDA.

    Parameters
    ----------
    balance : float or 'auto', default='auto'
        Weight of the classes in [0, 1]. ``auto`` estimates it anew in each round from how well a
        linear rule tells the domains apart, overall and within classes.
    n_components, trade_off, max_iter, kernel, gamma, normalize, solver, max_exact, landmarks,
    random_state
        As in `JDA`.
    """

    family = "feature"
    needs_labels: ClassVar[bool] = True

    def __init__(
        self,
        n_components: int = 20,
        *,
        balance: float | str = "auto",
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
        self.n_components, self.balance, self.trade_off = n_components, balance, trade_off
        self.max_iter, self.kernel, self.gamma, self.normalize = max_iter, kernel, gamma, normalize
        self.solver, self.max_exact, self.landmarks = solver, max_exact, landmarks
        self.random_state = random_state

    def adapt(self, Xs: Any, ys: Any, Xt: Any) -> Adaptation:
        given = check_domains(Xs, ys, Xt, labels=True, who="BDA")
        return aligned(given, who="BDA", **self.get_params())
