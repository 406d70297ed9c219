"""Whitening: linear maps after which the features of data are uncorrelated, with variance 1."""

import numpy as np
import numpy.typing as npt

from lamina.image._arrays import Array, finite
from lamina.ops import _check as check


class PCAWhitening:
    """y = diag(1/sqrt(l + epsilon)) U^T (x - mean), with the principal axes U and their variances l.

    epsilon: added to the variances, so that those near 0, which are mostly noise, are not blown up. An axis
    along which the data do not vary, as where pixels are constant, gives 0 whatever epsilon is. components:
    how many axes to keep, the greatest variances first: a number, a share of the variance in (0, 1), as
    0.99, or None for all.

    After `fit`: `mean` (D,), `axes` (D, K), the first the most important, each with its largest element
    positive, and `variances` (K,), in float64. Source: A. Ng and others, UFLDL tutorial, 2011, chapter PCA
    and whitening.
    """

    mean: npt.NDArray[np.float64]
    axes: npt.NDArray[np.float64]
    variances: npt.NDArray[np.float64]

    def __init__(self, *, components: int | float | None = None, epsilon: float = 0.0) -> None:
        who = type(self).__name__
        if isinstance(components, float):
            if not 0 < components < 1:
                raise ValueError(f"{who}: components as a share must lie in (0, 1), got {components}")
        elif components is not None:
            components = check.integer(who, "components", components, 1)
        self.components, self.epsilon = components, check.number(who, "epsilon", epsilon)

    def fit(self, x: npt.ArrayLike) -> "PCAWhitening":
        """Learn mean and axes from x (N, ...), N at least 2. Returns itself.

        ValueError for more components than features, and for x without any variance.
        """
        flat = self._flat(x)
        who, (count, width) = type(self).__name__, flat.shape
        if count < 2:
            raise ValueError(f"{who}: x has shape {np.shape(x)}: one sample has no variance")
        if isinstance(self.components, int) and self.components > width:
            raise ValueError(f"{who}: {self.components} components of x with {width} features")
        mean = flat.mean(axis=0, dtype=np.float64)
        centered = flat - mean
        variances, axes = np.linalg.eigh(centered.T @ centered / count)
        variances, axes = variances[::-1], axes[:, ::-1]
        # Below this a variance is the rounding of the others, or of the mean.
        noise = np.finfo(np.float64).eps * (max(count, width) * variances[0] + 4 * float(mean @ mean))
        variances = np.where(variances > noise, variances, 0.0)
        if not variances[0] > 0:
            raise ValueError(f"{who}: all samples of x are equal: there is nothing to whiten")
        keep = self._keep(variances)
        largest = axes[np.abs(axes).argmax(axis=0), np.arange(width)]
        self.mean, self.variances = mean, variances[:keep]
        self.axes = (axes * np.where(largest < 0, -1, 1))[:, :keep]
        return self

    def _keep(self, variances: npt.NDArray[np.float64]) -> int:
        if self.components is None:
            return len(variances)
        if isinstance(self.components, float):
            shares = np.cumsum(variances) / variances.sum()
            return int(np.searchsorted(shares, self.components)) + 1
        return int(self.components)

    def transform(self, x: npt.ArrayLike) -> Array:
        """Whiten x (N, ...) -> (N, K), in the dtype of x."""
        flat = self._fitted(x)
        return np.asarray(((flat - self.mean) @ self.axes) * self._scales(), flat.dtype)

    def inverse(self, y: npt.ArrayLike) -> Array:
        """The data (N, D) that `transform` makes y (N, K) of, as far as the axes kept go."""
        y = finite(type(self).__name__, "y", y, (2,), "(N, K)")
        self._fitted(None)
        if y.shape[1] != len(self.variances):
            raise ValueError(
                f"{type(self).__name__}: y has {y.shape[1]} components {check.shown(y.shape)}, "
                f"expected {len(self.variances)}"
            )
        return np.asarray((y * self._lengths()) @ self.axes.T + self.mean, y.dtype)

    def _lengths(self) -> npt.NDArray[np.float64]:
        return np.where(self.variances > 0, np.sqrt(self.variances + self.epsilon), 0.0)

    def _scales(self) -> npt.NDArray[np.float64]:
        lengths = self._lengths()
        return np.divide(1.0, lengths, out=np.zeros_like(lengths), where=lengths > 0)

    def _flat(self, x: npt.ArrayLike) -> Array:
        array = finite(type(self).__name__, "x", x, tuple(range(2, 33)), "(N, ...)")
        return array.reshape(len(array), -1)

    def _fitted(self, x: npt.ArrayLike | None) -> Array:
        if not hasattr(self, "axes"):
            raise RuntimeError(f"{type(self).__name__}: call fit first")
        if x is None:
            return self.mean
        flat = self._flat(x)
        if flat.shape[1] != len(self.mean):
            raise ValueError(
                f"{type(self).__name__}: x has {flat.shape[1]} features {check.shown(np.shape(x))}, "
                f"but fit saw {len(self.mean)}"
            )
        return flat

    def __repr__(self) -> str:
        return f"{type(self).__name__}(components={self.components!r}, epsilon={self.epsilon!r})"


class ZCAWhitening(PCAWhitening):
    """y = U diag(1/sqrt(l + epsilon)) U^T (x - mean): the whitening that changes the data least.

    `transform` and `inverse` keep the shape of what they are given. Everything else is as in `PCAWhitening`.
    """

    def transform(self, x: npt.ArrayLike) -> Array:
        """Whiten x (N, ...), in its shape and dtype."""
        y = super().transform(x)
        return np.asarray(y @ self.axes.T, y.dtype).reshape(np.shape(x))

    def inverse(self, y: npt.ArrayLike) -> Array:
        """The data that `transform` makes y (N, ...) of, as far as the axes kept go."""
        flat = self._fitted(y)
        return super().inverse(np.asarray(flat @ self.axes, flat.dtype)).reshape(np.shape(y))
