"""Features without any pretraining: pixels, word counts, spectra, columns.

They feed the no-transfer baseline, the figure that a pretrained backbone must beat.
"""

from __future__ import annotations

import functools
import os
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from isthmus.data.samples import FrameItems, Problem, Samples
from isthmus.errors import DataError, UsageError, need
from isthmus.types import Array

PIXELS = 32
COMPONENTS = 256
RATE = 16_000  # Hz
FRAME, HOP, MELS = 400, 160, 40  # 25 ms, 10 ms
MAX_CATEGORIES = 50  # one column each; rarer ones share a column, so an id column cannot explode

# words of two letters or more, and single characters of scripts that are written without spaces
_TOKEN = (
    r"(?u)[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\u0e00-\u0e7f]"
    r"|[^\W\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\u0e00-\u0e7f]{2,}"
)


def pixels(raw: Any, *, where: str = "") -> Array:
    """One image as (3072,) float32: 32 x 32 RGB in 0..1, squeezed without regard to its shape."""
    from isthmus.data.images import decode

    image = need("PIL.Image", extra="image")
    picture = image.fromarray(np.ascontiguousarray(decode(raw, where=where)))
    small = picture.resize((PIXELS, PIXELS), image.Resampling.BOX)
    return np.asarray(small, dtype=np.float32).ravel() / 255


def spectrum(raw: Any, *, where: str = "") -> Array:
    """One recording as (80,) float32: mean and spread over time of 40 log-mel bands at 16 kHz."""
    from isthmus.data.audio import decode

    wave = np.asarray(decode(raw, rate=RATE, where=where), dtype=np.float32)
    if len(wave) < FRAME:
        wave = np.pad(wave, (0, FRAME - len(wave)))
    count = 1 + (len(wave) - FRAME) // HOP
    window = np.hanning(FRAME).astype(np.float32)
    filters = _mel_filters()
    total, square = np.zeros(MELS), np.zeros(MELS)
    for start in range(0, count, 2000):  # 20 s at a time: an hour's recording stays small
        stop = min(start + 2000, count)
        part = wave[start * HOP : (stop - 1) * HOP + FRAME]
        frames = np.lib.stride_tricks.sliding_window_view(part, FRAME)[::HOP] * window
        power = np.abs(np.fft.rfft(frames, 512, axis=1)) ** 2
        bands = np.log(power @ filters + 1e-6)
        total += bands.sum(axis=0)
        square += (bands**2).sum(axis=0)
    mean = total / count
    spread = np.sqrt(np.maximum(square / count - mean**2, 0))
    return np.concatenate([mean, spread]).astype(np.float32)


@functools.cache
def _mel_filters() -> Array:
    """(257, 40) triangular filters, equally spaced on the mel scale from 60 Hz to 8 kHz."""

    def mel(hertz: Any) -> Any:
        return 2595 * np.log10(1 + np.asarray(hertz) / 700)

    bins = mel(np.arange(257) * RATE / 512)
    edges = np.linspace(mel(60), mel(RATE / 2), MELS + 2)
    rising = (bins[:, None] - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins[:, None]) / (edges[2:] - edges[1:-1])
    return np.maximum(0, np.minimum(rising, falling))


class Decoded:
    """Raw rows that were read before, so that folds over the same files decode them once.

    Rows are known by the origin and the name of their data set.

    Parameters
    ----------
    limit : int, default=512 MiB
        Bytes kept; what comes after is read again each time.
    """

    def __init__(self, limit: int = 512 << 20) -> None:
        self.limit, self.size = limit, 0
        self._kept: dict[tuple[str, str], Any] = {}

    def get(self, part: Samples, row: int, read: Callable[[], Any]) -> Any:
        """The row's value, read if it is not kept; errors are not kept."""
        key = (part.origin, part.ids[row])
        if key not in self._kept:
            value = read()
            self.size += getattr(value, "nbytes", len(value))
            if self.size > self.limit:
                return value
            self._kept[key] = value
        return self._kept[key]


