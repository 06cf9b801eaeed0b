"""Layer 8: a ranking as a person reads it."""

from __future__ import annotations

from isthmus.transferability import Ranking


def table(title: str, ranking: Ranking) -> list[str]:
    """The candidates, their places, and what that means."""
    lines = [f"{title} by {ranking.measure}"]
    width = max(len(row.name) for row in ranking.rows)
    count = len(ranking.rows)
    for row in ranking.rows:
        places = f"place {row.low}" if row.low == row.high else f"place {row.low} to {row.high}"
        score = row.score
        lines.append(
            f"  {row.rank}. {row.name:<{width}}  {places:<12} of {count}   "
            f"{score.value:.4g} [{score.low:.4g}, {score.high:.4g}]"
        )
    first = ranking.contenders
    if len(first) == 1:
        lines.append(f"{first[0]} is the best; the data tell it apart from the others.")
    elif len(first) == count:
        lines.append("The data do not tell them apart: any of them may be the best.")
    else:
        lines.append(f"The best is one of {', '.join(first)}; the data do not tell these apart.")
    lines.append(
        f"The places hold together with {100 * ranking.level:.0f} % confidence ({ranking.how})."
    )
    lines += [f"note: {t.reason}. {t.remedy}" for t in ranking.troubles]
    return lines
