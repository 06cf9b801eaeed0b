"""Layer 5: feature processing, fitted on training rows: standardise, clip, PCA, whiten, L2."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import TransformerMixin

from isthmus.errors import DataError, UsageError
from isthmus.fit.base import Stateful, check_weights, require_shape, row_blocks
from isthmus.fit.rows import EXACT_UP_TO, scatter, weighted_mean
from isthmus.fit.threads import calm
from isthmus.types import Array

_OVERSAMPLE, _POWER = 16, 4  # randomised range finder (Halko, Martinsson, Tropp 2011)
FURTHEST = 5.0  # standard deviations that a column of a run may lie from its mean


class FeatureProcessor(TransformerMixin, Stateful):
    """Standardise -> clip -> PCA / whitening -> L2, block by block: no memory map is copied whole.

    Parameters
    ----------
    standardize : bool, default=True
        Subtract the mean and divide by the standard deviation of the training rows. A constant
        column is only centred (its divisor is 1).
    clip : float, optional
        Largest absolute value of a standardised feature; needs `standardize`. A column that hardly
        varies in one domain and does in another gives values of hundreds of deviations there, and
        a linear head follows them. Components and their variances are those of unclipped rows.
    pca : None, int or float, default=None
        Number of components, or the share of variance in (0, 1) to keep. Exact through the
        covariance (or the Gram matrix of the rows) up to 4,096 features or rows; beyond that
        randomised with a fixed seed, and only a number will do.
    whiten : bool, default=False
        Scale the components to unit variance. Without `pca` all components are kept whose
        variance exceeds 1e-10 of the largest.
    l2 : bool, default=False
        Divide each resulting row by its Euclidean length (a zero row stays zero).
    random_state : int, default=0
        Seed of the randomised PCA.

    Attributes
    ----------
    mean_, scale_ : (d,) float64
    components_ : (k, d) float64 or None
        Rows act on standardised features; the largest loading of each is positive.
    explained_variance_ : (k,) float64 or None
    constant_ : int
        Number of constant columns.
    n_features_out_ : int
    """

    _arrays = ("mean_", "scale_", "components_", "explained_variance_")
    _facts = ("constant_", "n_features_out_")

    def __init__(
        self,
        *,
        standardize: bool = True,
        clip: float | None = None,
        pca: int | float | None = None,
        whiten: bool = False,
        l2: bool = False,
        random_state: int = 0,
    ) -> None:
        self.standardize = standardize
        self.clip = clip
        self.pca = pca
        self.whiten = whiten
        self.l2 = l2
        self.random_state = random_state

    @calm
    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> FeatureProcessor:
        """Learn means, scales and components from the training rows.

        Parameters
        ----------
        X : (n, d) array-like or memory map
        y : ignored
        sample_weight : (n,) array-like, optional
            A weight of two is a row given twice (variances divide by the total weight).
        """
        if self.clip is not None and not (self.standardize and self.clip > 0):
            raise UsageError(
                f"clip={self.clip!r}, standardize={self.standardize}",
                why="it counts in standard deviations of the training rows",
                remedy="Give a positive number of deviations and standardize=True",
            )
        X = self._check_X(X, reset=True)
        weights = check_weights(sample_weight, X)
        self.mean_ = weighted_mean(X, weights)
        variance = _variance(X, self.mean_, weights)
        # Rounding alone gives a constant column a variance of about (eps * |mean|)^2.
        eps = np.finfo(X.dtype).eps if X.dtype != np.float16 else 1e-3
        constant = variance <= (4 * eps * np.abs(self.mean_)) ** 2
        self.constant_ = int(constant.sum())
        self.scale_ = np.ones(X.shape[1])
        if self.standardize:
            self.scale_ = np.where(constant, 1.0, np.sqrt(np.where(constant, 1.0, variance)))
        elif self.pca is None and not self.whiten:
            self.mean_ = np.zeros(X.shape[1])
        self.components_: Any = None
        self.explained_variance_: Any = None
        if self.pca is not None or self.whiten:
            self._fit_components(X, weights)
        self.n_features_out_ = self._n_features_out
        return self

    def transform(self, X: Any) -> Array:
        """(n, k) processed rows; float64 for float64 input, else float32."""
        X = self._check_X(X)
        out = np.empty(
            (len(X), self._n_features_out), np.float64 if X.dtype == np.float64 else np.float32
        )
        for part in row_blocks(len(X), X.shape[1]):
            out[part] = self.block(X[part])
        return out

    def block(self, rows: Array) -> Array:
        """Process rows that are known to be finite, without checks, in float64."""
        z = (rows.astype(np.float64) - self.mean_) / self.scale_
        if self.clip is not None:
            np.clip(z, -self.clip, self.clip, out=z)
        if self.components_ is not None:
            z = z @ self.components_.T
            if self.whiten:
                z /= np.sqrt(self.explained_variance_)
        if self.l2:
            length = np.linalg.norm(z, axis=1, keepdims=True)
            z /= np.where(length > 0, length, 1.0)
        return z

    def get_feature_names_out(self, input_features: Any = None) -> Array:
        """Names of the outputs: the inputs' own, or ``pca0, pca1, ...``."""
        from sklearn.utils.validation import _check_feature_names_in

        names = _check_feature_names_in(self, input_features)
        if self.components_ is None:
            return names
        return np.array([f"pca{i}" for i in range(len(self.components_))], dtype=object)

    @property
    def _n_features_out(self) -> int:
        return self.n_features_in_ if self.components_ is None else len(self.components_)

    def _fit_components(self, X: Array, weights: Array) -> None:
        n, d = X.shape
        wanted = self.pca
        if wanted is not None and (isinstance(wanted, bool) or wanted <= 0):
            raise UsageError(f"pca={wanted!r}", why="a count, or a share between 0 and 1")
        whole = wanted is None or isinstance(wanted, int | np.integer)
        if not whole and float(wanted) > 1:  # type: ignore[arg-type]
            raise UsageError(f"pca={wanted!r}", why="a share of variance lies between 0 and 1")
        if d <= EXACT_UP_TO and d <= n:
            S = scatter(X, self.mean_, weights) / weights.sum()
            values, V = np.linalg.eigh(S / self.scale_ / self.scale_[:, None])
            values, V = values[::-1], V[:, ::-1].T
        elif n <= EXACT_UP_TO:
            values, V = self._through_gram(X, weights)
        elif wanted is None or not whole:
            raise UsageError(
                f"pca={wanted!r}, whiten={self.whiten} on {n} rows of {d} features",
                why=f"beyond {EXACT_UP_TO} of both, the whole spectrum is not computed",
                remedy="Give the number of components: pca=256",
            )
        else:
            values, V = self._randomised(X, weights, int(wanted))
        values = np.maximum(values, 0.0)
        if not len(values) or values[0] <= 0:
            raise DataError(
                "all rows are equal: there are no components", where="X", why=f"n_samples={n}"
            )
        solid = int(np.sum(values > 1e-10 * values[0]))
        if wanted is None:
            k = solid
        elif whole:
            # A component without variance has no direction and cannot be whitened.
            k = min(int(wanted), solid)
        else:
            share = np.cumsum(values[:solid]) / values.sum()
            k = min(int(np.searchsorted(share, float(wanted) - 1e-12)) + 1, solid)
        V = V[:k] / np.linalg.norm(V[:k], axis=1, keepdims=True)
        sign = np.sign(V[np.arange(k), np.abs(V).argmax(axis=1)])
        self.components_ = np.ascontiguousarray(V * sign[:, None])
        self.explained_variance_ = values[:k].copy()

    def _through_gram(self, X: Array, weights: Array) -> tuple[Array, Array]:
        """Fewer rows than features: eigenvectors of the (n, n) Gram matrix."""
        n, d = X.shape
        root = np.sqrt(weights / weights.sum())[:, None]
        gram = np.zeros((n, n))
        columns = [slice(s, s + 1024) for s in range(0, d, 1024)]
        for c in columns:
            block = root * ((X[:, c].astype(np.float64) - self.mean_[c]) / self.scale_[c])
            gram += block @ block.T
        values, E = np.linalg.eigh(gram)
        values, E = values[::-1], E[:, ::-1]
        E = E[:, values > max(values[0], 0.0) * 1e-12]
        V = np.empty((E.shape[1], d))
        for c in columns:
            block = root * ((X[:, c].astype(np.float64) - self.mean_[c]) / self.scale_[c])
            V[:, c] = E.T @ block
        return values[: len(V)], V

    def _randomised(self, X: Array, weights: Array, k: int) -> tuple[Array, Array]:
        """Subspace iteration in block passes: Q <- orth(S Q)."""
        n, d = X.shape
        size = min(k + _OVERSAMPLE, n, d)
        Q = np.linalg.qr(np.random.default_rng(self.random_state).normal(size=(d, size)))[0]
        share = weights / weights.sum()
        for step in range(_POWER + 1):
            out = np.zeros((d, size))
            for part in row_blocks(n, d):
                block = (X[part].astype(np.float64) - self.mean_) / self.scale_
                out += block.T @ (share[part, None] * (block @ Q))
            if step == _POWER:
                values, R = np.linalg.eigh(Q.T @ out)
                return values[::-1][:k], (Q @ R[:, ::-1]).T[:k]
            Q = np.linalg.qr(out)[0]
        raise AssertionError("unreachable")

    def _check_state(self) -> None:
        d = self.n_features_in_
        require_shape(self.mean_, (d,), "mean_")
        require_shape(self.scale_, (d,), "scale_")
        if self.pca is not None or self.whiten:
            require_shape(self.components_, (self.n_features_out_, d), "components_")
            require_shape(self.explained_variance_, (self.n_features_out_,), "explained_variance_")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def processor_for(modality: str) -> FeatureProcessor:
    """What a run does to features before a head.

    Features of a network are scaled to unit length. Columns are standardised, and a value further
    than `FURTHEST` deviations from the mean of the training rows counts as that far (docs/log.md
    has the figures behind both).
    """
    if modality in ("table", "features"):
        return FeatureProcessor(standardize=True, clip=FURTHEST)
    return FeatureProcessor(standardize=False, l2=True)


