"""Layer 7: the map of source and target rows, as few paths: thousands of points stay light."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import Any

import numpy as np

from isthmus.report.charts.svg import num, picture, tag
from isthmus.types import Array

WIDTH, HEIGHT, ROOM = 720, 480, 14
NEIGHBOURED = 2000  # rows that t-SNE or UMAP place; their cost grows faster than the rows


def placed(points: Array) -> Array:
    """(n, 2) in the units of the view box, both axes scaled alike where that wastes no space.

    A few far outliers must not squeeze the rest into a corner: positions beyond the 0.3 % and
    99.7 % quantiles are drawn at the border.
    """
    low, high = np.quantile(points, 0.003, axis=0), np.quantile(points, 0.997, axis=0)
    span = np.maximum(high - low, 1e-9)
    share = np.clip((points - low) / span, 0, 1)
    x = ROOM + share[:, 0] * (WIDTH - 2 * ROOM)
    y = HEIGHT - ROOM - share[:, 1] * (HEIGHT - 2 * ROOM)
    return np.round(np.column_stack([x, y]), 1)


def scatter(at: Array, part: Sequence[int], kind: Sequence[int], *, title: str, id_: str) -> str:
    """Points as paths, one a part and class: discs for the source, diamonds for the target.

    Parameters
    ----------
    at : ndarray of shape (n, 2)
        In the view box.
    part : sequence of int
        0 source, 1 labelled target, 2 target, 3 test.
    kind : sequence of int
        Number of the class, -1 for none.
    """
    parts = [tag("rect", class_="paper", x=0, y=0, width=WIDTH, height=HEIGHT, rx=8)]
    groups: dict[tuple[int, int], list[int]] = {}
    for i, key in enumerate(zip(part, kind, strict=True)):
        groups.setdefault(key, []).append(i)
    for (role, cls), rows in sorted(groups.items()):
        if role == 0:  # a stroke of no length with round ends is a disc
            path = "".join(f"M{num(at[i, 0])} {num(at[i, 1])}h0" for i in rows)
        else:
            r = 4.5 if role == 1 else 3
            path = "".join(
                f"M{num(at[i, 0] - r)} {num(at[i, 1])}l{r}-{r} {r} {r}-{r} {r}z" for i in rows
            )
        shade = f"c{cls % 8 + 1}" if cls >= 0 else "c0"
        parts.append(
            tag("path", class_=f"pt p{role} {shade}", d=path, data_part=role, data_class=cls)
        )
    parts.append(tag("path", class_="lasso", d=""))
    parts.append(tag("circle", class_="cursor", cx=0, cy=0, r=0))
    return picture(parts, WIDTH, HEIGHT, title=title, class_="chart map", id_=id_)


def neighbour_map(components: Array, *, seed: int = 0) -> tuple[str, Array] | None:
    """A map that keeps neighbourhoods: UMAP where it is installed, else t-SNE.

    Parameters
    ----------
    components : ndarray of shape (n, c)
        Principal components; the start of the embedding.

    Returns
    -------
    (name, ndarray of shape (n, 2)) or None
        None below 30 rows, where such maps show nothing but chance.
    """
    n = len(components)
    if n < 30:
        return None
    if importlib.util.find_spec("umap") is not None:
        import umap

        made = umap.UMAP(random_state=seed, n_jobs=1).fit_transform(components)
        return "UMAP", np.asarray(made, dtype=float)
    from sklearn.manifold import TSNE

    tool: Any = TSNE(init="pca", random_state=seed, perplexity=min(30.0, (n - 1) / 3), max_iter=500)
    return "t-SNE", np.asarray(tool.fit_transform(components), dtype=float)
