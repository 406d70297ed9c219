"""Winograd's convolution: within a bound that follows from its matrices, exact where its numbers are round.

Let I, F and O be the matrices that bring inputs, filters and products to and from the positions of a tile.
The kernels compute y = O [(F g F') * (I d I')] O', summed over channels. A sum of n terms, each with a factor
from a matrix, rounds a term at most n times, or n + 1 times where the factor is rounded itself (F alone: I
and O are dyadic); a transform does so twice, once a direction; products and their sum over K channels round K
times, the bias once. So a term of the whole sum is rounded at most k = 2 n(I) + 2 (n(F) + 1) + K + 2 n(O) + 1
times, n being the most nonzeros in a row, and (Higham, Accuracy and Stability of Numerical Algorithms, 3.1)

    |error of y| <= k u / (1 - k u) * ( |O| [(|F| |g| |F|') * (|I| |d| |I|')] |O|' + |b| ),    u = eps / 2.

Backward to the input the same holds with the filters turned; to the filters with
dg = F' [(I d I') * (O' dy O)] F, summed over T tiles: k = 2 n(I) + 2 n(O') + T + 2 (n(F') + 1).
"""

import numpy as np
import pytest

import lamina as lm
from lamina import ops
from tests.ops import oracle
from tests.ops.cases import Case

POINTS = {4: [0, 1, -1], 6: [0, 5 / 8, -5 / 8, 3 / 2, -3 / 2]}  # by a tile's inputs
TILES = [(2, 3), (4, 3), (2, 5)]  # outputs and taps, in each direction


def matrices(m, r):
    """I, F, O of tiles of m x m outputs, from the points: values of polynomials, and Lagrange's formula."""
    a = m + r - 1
    points = POINTS[a]
    i, f, o = np.zeros((a, a)), np.zeros((a, r)), np.zeros((m, a))
    for row, point in enumerate(points):
        others = [p for p in points if p != point]
        i[row, : a - 1] = np.poly(others)[::-1]
        f[row] = point ** np.arange(r) / np.prod([point - p for p in others])
        o[:, row] = point ** np.arange(m)
    i[-1], f[-1, -1], o[-1, -1] = np.poly(points)[::-1], 1, 1
    return i, f, o


def windows(image, size, step, top, left, down, across):
    """(N, down, across, size, size, C): zeros outside the image."""
    rows = top + step * np.arange(down)[:, None] + np.arange(size)
    cols = left + step * np.arange(across)[:, None] + np.arange(size)
    inside = [(at >= 0) & (at < n) for at, n in zip((rows, cols), image.shape[1:3], strict=True)]
    rows, cols = np.where(inside[0], rows, 0), np.where(inside[1], cols, 0)
    found = image[:, rows[:, None, :, None], cols[None, :, None, :]]
    return found * (inside[0][:, None, :, None] & inside[1][None, :, None, :])[..., None]


def spread(matrix, tiles):
    return np.einsum("ai,bj,...ijc->...abc", matrix, matrix, tiles, optimize=True)


