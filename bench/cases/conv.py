"""conv2d and its gradients."""

from types import SimpleNamespace

import numpy as np

from cases.case import Case, Pass, normal, sum_bound
from lamina import ops
from lamina.config import backend, conv_algorithm


def conv2d(
    rng: np.random.Generator,
    *,
    n: int,
    h: int,
    w: int,
    c: int,
    o: int,
    kernel: int = 3,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
    groups: int = 1,
    algorithm: str = "auto",
) -> Case:
    size, taps, per_group = (h, w), (kernel, kernel), c // groups
    oh, ow = ((side + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1 for side in size)
    a = SimpleNamespace(
        x=normal(rng, n, h, w, c),
        w=normal(rng, o, kernel, kernel, per_group),
        b=normal(rng, o),
        dy=normal(rng, n, oh, ow, o),
    )
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    flat = ((stride, stride), (padding,) * 4, (dilation, dilation), groups, conv_algorithm(algorithm))

    def forward(a):
        return (ops.conv2d(a.x, a.w, a.b, **options, algorithm=algorithm)[0],)

    def backward_input(a):
        return (backend().conv2d_backward_input(a.dy, a.w, size, *flat),)

    def backward_weight(a):
        return backend().conv2d_backward_weight(a.dy, a.x, taps, *flat)

    def both(a):
        y, ctx = ops.conv2d(a.x, a.w, a.b, **options, algorithm=algorithm)
        return y, *ops.conv2d_backward(a.dy, ctx)

    flops = 2.0 * n * oh * ow * o * kernel * kernel * per_group
    y = sum_bound(kernel * kernel * per_group + 1, a.x, a.w) + sum_bound(0, a.b)
    dx = sum_bound(kernel * kernel * o // groups, a.dy, a.w)
    dw, db = sum_bound(n * oh * ow, a.dy, a.x), sum_bound(n * oh * ow, a.dy)
    details = {"s": stride, "p": padding, "d": dilation, "g": groups}
    usual = {"s": 1, "p": 0, "d": 1, "g": 1}
    words = [f"{name}{value}" for name, value in details.items() if value != usual[name]]
    words += [algorithm] if algorithm != "auto" else []
    return Case(
        "conv2d",
        " ".join([f"{n}x{h}x{w}x{c}->{o} {kernel}x{kernel}", *words]),
        a,
        (
            Pass("forward", forward, ("y",), (y,), flops),
            Pass("backward input", backward_input, ("dx",), (dx,), flops),
            Pass("backward weight", backward_weight, ("dw", "db"), (dw, db), flops),
            Pass("forward + backward", both, ("y", "dx", "dw", "db"), (y, dx, dw, db), 3 * flops),
        ),
        options,
    )
