"""Layer 8: the four real cases of `isthmus demo`, from the data inside the package."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from isthmus.errors import UsageError, did_you_mean

DATA = Path(__file__).parent / "data"


@dataclass(frozen=True)
class DemoCase:
    """One case: what a person has, what they want, and the call that does it.

    Parameters
    ----------
    name : str
    story : str
        Two sentences for the screen.
    call : dict
        Arguments of `isthmus.transfer`.
    """

    name: str
    story: str
    call: dict[str, Any] = field(default_factory=dict)

    @property
    def command(self) -> str:
        """The same call as a command line."""
        words = ["isthmus transfer"]
        for key, value in self.call.items():
            text = value.name if isinstance(value, Path) else str(value)
            words += [f"--{key.replace('_', '-')}", shlex.quote(text)]
        return " ".join(words)


CASES = (
    DemoCase(
        "signs",
        "Photos of hand signs, 5 labelled ones a class and nothing else. The pretrained network "
        "has never seen a hand sign; raw pixels are the alternative.",
        {"target": DATA / "signs", "shots": 5},
    ),
    DemoCase(
        "reviews",
        "Reviews of one site are labelled, those of another are not. Amazon and Yelp teach, "
        "film reviews are predicted.",
        {
            "source": DATA / "reviews" / "sentences.csv",
            "source_domain": "amazon,yelp",
            "target_domain": "imdb",
        },
    ),
    DemoCase(
        "spoken digits",
        "Four speakers are labelled, two others are never heard in training.",
        {
            "source": DATA / "spoken_digits",
            "source_domain": "george,jackson,lucas,nicolas",
            "target_domain": "theo,yweweler",
            "label": "{label}_{domain}_{take}",
        },
    ),
    DemoCase(
        "heart",
        "Heart disease: 303 labelled patients of one hospital, 10 + 10 labelled ones of another. "
        "Does the first hospital help the second?",
        {
            "source": DATA / "heart" / "heart.csv",
            "source_domain": "cleveland",
            "target_domain": "hungarian",
            "label": "num>0",
            "shots": 10,
        },
    ),
)


def find(name: str) -> DemoCase:
    """The case of that name.

    Raises
    ------
    UsageError
        If there is none; the names are listed.
    """
    for case in CASES:
        if case.name.replace(" ", "-") == name.replace(" ", "-").replace("_", "-"):
            return case
    raise UsageError(
        f"no demo case {name!r}",
        where="--case",
        remedy=did_you_mean(name, [c.name for c in CASES])
        + "There are: "
        + ", ".join(c.name for c in CASES),
    )