def convolve(parts, x, w, top, left, rows, cols):
    """y (N, rows, cols, O) by tiles: output (q, p) sees x from (q + top, p + left) on."""
    i, f, o = parts
    m = len(o)
    down, across = -(-rows // m), -(-cols // m)
    inputs = spread(i, windows(x, len(i), m, top, left, down, across))
    products = np.einsum("nyxabc,oabc->nyxabo", inputs, spread(f, w), optimize=True)
    y = spread(o, products).transpose(0, 1, 3, 2, 4, 5)
    return y.reshape(len(x), down * m, across * m, len(w))[:, :rows, :cols]


def filters(parts, x, dy, top, left):
    """dw (O,R,R,C) by the same tiles."""
    i, f, o = parts
    m = len(o)
    down, across = -(-dy.shape[1] // m), -(-dy.shape[2] // m)
    inputs = spread(i, windows(x, len(i), m, top, left, down, across))
    outputs = spread(o.T, windows(dy, m, m, 0, 0, down, across))
    return spread(f.T, np.einsum("nyxabc,nyxabo->oabc", inputs, outputs, optimize=True))


def most(matrix):
    return int(np.count_nonzero(matrix, axis=1).max())


def bounds(m, arrays, dy, padding, dtype):
    """Of y, and of each gradient by name; the definition's own sums in float64 are part of it."""
    taps = arrays["w"].shape[1]
    i, f, o = matrices(m, taps)
    sizes = tuple(map(np.abs, (i, f, o)))
    a = {name: np.abs(array.astype(np.float64)) for name, array in arrays.items()}
    (top, left), (n, h, wide, c), (rows, cols, out) = padding, a["x"].shape, dy.shape[1:]
    tiles = n * -(-rows // m) * -(-cols // m)
    u, own = np.finfo(dtype).eps / 2, np.finfo(np.float64).eps / 2
    around = 2 * most(i) + 2 * (most(f) + 1) + 2 * most(o) + 1

    def gamma(k, terms):
        return k * u / (1 - k * u) + terms * own

    turned = a["w"][:, ::-1, ::-1].transpose(3, 1, 2, 0)
    dy = np.abs(dy.astype(np.float64))
    y = convolve(sizes, a["x"], a["w"], -top, -left, rows, cols) + a["b"]
    dx = convolve(sizes, dy, turned, top - taps + 1, left - taps + 1, h, wide)
    dw = filters(sizes, a["x"], dy, -top, -left)
    k = 2 * most(i) + 2 * most(o.T) + tiles + 2 * (most(f.T) + 1)
    return gamma(around + c, taps * taps * c + 1) * y, {
        "x": gamma(around + out, taps * taps * out) * dx,
        "w": gamma(k, n * rows * cols) * dw,
        "b": gamma(n * rows * cols, n * rows * cols) * dy.sum(axis=(0, 1, 2)),
    }


def _case(x, o, padding, algorithm, taps=3):
    shapes = {"x": x, "w": (o, taps, taps, x[3]), "b": (o,)}
    name = "x".join(map(str, x)) + f"to{o}-{padding}-{taps}x{taps}".replace(" ", "")
    return Case("conv2d", name, shapes, {"padding": padding, "algorithm": algorithm}, algorithm)


CASES = [
    _case(x, o, padding, f"winograd{m}", r)
    for m, r in TILES
    for x, o, padding in [
        ((1, r, r, 1), 1, 0),  # one output
        ((2, 6, 6, 1), 2, 0),  # one whole tile
        ((2, 5, 7, 2), 3, 1),
        ((1, 9, 4, 3), 5, 2),
        ((2, 8, 8, 4), 4, 1),
        ((1, 1, 2, 3), 4, r // 2),  # nothing but border
        ((1, 5, 5, 3), 2, (r, r + 1)),  # more padding than filter
        ((1, 6, 11, 3), 7, ((0, 1), (2, 0))),
        ((1, 7, 5, 17), 33, 1),
        ((1, 6, 6, 40), 70, 1),
        ((19, 4, 4, 16), 8, 1),  # several blocks of tiles
        ((0, 5, 6, 3), 4, 1),
    ]
]


def _sides(case):
    padding = case.options["padding"]
    pair = padding if isinstance(padding, tuple) else (padding, padding)
    return tuple(side[0] if isinstance(side, tuple) else side for side in pair)


def _results(case, dtype, kind):
    arrays = case.arrays(dtype, kind)
    (y,), ctx = case.forward(arrays)
    dys = case.gradients((y,), kind)
    right_y, right_grads = oracle.answer(case, arrays, dys, kind)
    return arrays, dys[0], (y, case.backward(dys, ctx)), (right_y[0], right_grads)


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_within_the_bound(case, dtype):
    """In float64 too, through the same templates: so the gradients are those of the forward pass."""
    arrays, dy, (y, grads), (right_y, right_grads) = _results(case, dtype, "normal")
    allowed_y, allowed = bounds(int(case.variant[-1]), arrays, dy, _sides(case), dtype)
    assert y.shape == right_y.shape
    assert (np.abs(y - right_y) <= allowed_y).all()
    for name, grad in grads.items():
        assert grad.shape == right_grads[name].shape
        assert (np.abs(grad - right_grads[name]) <= allowed[name]).all(), f"gradient of {name}"


@pytest.mark.parametrize(("m", "r"), TILES)
def test_the_bound_finds_an_entry_that_is_wrong_by_a_thousandth(m, r):
    """Of each matrix each entry, zeros too, in the forward pass and in the gradient of the filters."""
    case = _case((1, m + r + 1, m + r + 1, 4), 6, 0, f"winograd{m}", r)
    arrays, dy, _, (right_y, right_grads) = _results(case, np.float32, "normal")
    allowed_y, allowed = bounds(m, arrays, dy, (0, 0), np.float32)
    x, w = (arrays[name].astype(np.float64) for name in "xw")
    right = matrices(m, r)
    assert (np.abs(convolve(right, x, w, 0, 0, m + 2, m + 2) + arrays["b"] - right_y) <= allowed_y).all()
    assert (np.abs(filters(right, x, dy, 0, 0) - right_grads["w"]) <= allowed["w"]).all()
    for which, matrix in enumerate(right):
        for place in np.ndindex(matrix.shape):
            wrong = [part.copy() for part in right]
            wrong[which][place] += 1e-3
            y = convolve(wrong, x, w, 0, 0, m + 2, m + 2) + arrays["b"]
            assert (np.abs(y - right_y) > allowed_y).any(), f"matrix {which}, entry {place}"
            dw = filters(wrong, x, dy.astype(np.float64), 0, 0)
            assert (np.abs(dw - right_grads["w"]) > allowed["w"]).any(), f"matrix {which}, entry {place}"


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "case", [c for c in CASES if c.variant == "winograd2" and c.shapes["w"][1] == 3], ids=lambda case: case.id
)
def test_small_tiles_are_exact_on_whole_numbers(case, dtype):
    """Their matrices hold 0, 1, 1/2 and their negatives alone, so no sum of small whole numbers rounds."""
    _, _, (y, grads), (right_y, right_grads) = _results(case, dtype, "integers")
    np.testing.assert_array_equal(y, right_y)
    for name, grad in grads.items():
        np.testing.assert_array_equal(grad, right_grads[name], err_msg=f"gradient of {name}")


def _large(dtype=np.float32, taps=3):
    rng = np.random.default_rng(0)
    shapes = (8, 12, 12, 32), (48, taps, taps, 32)
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


def _passes(x, w, algorithm):
    y, ctx = ops.conv2d(x, w, padding=1, algorithm=algorithm)
    return y, *ops.conv2d_backward(y, ctx)[:2]


def _same(found, right):
    return [np.array_equal(a, b) for a, b in zip(found, right, strict=True)]


@pytest.mark.parametrize(("taps", "algorithm"), [(3, "winograd4"), (5, "winograd2")])
def test_where_it_wins_it_is_taken_unless_precision_is_high(taps, algorithm, isa):
    x, w = _large(taps=taps)
    direct, winograd = _passes(x, w, "direct"), _passes(x, w, algorithm)
    assert _same(winograd, direct) == [False] * 3
    assert _same(_passes(x, w, "auto"), winograd) == [True] * 3
    with lm.set_conv_precision("high"):
        assert _same(_passes(x, w, "auto"), direct) == [True] * 3
        y, ctx = ops.conv2d(x, w, padding=1)
    assert _same(ops.conv2d_backward(y, ctx)[:2], direct[1:]) == [True] * 2


def test_a_transposed_convolution_takes_it_too(isa):
    x, w = _large()
    w = w.transpose(3, 1, 2, 0).copy()
    found, _ = ops.conv_transpose2d(x, w, padding=1)
    right, _ = ops.conv_transpose2d(x.astype(np.float64), w.astype(np.float64), padding=1)
    with lm.set_conv_precision("high"):
        assert not np.array_equal(found, ops.conv_transpose2d(x, w, padding=1)[0])
    as_gradient = {"x": found, "w": w, "b": np.zeros(len(w))}
    assert (np.abs(found - right) <= bounds(4, as_gradient, x, (1, 1), np.float32)[1]["x"]).all()


@pytest.mark.parametrize(
    ("x", "w", "options"),
    [
        ((8, 12, 12, 3), (48, 3, 3, 3), {}),  # few channels
        ((1, 4, 4, 32), (48, 3, 3, 32), {}),  # few tiles
        ((8, 12, 12, 32), (48, 3, 3, 32), {"stride": 2}),
        ((8, 12, 12, 32), (48, 3, 3, 32), {"dilation": 2}),
        ((8, 12, 12, 64), (48, 3, 3, 32), {"groups": 2}),
        ((8, 12, 12, 32), (48, 3, 5, 32), {}),
        ((8, 12, 12, 32), (48, 7, 7, 32), {}),
        ((8, 12, 12, 3), (16, 5, 5, 3), {}),
        ((1, 4, 4, 32), (48, 5, 5, 32), {"padding": 2}),
    ],
)
def test_elsewhere_it_is_not_taken(x, w, options, isa):
    rng = np.random.default_rng(0)
    x, w = (rng.standard_normal(shape).astype(np.float32) for shape in (x, w))
    options = {"padding": 1, **options}
    found, _ = ops.conv2d(x, w, **options)
    np.testing.assert_array_equal(found, ops.conv2d(x, w, algorithm="direct", **options)[0])


@pytest.mark.parametrize("taps", [3, 5])
def test_float64_is_never_rounded_more(taps, isa):
    x, w = _large(np.float64, taps)
    assert _same(_passes(x, w, "auto"), _passes(x, w, "direct")) == [True] * 3


@pytest.mark.parametrize("taps", [3, 5])
def test_nan_reaches_at_most_three_pixels_further_than_the_filter(taps, isa):
    x, w = _large(taps=taps)
    x[0, 5, 6, 3] = np.nan
    y, _ = ops.conv2d(x, w, padding=taps // 2)
    rows, cols = np.nonzero(np.isnan(y).any(axis=3)[0])
    for seen, at in ((rows, 5), (cols, 6)):
        reach = taps // 2
        assert set(range(at - reach, at + reach + 1)) <= set(seen)
        assert set(seen) <= set(range(at - reach - 3, at + reach + 4))
    assert not np.isnan(y[1:]).any()
