"""Layer 2: texts -> features with a transformer encoder; the tokenizer works without torch.

Each text is padded to the bucket of its own length, never to that of its neighbours, so a
feature depends on one text alone.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from isthmus import iofs
from isthmus.errors import BackboneError, DataError, need
from isthmus.types import Array, Modality

# Lengths in tokens. Review sentences have 15 tokens in the median: fine steps where most texts
# are, coarse ones where padding costs little.
BUCKETS = (8, 16, 24, 32, 40, 48, 64, 80, 96, 128, 160, 192, 224, 256, 320, 384, 448, 512)
# Characters looked at first per token of the limit. BERT gives up on words above 100 characters,
# so 64 covers ordinary text many times over, and a 10 MB file is not tokenized to its end.
_CHARS_PER_TOKEN = 64


def bucket(length: int, limit: int) -> int:
    """Smallest bucket that holds `length` tokens, at most `limit`.

    >>> bucket(9, 256), bucket(256, 256), bucket(95, 100), bucket(97, 100), bucket(600, 2048)
    (16, 256, 96, 100, 768)
    """
    for size in BUCKETS:
        if length <= size:
            return min(size, limit)
    return min(-(-length // 256) * 256, limit)


@dataclass(frozen=True)
class Tokens:
    """One tokenized text: the ids that the network sees, and what was lost on the way."""

    ids: tuple[int, ...]
    truncated: bool
    unknown: int


class Tokenizer:
    """A ``tokenizer.json`` with a length limit; safe to call from several threads.

    Parameters
    ----------
    tokenizer : tokenizers.Tokenizer
        Its own padding and truncation settings are overruled.
    limit : int
        Most tokens per text, special tokens included.
    prefix : str
        Put before every text (the instruction that some models were trained with).
    """

    def __init__(self, tokenizer: Any, *, limit: int, prefix: str = "") -> None:
        tokenizer.no_padding()
        tokenizer.enable_truncation(limit)
        self._tokenizer = tokenizer
        self._limit = limit
        self._prefix = prefix
        self._unknown = _unknown_id(tokenizer)
        special = tokenizer.encode("").ids
        self.empty = len(special)

    @classmethod
    def read(cls, path: Path, *, limit: int, prefix: str = "", digest: str | None = None) -> Any:
        """From ``tokenizer.json``, its digest checked where one is given."""
        tokenizers = need("tokenizers", extra="text")
        iofs.check_digest(path, digest)
        try:
            return cls(tokenizers.Tokenizer.from_file(str(path)), limit=limit, prefix=prefix)
        except DataError:
            raise
        except Exception as error:  # the Rust library raises bare Exception
            raise BackboneError(
                "the tokenizer cannot be read", where=str(path), why=str(error)[:200]
            ) from None

    @property
    def mask_id(self) -> int | None:
        """Id of the mask token; None where the tokenizer has none."""
        known = (self._tokenizer.token_to_id(token) for token in ("[MASK]", "<mask>"))
        return next((found for found in known if found is not None), None)

    def to_json(self) -> str:
        """The content of ``tokenizer.json``, for use elsewhere."""
        return str(self._tokenizer.to_str())

    def __call__(self, text: str) -> Tokens:
        """Tokenize one text.

        Raises
        ------
        DataError
            If it is not a text, or holds nothing the tokenizer can read.
        """
        if isinstance(text, bytes):
            try:
                text = text.decode()
            except UnicodeDecodeError as error:
                raise DataError(
                    "the text is not UTF-8", why=str(error), remedy="Say --encoding"
                ) from None
        if not isinstance(text, str):
            raise DataError(f"expected a text, got {type(text).__name__}")
        if not text.strip():
            raise DataError("the text is empty", remedy="Remove the row or fill it in")
        try:
            encoding, cut = self._encode(text)
        except (TypeError, UnicodeEncodeError):
            raise DataError(
                "the text holds halves of characters (lone surrogates)",
                why="it was decoded with the wrong encoding",
                remedy="Read the file again with --encoding",
            ) from None
        ids = tuple(encoding.ids)
        if len(ids) <= self.empty:
            raise DataError(
                "the text holds no readable character", why="only control or invisible characters"
            )
        unknown = 0 if self._unknown is None else ids.count(self._unknown)
        return Tokens(ids, cut or bool(encoding.overflowing), unknown)

    def _encode(self, text: str) -> tuple[Any, bool]:
        """Encoding and whether text beyond it was never looked at.

        A long text is cut between two words behind the last token that can matter; the result is
        that of the whole text, which takes seconds for megabytes.
        """
        look = _CHARS_PER_TOKEN * self._limit
        while look < len(text):
            end = max(text.rfind(" ", 0, look), text.rfind("\n", 0, look))
            if end > 0:
                encoding = self._tokenizer.encode(self._prefix + text[:end])
                if encoding.overflowing:
                    return encoding, True
            look *= 4
        return self._tokenizer.encode(self._prefix + text), False


def _unknown_id(tokenizer: Any) -> int | None:
    """Id of the token for unknown pieces; byte-level tokenizers have none."""
    name = getattr(tokenizer.model, "unk_token", None)
    if name is None:
        name = next((t for t in ("[UNK]", "<unk>") if tokenizer.token_to_id(t) is not None), None)
    return None if name is None else tokenizer.token_to_id(name)


@dataclass
class TextBackbone:
    """Texts -> features.

    Made by `isthmus.backbone.load_backbone`; the tokenizer and the network are opened when they
    are first needed, so a run whose features are all stored opens neither. `open_module` gives the
    torch network itself; ``compiled(build, fingerprint)`` what such a network computes.

    Attributes
    ----------
    truncated : int
        Texts cut at the length limit so far (each call of `preprocess` counts).
    unknown_rate : float
        Share of tokens so far that the vocabulary does not know.
    """

    name: str
    num_features: int
    batch_size: int
    recipe: dict[str, Any]
    fingerprint: str
    reference: dict[str, Any]
    licence: str
    open_tokenizer: Callable[[], Tokenizer]
    open_network: Callable[[], Callable[[Array], Array]]
    modality: Modality = "text"
    open_module: Callable[[], Any] | None = field(default=None, repr=False)
    compiled: Callable[..., Callable[[Array], Array]] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self.texts = self.truncated = self.tokens = self.unknown = 0

    @property
    def unknown_rate(self) -> float:
        return self.unknown / self.tokens if self.tokens else 0.0

    @cached_property
    def tokenizer(self) -> Tokenizer:
        return self.open_tokenizer()

    @cached_property
    def _network(self) -> Callable[[Array], Array]:
        return self.open_network()

    def tokenize(self, text: str) -> Tokens:
        """Ids, whether the text was cut, unknown tokens; counts nothing."""
        with self._lock:
            tokenizer = self.tokenizer
        return tokenizer(text)

    def preprocess(self, raw: str) -> Array:
        """(2, L) int64: token ids and attention mask, padded to the bucket of this text.

        Raises
        ------
        DataError
            For an empty or unreadable text.
        """
        tokens = self.tokenize(raw)
        made = np.zeros((2, bucket(len(tokens.ids), self.recipe["max_tokens"])), dtype=np.int64)
        made[0] = self.recipe["pad_id"]
        made[0, : len(tokens.ids)] = tokens.ids
        made[1, : len(tokens.ids)] = 1
        with self._lock:
            self.texts += 1
            self.truncated += tokens.truncated
            self.tokens += len(tokens.ids)
            self.unknown += tokens.unknown
        return made

    def __call__(self, batch: Array) -> Array:
        """(n, 2, L) -> (n, num_features) float32."""
        with self._lock:
            network = self._network
        features = network(np.ascontiguousarray(batch, dtype=np.int64))
        if features.shape != (len(batch), self.num_features):
            raise BackboneError(
                f"the network gave {features.shape[1:]} features, config.json says "
                f"{self.num_features}",
                where=self.name,
            )
        return features


def example(batch_size: int, length: int, *, vocabulary: int, pad_id: int) -> Array:
    """(n, 2, L) int64 plausible ids, every row of another length: for export and parity."""
    ids = np.random.default_rng(0).integers(0, vocabulary, size=(batch_size, length))
    lengths = np.linspace(2, length, batch_size).round().astype(int)
    mask = np.arange(length) < lengths[::-1, None]
    return np.stack([np.where(mask, ids, pad_id), mask], axis=1).astype(np.int64)
