"""Layer 0: every refusal names what happened, where, why, and what to do about it."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any


class IsthmusError(Exception):
    """Base of all refusals of this library.

    Parameters
    ----------
    what : str
        The fact, short: ``"the image is truncated"``.
    where : str, optional
        File, ``file:row``, column or argument that it concerns.
    why : str, optional
        The cause, or the rule that was broken.
    remedy : str, optional
        What the user can do; a command where one exists.
    """

    def __init__(self, what: str, *, where: str = "", why: str = "", remedy: str = "") -> None:
        self.what, self.where, self.why, self.remedy = what, where, why, remedy
        super().__init__(str(self))

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        if self.why:
            text += f" ({self.why})"
        return f"{text}. {self.remedy}" if self.remedy else text

    def __reduce__(self) -> tuple[Any, ...]:  # keyword-only arguments do not survive the default
        return _rebuild, (type(self), self.what, self.where, self.why, self.remedy)

    def as_dict(self) -> dict[str, str]:
        """JSON form for ``--format json``."""
        return {
            "error": type(self).__name__,
            "what": self.what,
            "where": self.where,
            "why": self.why,
            "remedy": self.remedy,
        }


def _rebuild(cls: type[IsthmusError], what: str, where: str, why: str, remedy: str) -> IsthmusError:
    return cls(what, where=where, why=why, remedy=remedy)


class UsageError(IsthmusError, ValueError):
    """The call itself is wrong: unknown option, contradictory arguments."""


class DataError(IsthmusError, ValueError):
    """A file, row or column cannot be used."""


class BackboneError(IsthmusError):
    """A pretrained model cannot be found, verified or run."""


class LicenseError(BackboneError):
    """The weights' licence needs the user's explicit consent."""


class StoreError(IsthmusError):
    """The feature store is damaged or cannot be written."""


class BundleError(IsthmusError):
    """A saved model is damaged, hostile or of another version."""


class MissingExtraError(IsthmusError, ImportError):
    """An optional library is not installed."""


def need(module: str, *, extra: str) -> ModuleType:
    """Import an optional library or say which extra brings it.

    Parameters
    ----------
    module : str
        Dotted import name, e.g. ``"timm"``.
    extra : str
        The extra of this package that installs it.

    Raises
    ------
    MissingExtraError
        If the module itself is missing. A failure *inside* the module is not hidden.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not (module == error.name or module.startswith(error.name + ".")):
            raise
        raise MissingExtraError(
            f"the library {error.name!r} is not installed",
            why=f"it belongs to the extra {extra!r}",
            remedy=f"Install it: pip install 'isthmus[{extra}]'",
        ) from None
