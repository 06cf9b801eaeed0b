"""Layer 2: the name of a feature row: a digest of everything that can change it, nothing else.

A key covers the raw item (bytes, text or array) and the backbone. Path, modification time, order,
batch-mates and the number of workers never enter, so a renamed or copied file is still a hit.
"""

from __future__ import annotations

import hashlib
import re
from numbers import Number
from typing import Any

import numpy as np

from isthmus import iofs
from isthmus.backbone.base import Backbone
from isthmus.errors import BackboneError, DataError
from isthmus.types import Array

# Raise it whenever this engine would give other features for the same item and backbone.
ENGINE_VERSION = 1
KEY_BYTES = 32


def item_digest(raw: Any) -> bytes:
    """SHA-256 of a raw item with its type, so that the text ``"a"`` is not the bytes ``b"a"``.

    Parameters
    ----------
    raw : bytes, str, ndarray, number, or a tuple of these
        Arrays count with dtype, shape and values, whatever their memory layout.

    Returns
    -------
    bytes
        32 bytes.

    Raises
    ------
    DataError
        If the item is of another type, or an array holds Python objects.
    """
    return _digest(raw).digest()


def _digest(raw: Any) -> Any:
    if isinstance(raw, bytes | bytearray | memoryview):
        digest = hashlib.sha256(b"bytes\0")
        digest.update(raw)
    elif isinstance(raw, str):
        digest = hashlib.sha256(b"str\0")
        digest.update(raw.encode("utf-8", "surrogatepass"))
    elif isinstance(raw, np.ndarray | np.generic):
        array = np.asarray(raw)
        if array.dtype.hasobject:
            raise DataError(
                "the array holds Python objects",
                why="only numbers, text and bytes have a stable digest",
                remedy="Convert it to a numeric dtype",
            )
        digest = hashlib.sha256(f"array\0{array.dtype.str}\0{array.shape}\0".encode())
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    elif isinstance(raw, tuple | list):
        digest = hashlib.sha256(f"tuple\0{len(raw)}\0".encode())
        for part in raw:
            digest.update(_digest(part).digest())
    elif isinstance(raw, Number):
        digest = hashlib.sha256(f"number\0{type(raw).__name__}\0{raw!r}".encode())
    else:
        raise DataError(
            f"an item of type {type(raw).__name__} cannot be used",
            why="items are bytes, texts or arrays",
        )
    return digest


class KeyMaker:
    """Keys of one backbone: ``maker(raw) -> 32 bytes``.

    Parameters
    ----------
    backbone : Backbone
        Its fingerprint stands for weights, recipe, layer, pooling and code version. Recipe,
        modality and width are added once more: a leaf that forgot one cannot mix two spaces.

    Raises
    ------
    BackboneError
        If the recipe is not plain JSON: such a backbone has no stable name.
    """

    def __init__(self, backbone: Backbone) -> None:
        try:
            salt = iofs.canonical_json(
                [
                    ENGINE_VERSION,
                    str(backbone.fingerprint),
                    str(backbone.modality),
                    int(backbone.num_features),
                    backbone.recipe,
                ]
            )
        except (TypeError, ValueError) as error:
            raise BackboneError(
                "the backbone's recipe is not plain JSON",
                where=str(backbone.name),
                why=str(error),
                remedy="Use text, finite numbers, lists and dictionaries only",
            ) from None
        self._salt = hashlib.sha256(salt).digest()

    def __call__(self, raw: Any) -> bytes:
        return hashlib.sha256(self._salt + item_digest(raw)).digest()


def space_name(fingerprint: str) -> str:
    """Folder name of a backbone's features: the fingerprint, or its digest if it is no plain name.

    >>> space_name("0a1b"), space_name("../x") == space_name("../x"), len(space_name("../x"))
    ('0a1b', True, 64)
    """
    if re.fullmatch(r"[0-9A-Za-z_-]{1,100}", fingerprint):
        return fingerprint
    return iofs.sha256_bytes(fingerprint.encode())


def as_words(keys: Array) -> Array:
    """(n, 32) uint8 keys as (n,) fixed 32-byte words that NumPy sorts and searches (memcmp)."""
    keys = np.ascontiguousarray(keys, dtype=np.uint8)
    return keys.view(f"S{KEY_BYTES}").reshape(-1)
