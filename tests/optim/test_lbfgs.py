"""L-BFGS on the classic functions, beside SciPy's, and when things go wrong."""

import copy
import math
import pickle

import numpy as np
import pytest

import lamina as lm
from lamina import nn, optim
from lamina.optim.line_search import Point, strong_wolfe

FUNCTIONS = {  # loss of x, the start, the minimiser; most of them of More, Garbow & Hillstrom 1981
    "rosenbrock": (lambda x: 100 * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2, [-1.2, 1], [1, 1]),
    "beale": (
        lambda x: sum((c - x[0] * (1 - x[1] ** i)) ** 2 for i, c in enumerate((1.5, 2.25, 2.625), 1)),
        [1, 1],
        [3, 0.5],
    ),
    "booth": (lambda x: (x[0] + 2 * x[1] - 7) ** 2 + (2 * x[0] + x[1] - 5) ** 2, [0, 0], [1, 3]),
    "wood": (
        lambda x: (
            100 * (x[1] - x[0] ** 2) ** 2
            + (1 - x[0]) ** 2
            + 90 * (x[3] - x[2] ** 2) ** 2
            + (1 - x[2]) ** 2
            + 10 * (x[1] + x[3] - 2) ** 2
            + 0.1 * (x[1] - x[3]) ** 2
        ),
        [-3, -1, -3, -1],
        [1, 1, 1, 1],
    ),
    "long rosenbrock": (
        lambda x: (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum(),
        [-1.2, 1] * 25,
        [1] * 50,
    ),
}


def _parameter(values, dtype=np.float64):
    return nn.Parameter(np.array(values, dtype))


def _closure(function, x):
    def closure():
        loss = function(x)
        loss.backward()
        return loss

    return closure


@pytest.mark.parametrize("name", FUNCTIONS)
def test_classic_functions(name):
    function, start, minimiser = FUNCTIONS[name]
    x = _parameter(start)
    found = optim.LBFGS([x]).minimize(_closure(function, x), 500, tolerance=0, gradient_tolerance=1e-7)
    np.testing.assert_allclose(x.data, minimiser, atol=1e-6)
    assert found.stopped in ("gradient", "tolerance")
    assert found.loss < 1e-12
    assert (np.diff(found.losses) <= 1e-14).all()
    assert found.evaluations < 2 * len(found.losses) + 10


def test_a_quadratic_of_condition_ten_thousand():
    """Beside a linear solver; steepest descent would need some 1e5 steps."""
    rng = np.random.default_rng(0)
    basis, _ = np.linalg.qr(rng.standard_normal((30, 30)))
    a, b = basis * np.geomspace(1, 1e4, 30) @ basis.T, rng.standard_normal(30)
    x = _parameter(np.zeros(30))
    optimizer = optim.LBFGS([x], history_size=30)
    optimizer.minimize(_closure(lambda x: 0.5 * (x * (x @ a)).sum() - (x * b).sum(), x), 300, tolerance=0)
    np.testing.assert_allclose(x.data, np.linalg.solve(a, b), atol=1e-6)


def test_the_direction_is_that_of_the_bfgs_matrix():
    """Against the formula for the inverse Hessian, 7.19, with the last three of five steps."""
    function, start, _ = FUNCTIONS["wood"]
    x = _parameter(start)
    optimizer, closure = optim.LBFGS([x], history_size=3), _closure(function, x)
    pairs = []
    for _ in range(5):
        optimizer.zero_grad()
        closure()
        old_x, old_g = x.data.copy(), x.grad.copy()
        optimizer.step(closure)
        pairs.append((x.data - old_x, x.grad - old_g))
    s, y = pairs[-1]
    h = np.eye(4) * (s @ y) / (y @ y)
    for s, y in pairs[-3:]:
        v = np.eye(4) - np.outer(y, s) / (s @ y)
        h = v.T @ h @ v + np.outer(s, s) / (s @ y)
    gradient = np.zeros_like(optimizer._groups[0].grad)
    gradient[:4] = x.grad
    (direction,) = optimizer._direction([gradient])
    np.testing.assert_allclose(direction[:4], -h @ x.grad, rtol=1e-8)


@pytest.mark.parametrize("first", [1e-3, 0.1, 1.0, 10.0, 1e3])
@pytest.mark.parametrize(
    ("loss", "slope"),
    [
        (lambda t: (t - 1) ** 2, lambda t: 2 * (t - 1)),
        (lambda t: -t / (t * t + 2), lambda t: (t * t - 2) / (t * t + 2) ** 2),
        (
            lambda t: (t + 0.1) ** 5 - 2 * (t + 0.1) ** 4,
            lambda t: 5 * (t + 0.1) ** 4 - 8 * (t + 0.1) ** 3,
        ),
        (lambda t: math.cosh(min(t, 300)) - 3 * t, lambda t: math.sinh(min(t, 300)) - 3),
    ],
)
def test_the_search_meets_the_strong_wolfe_conditions(loss, slope, first):
    """The second and the third are after More & Thuente 1994."""
    start = Point(0.0, loss(0), slope(0), [], 0)
    found = strong_wolfe(lambda t: Point(t, loss(t), slope(t), [], 0), start, first, 1e-4, 0.1, 40)
    assert found.step > 0
    assert found.loss <= start.loss + 1e-4 * found.step * start.slope
    assert abs(found.slope) <= 0.1 * abs(start.slope)


def _sparse_autoencoder(dtype):
    """All three terms: error, weight decay and the divergence from an average activation of 0.05."""
    x = np.random.default_rng(0).uniform(0.1, 0.9, (60, 16)).astype(dtype)
    model = nn.Sequential(nn.Linear(16, 6, rng=0), nn.Sigmoid(), nn.Linear(6, 16, rng=1), nn.Sigmoid())
    model.astype(dtype)

    def loss():
        code = model[1](model[0](x))
        error = ((model[3](model[2](code)) - x) ** 2).sum() * (0.5 / len(x))
        decay = ((model[0].weight ** 2).sum() + (model[2].weight ** 2).sum()) * 0.5e-3
        mean = code.mean(axis=0)
        kl = (0.05 * lm.log(0.05 / mean) + 0.95 * lm.log(0.95 / (1 - mean))).sum()
        value = error + decay + 0.3 * kl
        value.backward()
        return value

    return model, loss


def test_a_sparse_autoencoder_ends_where_scipy_ends():
    minimize = pytest.importorskip("scipy.optimize").minimize
    model, closure = _sparse_autoencoder(np.float64)
    parameters = list(model.parameters())
    ends = np.cumsum([p.size for p in parameters])

    def function(flat):
        for p, values in zip(parameters, np.split(flat, ends[:-1]), strict=True):
            p.data[...], p.grad = values.reshape(p.shape), None
        return closure().item(), np.concatenate([p.grad.ravel() for p in parameters])

    start = np.concatenate([p.data.ravel() for p in parameters])
    options = {"maxiter": 2000, "maxfun": 5000, "ftol": 1e-15, "gtol": 1e-9, "maxcor": 10}
    theirs = minimize(function, start, jac=True, method="L-BFGS-B", options=options)
    function(start)
    optimizer = optim.LBFGS(parameters)
    ours = optimizer.minimize(closure, 2000, tolerance=1e-15, gradient_tolerance=1e-9)
    assert ours.losses[0] > 1.5 * theirs.fun
    assert abs(ours.loss - theirs.fun) < 1e-6 * theirs.fun
    assert ours.evaluations < 2 * theirs.nfev


def test_float32_and_the_closure_may_be_all_there_is():
    model, closure = _sparse_autoencoder(np.float32)
    double, double_closure = _sparse_autoencoder(np.float64)
    ours = optim.LBFGS(model.parameters()).minimize(closure, 300)
    theirs = optim.LBFGS(double.parameters()).minimize(double_closure, 300)
    assert abs(ours.loss - theirs.loss) < 1e-3 * theirs.loss
    assert ours.stopped in ("tolerance", "line search")


def test_losses_with_rounding():
    """Losses that differ by their rounding, here as large as in long sums: the slopes still show the way."""
    x, far = _parameter(np.zeros(6)), np.arange(1.0, 7)
    curvature = np.array([1, 2, 4, 8, 16, 32]) * 1e-9

    def closure():
        loss = (curvature * (x - far) ** 2).sum()
        loss.backward()
        return 1000 + loss.item() + 1e-11 * np.cos(1e9 * x.data.sum())

    found = optim.LBFGS([x]).minimize(closure, 100, tolerance=0, gradient_tolerance=1e-15)
    np.testing.assert_allclose(x.data, far, rtol=5e-4)
    assert found.evaluations < 60


def test_step_is_one_iteration_and_leaves_its_gradient():
    model, closure = _sparse_autoencoder(np.float64)
    twin, twin_closure = _sparse_autoencoder(np.float64)
    optimizer = optim.LBFGS(model.parameters())
    losses = [optimizer.step(closure) for _ in range(7)]
    found = optim.LBFGS(twin.parameters()).minimize(twin_closure, 7)
    assert losses == found.losses[1:]
    left = [p.grad.copy() for p in model.parameters()]
    optimizer.zero_grad()
    assert closure().item() == losses[-1]
    for p, gradient in zip(model.parameters(), left, strict=True):
        np.testing.assert_array_equal(p.grad, gradient)


@pytest.mark.parametrize("way", ["state", "copy", "pickle"])
def test_states_and_copies_go_on_alike(way):
    function, start, _ = FUNCTIONS["wood"]
    x, y = _parameter(start), _parameter(start)
    optimizer, other = optim.LBFGS([x]), optim.LBFGS([y])
    for _ in range(4):
        optimizer.step(_closure(function, x))
    if way == "state":
        y.data[...] = x.data
        other.load_state_dict(optimizer.state_dict())
    else:
        doubles = copy.deepcopy if way == "copy" else lambda pair: pickle.loads(pickle.dumps(pair))
        y, other = doubles((x, optimizer))
    for _ in range(4):
        assert optimizer.step(_closure(function, x)) == other.step(_closure(function, y))
    np.testing.assert_array_equal(x.data, y.data)


def test_a_broken_state_is_refused():
    x = _parameter([1.0, 2.0])
    optimizer = optim.LBFGS([x], history_size=2)
    state = optimizer.state_dict()
    state["options"]["history_size"] = 3
    with pytest.raises(ValueError, match="history_size 3 with 4 buffers"):
        optimizer.load_state_dict(state)
    state = optimizer.state_dict()
    state["buffers"]["s1"], state["buffers"]["y1"] = [np.array([1.0, 0])], [np.array([-1.0, 0])]
    with pytest.raises(ValueError, match="s1 and y1 are a pair without positive curvature"):
        optimizer.load_state_dict(state)


def test_parameters_of_two_dtypes_and_without_gradients():
    a, b, idle = _parameter([3.0]), _parameter([[-2.0]], np.float32), _parameter([5.0])

    def closure():
        loss = ((a - 1) ** 2).sum() + ((b - 2) ** 2).sum().astype(np.float64) + 10 * (a * a * a * a).sum()
        loss.backward()
        return loss

    found = optim.LBFGS([a, b, idle]).minimize(closure, 100)
    assert found.loss < 1
    np.testing.assert_allclose(b.data, 2, atol=1e-3)
    assert abs(2 * (a.data[0] - 1) + 40 * a.data[0] ** 3) < 1e-3
    assert idle.data[0] == 5
    assert idle.grad is None


# when things go wrong ------------------------------------------------------------------------------------
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_at_the_outset(bad):
    x = _parameter([1.0])
    with pytest.raises(FloatingPointError, match="not finite where the parameters are"):
        optim.LBFGS([x]).step(_closure(lambda x: (x * bad).sum(), x))
    assert x.data == 1


def test_a_region_that_is_not_finite_is_only_too_far():
    """log is NaN below 0, where the first step leads; the minimum is at 0.1."""
    x = _parameter([3.0])
    with np.errstate(invalid="ignore"):
        closure = _closure(lambda x: (10 * x - lm.log(x)).sum() * 100, x)
        found = optim.LBFGS([x], lr=10.0).minimize(closure, 50, tolerance=0)
    np.testing.assert_allclose(x.data, 0.1, rtol=1e-6)
    assert math.isfinite(found.loss)


def test_a_closure_without_backward():
    x = _parameter([1.0])
    optimizer = optim.LBFGS([x])
    with pytest.raises(
        RuntimeError, match=r"no parameter has a gradient: the closure must call backward\(\)"
    ):
        optimizer.step(lambda: (x * x).sum())
    x.grad = np.ones(1)  # of an earlier pass
    with pytest.raises(RuntimeError, match="no parameter has a gradient"):
        optimizer.step(lambda: (x * x).sum())


@pytest.mark.parametrize(
    ("closure", "error", "message"),
    [
        (None, TypeError, "expected a closure, .*got NoneType"),
        (lambda: None, TypeError, "the closure must return the loss, got NoneType"),
        (lambda: lm.Tensor([1.0, 2.0]), ValueError, r"the closure must return one number, got shape \(2,\)"),
    ],
)
def test_closures_that_are_none(closure, error, message):
    x = _parameter([1.0])
    for run in (optim.LBFGS([x]).step, optim.LBFGS([x]).minimize):
        with pytest.raises(error, match=f"LBFGS: {message}"):
            run(closure)


def test_fit_refuses_it():
    model = nn.Linear(2, 1)
    with pytest.raises(TypeError, match=r"fit: LBFGS needs the same loss at every call.*minimize\(closure\)"):
        lm.fit(
            model,
            np.zeros((2, 2), np.float32),
            np.zeros((2, 1), np.float32),
            loss=nn.MSELoss(),
            optimizer=optim.LBFGS(model.parameters()),
            epochs=1,
            batch_size=1,
        )


def test_a_flat_gradient_ends_it_where_it_is():
    x = _parameter([0.0, 0.0])
    closure = _closure(lambda x: (x * x).sum(), x)
    found = optim.LBFGS([x]).minimize(closure)
    assert found == (0.0, [0.0], 1, "gradient")
    assert optim.LBFGS([x]).step(closure) == 0
    assert not x.data.any()


def test_a_search_that_fails_leaves_the_best_point():
    """A gradient of the wrong sign: every step along it climbs."""
    x = _parameter([2.0])

    def closure():
        loss = (x * x).sum()
        (-loss).backward()
        return loss

    found = optim.LBFGS([x], max_evaluations=8).minimize(closure, 5)
    assert found.stopped == "line search"
    assert found.losses == [4.0]
    assert x.data == 2
    assert found.evaluations == 9


def test_a_search_that_fails_with_pairs_tries_once_more_without():
    function, start, _ = FUNCTIONS["rosenbrock"]
    x = _parameter(start)
    optimizer = optim.LBFGS([x])
    for _ in range(3):
        before = optimizer.step(_closure(function, x))
    for each in optimizer._buffers:  # curvature of another function: the step is far too long, and wrong
        each["s0"][:2], each["y0"][:2] = [1e9, -1e9], [1e-3, -1e-3]
        each["s1"][:2], each["y1"][:2] = [1e9, 1e9], [1e-3, 1e-3]
    optimizer.max_evaluations = 6
    assert optimizer.step(_closure(function, x)) < before
    assert not optimizer._buffers[0]["s1"].any()


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_parameters_are_put_back_if_the_closure_raises(error):
    function, start, _ = FUNCTIONS["rosenbrock"]
    x, calls = _parameter(start), []
    optimizer = optim.LBFGS([x])

    def closure():
        calls.append(x.data.copy())
        if len(calls) == 6:
            raise error
        return _closure(function, x)()

    if error is ValueError:
        with pytest.raises(ValueError, match=r"^$"):
            optimizer.minimize(closure)
    else:
        found = optimizer.minimize(closure)
        assert found.stopped == "interrupted"
        assert function(x).item() == found.loss
    assert any((x.data == place).all() for place in calls[:5])
    assert function(x).item() < function(_parameter(start)).item()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lr": 0}, "lr must be above 0"),
        ({"lr": -1}, "lr must be finite and at least 0"),
        ({"c1": 0.9, "c2": 0.1}, "expected 0 < c1 < c2, got c1 0.9 and c2 0.1"),
        ({"c1": 0}, "expected 0 < c1 < c2"),
        ({"c2": 1}, "c2 must be at least 0 and less than 1"),
        ({"history_size": 0}, "history_size must be at least 1"),
        ({"max_evaluations": 0}, "max_evaluations must be at least 1"),
    ],
)
def test_options_out_of_range(options, message):
    with pytest.raises(ValueError, match=f"LBFGS: {message}"):
        optim.LBFGS([_parameter([1.0])], **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"iterations": 0}, "iterations"),
        ({"tolerance": -1}, "tolerance"),
        ({"gradient_tolerance": -1}, "grad"),
    ],
)
def test_minimize_refuses(options, message):
    with pytest.raises(ValueError, match=rf"LBFGS\.minimize: {message}"):
        optim.LBFGS([_parameter([1.0])]).minimize(lambda: None, **options)
