"""Gradients written where they are wanted: the numbers of new arrays, and nothing else is touched."""

import numpy as np
import pytest

import lamina as lm
from lamina import _hosted as hosted
from lamina import config, nn, ops, optim
from lamina.ops.both_ways import both_ways, both_ways_backward
from lamina.ops.conv_norm import conv2d_norm, conv2d_norm_backward
from tests.ops.case import SEQUENCES

RNG = np.random.default_rng(0)
BACKENDS = ["cpp", "numpy"] if config.has_plans() else ["numpy"]  # without _core, if so asked


def floats(*shape, dtype=np.float32):
    return RNG.standard_normal(shape).astype(dtype)


def linear(dtype):
    y, ctx = ops.linear(floats(5, 7, dtype=dtype), floats(3, 7, dtype=dtype), floats(3, dtype=dtype))
    return ops.linear_backward, (floats(*y.shape, dtype=dtype), ctx), {1: (3, 7), 2: (3,)}


def conv(algorithm, groups=1):
    def made(dtype):
        x, w = floats(2, 6, 5, 4, dtype=dtype), floats(4, 3, 3, 4 // groups, dtype=dtype)
        y, ctx = ops.conv2d(x, w, floats(4, dtype=dtype), padding=1, algorithm=algorithm, groups=groups)
        return ops.conv2d_backward, (floats(*y.shape, dtype=dtype), ctx), {1: w.shape, 2: (4,)}

    return made


def k_sparse(k):
    def made(dtype):
        x, w = floats(5, 7, dtype=dtype), floats(20, 7, dtype=dtype)
        (values, _), ctx = ops.k_sparse_linear(x, w, floats(20, dtype=dtype), k=k)
        return ops.k_sparse_linear_backward, (floats(*values.shape, dtype=dtype), ctx), {1: w.shape}

    return made


def tied(dtype):
    x, w = floats(5, 7, dtype=dtype), floats(20, 7, dtype=dtype)
    biases = floats(20, dtype=dtype), floats(7, dtype=dtype)
    (y, values, _), ctx = ops.tied_k_sparse(x, w, *biases, k=2)
    given = floats(*y.shape, dtype=dtype), floats(*values.shape, dtype=dtype), ctx
    return ops.tied_k_sparse_backward, given, {1: w.shape}


def sparse(dtype):
    values, units, w = floats(5, 2, dtype=dtype), RNG.integers(0, 9, (5, 2)), floats(9, 7, dtype=dtype)
    y, ctx = ops.sparse_linear(values, units, w)
    return ops.sparse_linear_backward, (floats(*y.shape, dtype=dtype), ctx), {1: w.shape}


def norm(**statistics):
    def made(dtype):
        given = {name: np.full(4, value, dtype) for name, value in statistics.items()}
        y, ctx = ops.batch_norm(
            floats(5, 3, 4, dtype=dtype), floats(4, dtype=dtype), floats(4, dtype=dtype), **given
        )
        return ops.batch_norm_backward, (floats(*y.shape, dtype=dtype), ctx), {1: (4,), 2: (4,)}

    return made


def conv_norm(groups, size=3):
    def made(dtype):
        x, w = floats(18, 6, 5, 16, dtype=dtype), floats(16, size, size, 16 // groups, dtype=dtype)
        y, ctx = conv2d_norm(x, w, *floats(3, 16, dtype=dtype), groups=groups, algorithm="direct")
        return (
            conv2d_norm_backward,
            (floats(*y.shape, dtype=dtype), ctx),
            {3: w.shape} | dict.fromkeys((1, 2, 4), (16,)),
        )

    return made


def sequence(op, **options):
    gates, biases = SEQUENCES[op]
    biases = biases if options.get("reset_after", True) else gates

    def made(dtype):
        states = [floats(5, 3, dtype=dtype) for _ in range(1 + (op == "lstm"))]
        shapes = (gates * 3, 4), (gates * 3, 3), (biases * 3,)
        weights = [floats(*shape, dtype=dtype) for shape in shapes]
        made, ctx = getattr(ops, op)(floats(5, 6, 4, dtype=dtype), *states, *weights, **options)
        wanted = {1 + len(states) + i: shape for i, shape in enumerate(shapes)}
        return getattr(ops, f"{op}_backward"), (*made, ctx), wanted

    return made


def sequence_both_ways(dtype):
    ways = [[floats(*s, dtype=dtype) for s in ((5, 3), (9, 4), (9, 3), (12,))] for _ in range(2)]
    made, ctx = both_ways("gru", floats(5, 6, 4, dtype=dtype), *ways)
    return both_ways_backward, (*made, ctx, True), {2: (9, 4), 4: (12,), 6: (9, 4), 7: (9, 3)}


CASES = {
    "rnn": sequence("rnn", nonlinearity="satlin"),
    "gru": sequence("gru"),
    "gru_before": sequence("gru", reset_after=False),
    "lstm": sequence("lstm"),
    "both_ways": sequence_both_ways,
    "norm": norm(),
    "norm_frozen": norm(mean=0.5, var=2),
    "conv_norm": conv_norm(1),
    "conv_norm_pointwise": conv_norm(1, size=1),
    "conv_norm_depthwise": conv_norm(16),
    "linear": linear,
    "direct": conv("direct"),
    "im2col": conv("im2col"),
    "winograd2": conv("winograd2"),
    "winograd4": conv("winograd4"),
    "groups": conv("auto", 2),
    "depthwise": conv("auto", 4),
    "k-sparse": k_sparse(2),
    "crowded": k_sparse(15),
    "tied": tied,
    "sparse": sparse,
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", CASES)
def test_the_numbers_of_new_arrays(name, backend, dtype):
    with lm.use_backend(backend):
        backward, args, shapes = CASES[name](dtype)
        expected = backward(*args)
        guarded = {at: np.full((3, *shape), 7, dtype) for at, shape in shapes.items()}
        into = [guarded[at][1] if at in guarded else None for at in range(11)]
        found = backward(*args, into=into)
    for at, (a, b) in enumerate(zip(found, expected, strict=True)):
        if at in guarded:
            assert np.shares_memory(a, guarded[at])
            assert (guarded[at][::2] == 7).all()
        np.testing.assert_array_equal(a, b)


def assert_refused(call, error, words, out):
    before = out.copy()
    with pytest.raises(error, match=words):
        call(out)
    np.testing.assert_array_equal(out, before)


@pytest.mark.skipif(not config.has_plans(), reason="the NumPy backend refuses by NumPy's own errors")
def test_arrays_that_do_not_fit():
    core, a, b = config.backend(), floats(3, 4), floats(4, 5)
    dy, x, options = floats(2, 4, 4, 3), floats(2, 4, 4, 2), ((1, 1), (1, 1, 1, 1), (1, 1), 1, "auto")
    read_only = np.zeros((3, 5), np.float32)
    read_only.flags.writeable = False

    def gemm(out):
        core.gemm(a, b, out=out)

    def weights(dw):
        core.conv2d_backward_weight(dy, x, (3, 3), *options, dw)

    assert_refused(gemm, ValueError, r"out must have shape \(3, 5\)", np.zeros((5, 3), np.float32))
    assert_refused(gemm, TypeError, "out must be float32", np.zeros((3, 5)))
    assert_refused(gemm, ValueError, "contiguous", np.zeros((5, 3), np.float32).T)
    assert_refused(gemm, ValueError, "read-only", read_only)
    assert_refused(weights, ValueError, r"dw must have shape \(3, 3, 3, 2\)", np.zeros((3, 3, 3), np.float32))


UNEVEN = floats(3, 3)


# on the tape ------------------------------------------------------------------------------------------
def gradients(make, loss):
    """With an optimiser, whose memory the gradients go to, and without one."""
    found = []
    for with_memory in (True, False):
        parameters = make()
        if with_memory:
            keep = optim.SGD(parameters, 0.1)
        loss(*parameters).backward()
        loss(*parameters).backward()  # which adds
        found.append([np.zeros(1) if p.grad is None else p.grad.copy() for p in parameters])
    del keep
    for a, b in zip(*found, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    "loss",
    [
        lambda p, q: apply_linear(p, q).sum(),
        lambda p, q: (
            apply_linear(p, p) * UNEVEN
        ).sum(),  # both gradients of one operation are one parameter's
        lambda p, q: (apply_linear(p, q) + apply_linear(q, p) * 2).sum(),
        lambda p, q: apply_linear(apply_linear(p, q), q).sum(),
    ],
)
def test_shared_parameters(loss):
    values = floats(3, 3), floats(3, 3)
    gradients(lambda: [nn.Parameter(v) for v in values], loss)


def apply_linear(x, w):
    return lm.autograd.apply(ops.linear, ops.linear_backward, x, w, None)


def test_the_first_gradient_is_not_copied(monkeypatch):
    layer = nn.Linear(4, 3)
    adam = optim.Adam(layer.parameters())
    called = []
    monkeypatch.setattr(
        hosted, "again", lambda function, *args: (called.append(function), function(*args))[1]
    )
    layer(floats(2, 4)).sum().backward()
    assert np.copyto not in called
    assert all(np.shares_memory(p.grad, adam._groups[0].grad) for p in layer.parameters())
    layer(floats(2, 4)).sum().backward()
    assert np.add in called


def test_a_parameter_of_another_shape_than_its_memory():
    layer = nn.Linear(4, 3)
    adam = optim.Adam(layer.parameters())
    layer.weight.data, layer.bias.data = floats(2, 4), floats(2)
    layer(floats(2, 4)).sum().backward()
    assert layer.weight.grad.shape == (2, 4)
    with pytest.raises(ValueError, match="make a new optimiser"):
        adam.step()
