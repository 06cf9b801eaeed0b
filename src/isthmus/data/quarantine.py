"""Layer 1: rows set aside are counted, listed, and stop the run when they are too many."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from isthmus.data.samples import Problem
from isthmus.errors import DataError, UsageError

DEFAULT_MAX_BAD = 0.01
SHOWN = 10
_SIGNIFICANT = 1e-3  # chance below which failures are said to follow a label


def check_bad_share(
    problems: Sequence[Problem],
    seen: int,
    *,
    max_bad: float = DEFAULT_MAX_BAD,
    labels: Any = None,
) -> None:
    """Stop when more than `max_bad` of what was looked at had to be set aside.

    The share of one class counts too: 40 broken files among 10,000 are few, but not when all of
    them show the same class, because the model would then never learn it.

    Parameters
    ----------
    problems : sequence of Problem
        What was set aside.
    seen : int
        Rows or files that were looked at, good and bad.
    max_bad : float, default=0.01
        Largest share that is tolerated, in [0, 1]; 1 turns the check off.
    labels : sequence of str, or mapping of str to int, optional
        Label names of *all* rows seen (good and bad), or how often each occurs. With it, and with
        `Problem.label`, the share is checked for each class as well.

    Raises
    ------
    DataError
        With the first ten problems, the counts, the share per class where failures follow the
        class (hypergeometric tail below 0.001, corrected for the number of classes), and the
        option that raises the limit.
    UsageError
        If `max_bad` is not a share.
    """
    if not isinstance(max_bad, (int, float)) or not 0 <= max_bad <= 1:
        raise UsageError(
            f"max_bad must be a share between 0 and 1, not {max_bad!r}",
            where="--max-bad",
            remedy="0.01 means 1 %",
        )
    bad = len(problems)
    if not bad:
        return
    seen = max(seen, bad)
    rates = bad_rates(problems, labels)
    following = follows_label(rates, bad, seen)
    worst = [name for name in following if rates[name][0] > max_bad * rates[name][1]]
    if bad <= max_bad * seen and not worst:
        return
    share = f"{bad:,} of {seen:,} rows ({100 * bad / seen:.1f} %) cannot be used"
    lines = [f"  {p.where}: {p.reason}. {p.remedy}" for p in problems[:SHOWN]]
    if bad > SHOWN:
        lines.append(f"  ... and {bad - SHOWN:,} more")
    if following:
        listed = ", ".join(
            f"{name} {rates[name][0]}/{rates[name][1]} "
            f"({100 * rates[name][0] / rates[name][1]:.1f} %)"
            for name in following
        )
        lines.append(f"  The failures follow the label: {listed}")
    if bad <= max_bad * seen:
        rule = f"a class loses more than {100 * max_bad:g} %"
    else:
        rule = f"more than {100 * max_bad:g} % are bad"
    raise DataError(
        f"{share}:\n" + "\n".join(lines) + "\n",
        why=rule,
        remedy="Mend them, or go on without them: --max-bad "
        f"{_next_limit(bad / seen, [rates[n][0] / rates[n][1] for n in worst]):g}",
    )


def bad_rates(problems: Sequence[Problem], labels: Any) -> dict[str, tuple[int, int]]:
    """Label name -> (problems with that label, rows seen with that label)."""
    if labels is None:
        return {}
    if isinstance(labels, Mapping):
        totals = Counter({str(name): int(count) for name, count in labels.items()})
    else:
        totals = Counter(str(name) for name in labels if name is not None)
    failed = Counter(p.label for p in problems if p.label is not None)
    return {name: (failed[name], max(totals[name], failed[name])) for name in sorted(totals)}


def follows_label(rates: Mapping[str, tuple[int, int]], bad: int, seen: int) -> list[str]:
    """Labels that hold more of the failures than chance allows, worst share first."""
    candidates = {name: (k, n) for name, (k, n) in rates.items() if k >= 3 and n}
    if len(rates) < 2 or not candidates:
        return []
    from scipy.stats import hypergeom

    total = max(seen, sum(n for _, n in rates.values()))
    limit = _SIGNIFICANT / len(rates)
    found = [
        name
        for name, (k, n) in candidates.items()
        # P(at least k of the n rows of this label are bad | bad rows fall anywhere)
        if hypergeom.sf(k - 1, total, min(bad, total), n) < limit
    ]
    return sorted(found, key=lambda name: (-rates[name][0] / rates[name][1], name))


def _next_limit(share: float, class_shares: Sequence[float]) -> float:
    """The smallest round limit that would let this run pass."""
    needed = max([share, *class_shares])
    for limit in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5):
        if needed <= limit:
            return limit
    return 1.0