def _variance(X: Array, mean: Array, weights: Array) -> Array:
    """(d,) weighted variance, block by block."""
    total = np.zeros(X.shape[1])
    for part in row_blocks(len(X), X.shape[1]):
        total += weights[part] @ (X[part].astype(np.float64) - mean) ** 2
    return total / weights.sum()


class LazyRows:
    """Rows of X as the processor makes them, made when a block is read.

    Looks like an (n, k) array to the block-wise fits of this package: `shape`, `dtype`, `len`, and
    row slices. It keeps processed features of a memory map out of memory.
    """

    ndim = 2
    is_checked_rows = True  # finite and of the right width: heads skip their own reading

    def __init__(self, X: Array, processor: FeatureProcessor) -> None:
        self.X, self.processor = X, processor
        self.shape = (len(X), processor.n_features_out_)
        self.dtype = np.dtype(np.float64 if X.dtype == np.float64 else np.float32)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> Any:
        if isinstance(rows, tuple):  # (rows, columns)
            return self[rows[0]][:, rows[1]]
        if isinstance(rows, int | np.integer):
            return self.processor.block(self.X[rows : rows + 1])[0].astype(self.dtype)
        picked = self.X[rows]
        out = np.empty((len(picked), self.shape[1]), dtype=self.dtype)
        for part in row_blocks(len(picked), self.X.shape[1]):
            out[part] = self.processor.block(picked[part])
        return out
