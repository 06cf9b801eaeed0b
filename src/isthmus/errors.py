"""Layer 0: every refusal names what happened, where, why, and what to do about it."""

from __future__ import annotations

import difflib
import errno
import importlib
import os
from collections.abc import Iterable
from pathlib import Path
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


class ModalityError(BackboneError):
    """A model of another kind of data."""


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


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """``"Did you mean 'coral'? "`` for the nearest of the known names, or nothing.

    >>> did_you_mean("corall", ["coral", "kmm"]), did_you_mean("xyz", ["coral"])
    ("Did you mean 'coral'? ", '')
    """
    folded = {item.casefold(): item for item in known}
    near = difflib.get_close_matches(str(name).casefold(), folded, n=1, cutoff=0.6)
    return f"Did you mean {folded[near[0]]!r}? " if near else ""


def plain_repr(value: Any) -> str:
    """`repr` without the type in which NumPy holds the value.

    >>> import numpy
    >>> plain_repr(numpy.str_("cat")), plain_repr(numpy.float64(0.5)), plain_repr("dog")
    ("'cat'", '0.5', "'dog'")
    """
    item = getattr(value, "item", None)
    return repr(item() if callable(item) and getattr(value, "ndim", 1) == 0 else value)


def near_path(path: str | Path) -> str:
    """``"Did you mean 'runs/heart'? "`` for the nearest name beside a path, or nothing."""
    path = Path(path)
    try:
        near = difflib.get_close_matches(path.name, [p.name for p in path.parent.iterdir()], n=1)
    except OSError:
        return ""
    return f"Did you mean {str(path.parent / near[0])!r}? " if near else ""


_OUT_OF_MEMORY = (
    "out of memory",
    "failed to allocate memory",
    "bad_alloc",
    "can't allocate memory",
    "unable to allocate",
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, in whichever words: Python's, NumPy's, torch's, ONNX Runtime's."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    if (
        not isinstance(error, RuntimeError | OSError)
        and "onnxruntime" not in type(error).__module__
    ):
        return False
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    said = str(error).lower()
    return any(words in said for words in _OUT_OF_MEMORY)


_WHERE_FROM = "Check the path; a relative one starts at the folder you are in"
# what the operating system refuses -> (why, remedy)
_SYSTEM = {
    errno.ENOSPC: (
        "the disk is full",
        "Free some space (`isthmus cache prune` deletes features that are unused), or set "
        "ISTHMUS_CACHE and --out to another disk",
    ),
    errno.EDQUOT: ("your disk quota is used up", "Free some space, or use another disk"),
    errno.EROFS: ("the disk is mounted read-only", "Give a folder that can be written"),
    errno.EACCES: (
        "permission denied",
        "Give yourself access (chmod u+rX for reading, u+w for writing), or another path",
    ),
    errno.EPERM: ("permission denied", "Give another path, or ask who owns this one"),
    errno.ENOENT: ("there is no such file or folder", _WHERE_FROM),
    errno.EISDIR: ("it is a folder", "Give a file"),
    errno.ENOTDIR: ("a part of the path is a file, not a folder", _WHERE_FROM),
    errno.ENAMETOOLONG: ("the name is too long", "Give a shorter path"),
    errno.EMFILE: ("too many files are open", "Raise the limit: ulimit -n 4096"),
    errno.ELOOP: ("its links lead in a circle", "Give the file itself"),
    errno.EIO: ("the disk reports an error", "Copy the data to another disk"),
}


def understood(error: BaseException) -> IsthmusError | None:
    """The refusal that an error of Python or of the system amounts to; None where it is unknown.

    Memory and disks run out in libraries that know nothing of this package. What is recognised
    here is no fault of the code, and its message needs no trace.
    """
    if is_out_of_memory(error):
        return IsthmusError(
            "there is not enough memory",
            why=" ".join(str(error).split())[:200] or "the system refused more",
            remedy="Close other programs, take fewer rows, a smaller --backbone, or set a budget "
            "with --time, which samples the source",
        )
    if isinstance(error, MissingExtraError):
        return error
    if isinstance(error, ModuleNotFoundError) and error.name and "isthmus" not in error.name:
        return MissingExtraError(
            f"the library {error.name.partition('.')[0]!r} is not installed",
            why="a part of this command needs it",
            remedy="`isthmus doctor` says which extra brings it",
        )
    if isinstance(error, OSError) and error.errno in _SYSTEM:
        why, remedy = _SYSTEM[error.errno]
        where = error.filename2 or error.filename
        return IsthmusError(
            "the path cannot be used",
            where="" if where is None else os.fsdecode(where) if not isinstance(where, int) else "",
            why=why,
            remedy=remedy,
        )
    return None
