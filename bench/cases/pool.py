"""Max and mean pooling."""

from types import SimpleNamespace

import numpy as np

from cases.case import Case, Pass, exactly, nbytes, normal, sum_bound
from lamina import ops
from lamina.config import backend


def _arrays(
    rng: np.random.Generator, n: int, h: int, w: int, c: int, kernel: int, stride: int, padding: int
) -> SimpleNamespace:
    oh, ow = ((side + 2 * padding - kernel) // stride + 1 for side in (h, w))
    return SimpleNamespace(x=normal(rng, n, h, w, c), dy=normal(rng, n, oh, ow, c))


def _label(n: int, h: int, w: int, c: int, kernel: int, stride: int, padding: int) -> str:
    return f"{n}x{h}x{w}x{c} k{kernel} s{stride}" + (f" p{padding}" if padding else "")


def max_pool2d(
    rng: np.random.Generator, *, n: int, h: int, w: int, c: int, kernel: int, stride: int, padding: int = 0
) -> Case:
    a = _arrays(rng, n, h, w, c, kernel, stride, padding)
    options = {"stride": stride, "padding": padding}
    flat = ((h, w), (kernel, kernel), (stride, stride), (padding,) * 4)
    a.argmax = exactly(lambda x: ops.max_pool2d(x, kernel, **options)[1].argmax, a.x)

    def both(a):
        y, ctx = ops.max_pool2d(a.x, kernel, **options)
        return y, ops.max_pool2d_backward(a.dy, ctx)

    forward = nbytes(a.x, a.dy, a.argmax)
    dx = sum_bound(kernel * kernel, a.dy) if stride < kernel else 0.0
    return Case(
        "max_pool2d",
        _label(n, h, w, c, kernel, stride, padding),
        a,
        (
            Pass(
                "forward", lambda a: (ops.max_pool2d(a.x, kernel, **options)[0],), ("y",), (0.0,), 0, forward
            ),
            Pass(
                "backward",
                lambda a: (backend().max_pool2d_backward(a.dy, a.argmax, *flat),),
                ("dx",),
                (dx,),
                0,
                forward,
            ),
            Pass("forward + backward", both, ("y", "dx"), (0.0, dx), 0, 2 * forward),
        ),
        {"kernel": kernel, **options},
    )


def avg_pool2d(
    rng: np.random.Generator, *, n: int, h: int, w: int, c: int, kernel: int, stride: int, padding: int = 0
) -> Case:
    a = _arrays(rng, n, h, w, c, kernel, stride, padding)
    options = {"stride": stride, "padding": padding}
    flat = ((h, w), (kernel, kernel), (stride, stride), (padding,) * 4, True)

    def both(a):
        y, ctx = ops.avg_pool2d(a.x, kernel, **options)
        return y, ops.avg_pool2d_backward(a.dy, ctx)

    # The terms are divided by their number, so the error of the sum shrinks as much as it grew.
    y, dx, forward = sum_bound(2, a.x), sum_bound(kernel * kernel, a.dy), nbytes(a.x, a.dy)
    return Case(
        "avg_pool2d",
        _label(n, h, w, c, kernel, stride, padding),
        a,
        (
            Pass("forward", lambda a: (ops.avg_pool2d(a.x, kernel, **options)[0],), ("y",), (y,), 0, forward),
            Pass(
                "backward",
                lambda a: (backend().avg_pool2d_backward(a.dy, *flat),),
                ("dx",),
                (dx,),
                0,
                forward,
            ),
            Pass("forward + backward", both, ("y", "dx"), (y, dx), 0, 2 * forward),
        ),
        {"kernel": kernel, **options},
    )