class RawFeatures:
    """Raw features of a modality, fitted on training rows only.

    ========  ====================================================================================
    image     32 x 32 RGB pixels in 0..1; above 256 training rows their 256 main components
    text      TF-IDF of words and word pairs, sublinear counts; sparse
    audio     mean and spread over time of 40 log-mel bands, standardised
    table     numbers (median-imputed, standardised) and one-hot categories (the 50 commonest)
    features  the features themselves, standardised
    ========  ====================================================================================

    Parameters
    ----------
    workers : int, optional
        Threads that decode; default the number of CPUs, 8 at most.
    decoded : Decoded, optional
        Rows read by earlier calls on the same data.
    """

    def __init__(self, *, workers: int | None = None, decoded: Decoded | None = None) -> None:
        self.workers, self.decoded = workers, decoded

    @property
    def words(self) -> str:
        """What the features are, in words."""
        return {
            "image": f"{PIXELS} x {PIXELS} raw pixels",
            "text": "TF-IDF of words and word pairs",
            "audio": f"mean and spread of {MELS} log-mel bands",
            "table": "raw columns, one-hot categories",
            "features": "the given features",
        }[self.modality_]

    def fit_transform(self, parts: Sequence[Samples]) -> tuple[Any, Array, list[Problem]]:
        """Fit on all parts together; see `transform` for what is returned.

        Raises
        ------
        DataError
            If there is no usable row, or parts differ in modality or columns.
        """
        kinds = {part.modality for part in parts}
        if len(kinds) != 1:
            raise DataError(f"raw features of {len(kinds)} modalities: {sorted(kinds)}")
        self.modality_ = kinds.pop()
        raw, rows, problems = self._collect(parts)
        if len(rows) == 0:
            raise DataError("no training row can be read", where=parts[0].origin)
        self.encoder_ = self._encoder(raw)
        try:
            return self._encode(self.encoder_.fit_transform, raw), rows, problems
        except ValueError as error:  # TF-IDF of texts without a single word
            raise DataError(
                "raw features cannot be computed", where=parts[0].origin, why=str(error)
            ) from None

    def transform(self, samples: Samples) -> tuple[Any, Array, list[Problem]]:
        """Features of new rows.

        Returns
        -------
        features : (m, d) ndarray or sparse matrix
        rows : (m,) int
            Positions of the rows that could be read; those of several parts follow each other.
        problems : list of Problem
            The others.
        """
        if samples.modality != self.modality_:
            raise DataError(f"fitted on {self.modality_}, given {samples.modality}")
        raw, rows, problems = self._collect([samples])
        if len(rows) == 0:
            raise DataError("no row can be read", where=samples.origin)
        return self._encode(self.encoder_.transform, raw), rows, problems

    def _collect(self, parts: Sequence[Samples]) -> tuple[Any, Array, list[Problem]]:
        """Raw values of all readable rows, their positions, and the rows set aside."""
        if self.modality_ == "table":
            return self._frame(parts), np.arange(sum(map(len, parts))), []
        reader: Callable[..., Any] = {
            "image": pixels,
            "audio": spectrum,
            "text": _text,
            "features": _vector,
        }[self.modality_]
        values: list[Any] = []
        rows: list[int] = []
        problems: list[Problem] = []
        offset = 0

        def read(job: tuple[Samples, int]) -> Any:
            part, row = job

            def fresh() -> Any:
                return reader(part.items[row], where=part.ids[row])

            try:
                return fresh() if self.decoded is None else self.decoded.get(part, row, fresh)
            except DataError as error:
                return Problem(
                    error.where or part.ids[row],
                    f"{error.what} ({error.why})" if error.why else error.what,
                    error.remedy,
                    _label(part, row),
                )

        threads = self.workers or min(8, os.cpu_count() or 1)
        with ThreadPoolExecutor(threads) as pool:
            for part in parts:
                for row, value in enumerate(pool.map(read, ((part, r) for r in range(len(part))))):
                    if isinstance(value, Problem):
                        problems.append(value)
                    else:
                        values.append(value)
                        rows.append(offset + row)
                offset += len(part)
        if self.modality_ != "text":
            widths = {len(value) for value in values}
            if len(widths) > 1:
                raise DataError(f"feature rows of {len(widths)} widths: {sorted(widths)[:5]}")
            values = np.stack(values) if values else np.zeros((0, 0), np.float32)  # type: ignore
        return values, np.array(rows, dtype=np.int64), problems

    def _frame(self, parts: Sequence[Samples]) -> Any:
        import pandas as pd

        frames = []
        for part in parts:
            if not isinstance(part.items, FrameItems):
                raise DataError("a table without columns", where=part.origin)
            frames.append(part.items.frame)
        columns = getattr(self, "columns_", None)
        if columns is None:
            columns = list(frames[0].columns)
        for frame, part in zip(frames, parts, strict=True):
            missing = [str(c) for c in columns if c not in frame.columns]
            if missing:
                raise DataError(f"the columns {missing} are missing", where=part.origin)
        self.columns_ = columns
        return pd.concat([frame[columns] for frame in frames], ignore_index=True)

    def _encoder(self, raw: Any) -> Any:
        """The unfitted transformer of this modality."""
        from sklearn.preprocessing import FunctionTransformer, StandardScaler

        if self.modality_ == "text":
            from sklearn.feature_extraction.text import TfidfVectorizer

            return TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=_TOKEN)
        if self.modality_ == "table":
            self.numeric_ = [c for c in raw.columns if _is_numeric(raw[c])]
            return _table_encoder(
                [str(c) for c in self.numeric_],
                [str(c) for c in raw.columns if c not in set(self.numeric_)],
            )
        if self.modality_ != "image":
            return StandardScaler()
        if len(raw) <= COMPONENTS:
            return FunctionTransformer()
        from sklearn.decomposition import PCA

        return PCA(COMPONENTS, random_state=0)

    def _encode(self, function: Callable[[Any], Any], raw: Any) -> Any:
        if self.modality_ == "table":
            raw = self._plain(raw)
        with warnings.catch_warnings():
            # a category unseen in training is a row of zeros, which is what is wanted
            warnings.filterwarnings("ignore", "Found unknown categories", UserWarning)
            return function(raw)

    def _plain(self, frame: Any) -> Any:
        """Columns as float64 or as strings with missing values named, whatever the dtype was."""
        import pandas as pd

        out = {}
        numeric = set(self.numeric_)
        for column in self.columns_:
            series = frame[column]
            if column in numeric:
                if pd.api.types.is_datetime64_any_dtype(series):
                    days = (series - pd.Timestamp(0, tz=series.dt.tz)) / pd.Timedelta(days=1)
                    out[str(column)] = days.to_numpy(np.float64)
                    continue
                numbers = pd.to_numeric(series, errors="coerce")
                values = numbers.to_numpy(np.float64, na_value=np.nan)
                out[str(column)] = np.where(np.isfinite(values), values, np.nan)
            else:
                text = series.astype(object).where(series.notna(), None)
                out[str(column)] = np.array(
                    ["(missing)" if v is None else str(v) for v in text], dtype=object
                )
        return pd.DataFrame(out)


