"""Thirty-odd runs on honest data: what is said here is a false alarm."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from worlds import Data

CLEAN: dict[str, Callable[[Data], dict[str, Any]]] = {
    "signs 0-4": lambda d: d.images(),
    "signs 5-9": lambda d: d.images("56789"),
    "signs, other people": lambda d: d.images("01234", start=40),
    "signs 2-6, backwards": lambda d: dict(zip(("target", "source"), d.images("23456").values())),
    "signs, with test": lambda d: with_test(d),
    "speech, theo": lambda d: d.audio(),
    "speech, george": lambda d: d.audio(("lucas", "yweweler"), ("george",)),
    "speech, two to two": lambda d: d.audio(("george", "theo"), ("lucas", "nicolas"), takes=4),
    "speech 0-4": lambda d: d.audio(classes="01234", takes=10),
    "speech, jackson": lambda d: d.audio(("theo", "george"), ("jackson",)),
    "imdb to amazon": lambda d: d.texts(),
    "amazon to yelp": lambda d: d.texts("amazon", "yelp"),
    "yelp to imdb": lambda d: d.texts("yelp", "imdb"),
    "imdb to yelp": lambda d: d.texts("imdb", "yelp", start=200),
    "amazon to imdb": lambda d: d.texts("amazon", "imdb", start=300),
    "cleveland to hungary": lambda d: d.table(),
    "hungary to cleveland": lambda d: d.table("hungarian", "cleveland"),
    "cleveland to long beach": lambda d: d.table("cleveland", "va"),
    "long beach to hungary": lambda d: d.table("va", "hungarian"),
    "cleveland, other rows": lambda d: d.table("cleveland", "hungarian", seed=7),
    "mnist to usps": lambda d: d.features(),
    "usps to mnist": lambda d: d.features("usps", "mnist"),
    "mnist to usps, other rows": lambda d: d.features(seed=5),
    "surf amazon to dslr": lambda d: d.surf(),
    "surf webcam to caltech": lambda d: d.surf("webcam", "caltech"),
    "surf caltech to amazon": lambda d: d.surf("caltech", "amazon"),
    "coil 1 to 2": lambda d: d.coil(),
    "coil 2 to 1": lambda d: d.coil(2, 1),
    "moods of reviews to tweets": lambda d: d.regression(),
    "moods of films to news": lambda d: d.regression("movieReviewSnippets", "nytEditorialSnippets"),
    "moods of tweets to reviews": lambda d: d.regression("tweets", "amazonReviewSnippets"),
    "few shots of signs": lambda d: shots(d),
}


def with_test(data: Data) -> dict[str, Any]:
    """Labelled target rows in a table of their own, and a test set of yet other people."""
    found = data.images(source=10, target=8)
    more = data.folder() / "test"
    more.mkdir()
    data.write_signs(data.sign_rows(150, 12, "01234"), more)
    return {**found, "test": more}


def shots(data: Data) -> dict[str, Any]:
    """No source: five labels a class, tested on other people."""
    base = data.folder()
    for name, start, count in (("target", 0, 12), ("test", 120, 12)):
        (base / name).mkdir()
        data.write_signs(data.sign_rows(start, count, "56789"), base / name)
    return {"target": base / "target", "test": base / "test", "shots": 5}
