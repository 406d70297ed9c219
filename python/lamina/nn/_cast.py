"""What layers and losses do with arrays that they are given: integers become floats, masks are refused."""

from typing import Any

import numpy as np

from lamina.autograd import Tensor


def floating(x: Tensor, dtype: np.dtype[Any] = np.dtype(np.float32)) -> Tensor:  # noqa: B008 (immutable)
    """x itself if it holds floats; integers and booleans as `dtype`."""
    return x if x.data.dtype.kind == "f" else Tensor(x.data.astype(dtype))


def refuse_mask(who: str, name: str, value: Any) -> None:
    """Raise TypeError for a masked array, as `Tensor` does: `numpy.asarray` would drop the mask silently."""
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(
            f"{who}: {name} is a masked array, whose mask would be lost; first call its .filled()"
        )