def _table_encoder(numeric: list[str], categories: list[str]) -> Any:
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    if not numeric and not categories:
        raise UsageError("a table without feature columns")
    return ColumnTransformer(
        [
            (
                "numbers",
                make_pipeline(
                    SimpleImputer(strategy="median", keep_empty_features=True), StandardScaler()
                ),
                numeric,
            ),
            (
                "categories",
                OneHotEncoder(
                    handle_unknown="infrequent_if_exist",
                    max_categories=MAX_CATEGORIES,
                    sparse_output=False,
                ),
                categories,
            ),
        ]
    )


def _is_numeric(series: Any) -> bool:
    import pandas as pd

    if pd.api.types.is_datetime64_any_dtype(series):
        return True
    if isinstance(series.dtype, pd.CategoricalDtype):
        return False
    return bool(pd.api.types.is_numeric_dtype(series))


def _text(raw: Any, *, where: str = "") -> str:
    if not isinstance(raw, str):
        raise DataError(f"a text is expected, not {type(raw).__name__}", where=where)
    return raw


def _vector(raw: Any, *, where: str = "") -> Array:
    try:
        values = np.asarray(raw, dtype=np.float64).ravel()
    except (TypeError, ValueError):
        raise DataError("the features are not numbers", where=where) from None
    if not np.isfinite(values).all():
        raise DataError("a feature is NaN or infinite", where=where, remedy="Impute it first")
    return values


def _label(part: Samples, row: int) -> str | None:
    if part.labels is None or part.task != "classification":
        return None
    return part.labels[row]
