"""JAX on XLA's CPU compiler: every case is one jitted function, in lamina's own layout (NHWC)."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from peers.worker import Arrays, Epoch, Job, Unsupported, serve

VARIANTS = {"kernels": [""], "training": [""], "epoch": [""]}
BETAS, ADAM_EPS = (0.9, 0.999), 1e-8
NORM_EPS = 1e-5


def conv(x: Any, w: Any, b: Any, stride: int, padding: int, dilation: int, groups: int) -> Any:
    """w is OHWI; the transposition to HWIO happens inside the jitted function, where XLA may move it."""
    y = lax.conv_general_dilated(
        x,
        w,
        (stride, stride),
        [(padding, padding)] * 2,
        rhs_dilation=(dilation, dilation),
        dimension_numbers=("NHWC", "OHWI", "NHWC"),
        feature_group_count=groups,
    )
    return y + b


def conv_transpose(x: Any, w: Any, b: Any, stride: int, padding: int, output_padding: int) -> Any:
    """w is IHWO. A convolution of the image with gaps, by the filters turned around."""
    before = w.shape[1] - 1 - padding
    y = lax.conv_general_dilated(
        x,
        w[:, ::-1, ::-1],
        (1, 1),
        [(before, before + output_padding)] * 2,
        lhs_dilation=(stride, stride),
        dimension_numbers=("NHWC", "IHWO", "NHWC"),
    )
    return y + b


def tied_k_sparse(x: Any, w: Any, b: Any, c: Any, k: int) -> Any:
    z = x @ w.T + b
    least = lax.stop_gradient(lax.top_k(z, k)[0][:, -1:])
    return jnp.where(z >= least, z, 0) @ w + c


def _windows(kernel: int, stride: int, padding: int) -> tuple[Any, ...]:
    around = ((0, 0), (padding, padding), (padding, padding), (0, 0))
    return (1, kernel, kernel, 1), (1, stride, stride, 1), around


def max_pool(x: Any, kernel: int, stride: int, padding: int) -> Any:
    return lax.reduce_window(x, -jnp.inf, lax.max, *_windows(kernel, stride, padding))


def avg_pool(x: Any, kernel: int, stride: int, padding: int) -> Any:
    return lax.reduce_window(x, 0.0, lax.add, *_windows(kernel, stride, padding)) / kernel**2


def lstm_cell(x: Any, h: Any, c: Any, w_ih: Any, w_hh: Any, b: Any) -> Any:
    i, f, g, o = jnp.split(x @ w_ih.T + h @ w_hh.T + b, 4, axis=1)
    c_next = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
    return jax.nn.sigmoid(o) * jnp.tanh(c_next), c_next


def lstm(x: Any, w_ih: Any, w_hh: Any, b: Any, reverse: bool = False) -> Any:
    """(N,T,D) -> (N,T,H): the products of all inputs at once, then a scan over the steps."""

    def step(state: Any, a: Any) -> Any:
        h, c = state
        i, f, g, o = jnp.split(a + h @ w_hh.T, 4, axis=1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return (h, c), h

    zeros = jnp.zeros((len(x), w_hh.shape[1]), x.dtype)
    return _scan(step, (zeros, zeros), x @ w_ih.T + b, reverse)


def gru(x: Any, w_ih: Any, w_hh: Any, b: Any, reverse: bool = False) -> Any:
    """As `lstm`; rows r, z, n, the reset gate behind the product, whose bias is the last part of b."""
    size = w_hh.shape[1]

    def step(h: Any, a: Any) -> Any:
        inner = h @ w_hh.T
        r, z = jnp.split(jax.nn.sigmoid(a[:, : 2 * size] + inner[:, : 2 * size]), 2, axis=1)
        n = jnp.tanh(a[:, 2 * size :] + r * (inner[:, 2 * size :] + b[3 * size :]))
        h = (1 - z) * n + z * h
        return h, h

    return _scan(step, jnp.zeros((len(x), size), x.dtype), x @ w_ih.T + b[: 3 * size], reverse)


def _scan(step: Any, state: Any, a: Any, reverse: bool) -> Any:
    _, y = lax.scan(step, state, jnp.swapaxes(a, 0, 1), reverse=reverse)
    return jnp.swapaxes(y, 0, 1)


def recurrent(layer: dict[str, Any], p: dict[str, Any], x: Any) -> Any:
    """All layers, each of one or two ways."""
    function = {"lstm": lstm, "gru": gru}[layer["kind"]]
    names, ways = layer["layers"], layer["ways"]
    for i in range(0, len(names), ways):
        given = [
            [p[name[part]] for part in ("weight_ih", "weight_hh", "bias")] for name in names[i : i + ways]
        ]
        x = jnp.concatenate([function(x, *weights, way == 1) for way, weights in enumerate(given)], axis=2)
    return x[:, -1] if layer["last"] else x


# function, inputs, gradients that come in, names of the outputs and of the gradients
_OPS: dict[str, tuple[Callable[..., Any], str, str, str]] = {
    "conv2d": (conv, "x w b", "dy", "y dx dw db"),
    "max_pool2d": (max_pool, "x", "dy", "y dx"),
    "avg_pool2d": (avg_pool, "x", "dy", "y dx"),
    "gemm": (jnp.matmul, "a b", "dy", "y da db"),
    "lstm_cell": (lstm_cell, "x h c w_ih w_hh b", "dh_next dc_next", "h_next c_next dx dh dc dw_ih dw_hh db"),
    "relu": (jax.nn.relu, "x", "dy", "y dx"),
    "sigmoid": (jax.nn.sigmoid, "x", "dy", "y dx"),
    "tanh": (jnp.tanh, "x", "dy", "y dx"),
    "softmax": (jax.nn.softmax, "x", "dy", "y dx"),
    "log_softmax": (jax.nn.log_softmax, "x", "dy", "y dx"),
}


def kernel(spec: dict[str, Any], a: Arrays) -> Job:
    """One op, forward or forward + backward."""
    if spec["op"] not in _OPS:
        raise Unsupported("no such op here")
    plain, names, incoming, outputs = _OPS[spec["op"]]
    inputs = [jnp.asarray(a[name]) for name in names.split()]
    dys = tuple(jnp.asarray(a[name]) for name in incoming.split())

    def function(*xs: Any) -> Any:
        y = plain(*xs, **spec["options"])
        return y if isinstance(y, tuple) else (y,)

    def both(*given: Any) -> Any:
        ys, pull = jax.vjp(function, *given[: len(inputs)])
        return *ys, *pull(given[len(inputs) :])

    compiled = jax.jit(function if spec["pass"] == "forward" else both)
    given = inputs if spec["pass"] == "forward" else [*inputs, *dys]

    def call() -> Any:
        return jax.block_until_ready(compiled(*given))

    def results() -> Arrays:
        return {name: np.asarray(y) for name, y in zip(outputs.split(), call(), strict=False)}

    return Job(call, results)


def batch_norm(x: Any, w: Any, b: Any, training: bool) -> Any:
    """With the batch's own mean and variance, or with those of a net that has not been trained, 0 and 1."""
    mean, var = (x.mean((0, 1, 2)), x.var((0, 1, 2))) if training else (0.0, 1.0)
    return (x - mean) * (lax.rsqrt(var + NORM_EPS) * w) + b


def parameters(layers: list[dict[str, Any]]) -> Iterator[str]:
    """The names of all weights."""
    for layer in layers:
        for part in ("weight", "weight_ih", "weight_hh", "bias", "back"):
            if part in layer:
                yield layer[part]
        yield from parameters([*layer.get("layers", []), *layer.get("shortcut", [])])


def network(layers: list[dict[str, Any]], training: bool) -> Callable[[dict[str, Any], Any], Any]:
    """(parameters by name, x) -> y."""

    def forward(p: dict[str, Any], x: Any) -> Any:
        for layer in layers:
            kind = layer["kind"]
            if kind == "conv2d":
                sizes = (layer["stride"], layer["padding"], 1, layer["groups"])
                x = conv(x, p[layer["weight"]], p[layer["bias"]], *sizes)
            elif kind == "batch_norm":
                x = batch_norm(x, p[layer["weight"]], p[layer["bias"]], training)
            elif kind == "residual":
                inner, past = (network(layer[part], training) for part in ("layers", "shortcut"))
                x = inner(p, x) + past(p, x)
            elif kind == "global_avg_pool":
                x = x.mean((1, 2))
            elif kind == "conv_transpose2d":
                options = {name: layer[name] for name in ("stride", "padding", "output_padding")}
                x = conv_transpose(x, p[layer["weight"]], p[layer["bias"]], **options)
            elif kind == "tied_k_sparse":
                x = tied_k_sparse(x, *(p[layer[name]] for name in ("weight", "bias", "back")), layer["k"])
            elif kind == "sigmoid":
                x = jax.nn.sigmoid(x)
            elif kind == "one_hot":
                x = jax.nn.one_hot(x, layer["size"])
            elif kind == "embedding":
                x = p[layer["weight"]][x]
            elif kind in ("lstm", "gru"):
                x = recurrent(layer, p, x)
            elif kind == "linear":
                x = x @ p[layer["weight"]].T + p[layer["bias"]]
            elif kind == "max_pool2d":
                x = max_pool(x, layer["size"], layer["size"], 0)
            elif kind == "flatten":
                x = x.reshape(len(x), -1)
            else:
                x = jax.nn.relu(x)
        return x

    return forward


class Training:
    """A network, its loss and Adam (which JAX leaves to its users), jitted as one step."""

    def __init__(self, spec: dict[str, Any], a: Arrays) -> None:
        self.forward = network(spec["layers"], training=True)
        self.predict = jax.jit(network(spec["layers"], training=False))
        given = {name: jnp.asarray(a[name]) for name in parameters(spec["layers"])}
        m, v = ({name: jnp.zeros_like(p) for name, p in given.items()} for _ in range(2))
        self.cross_entropy, self.lr = spec["loss"] == "cross_entropy", spec["lr"]
        self.state = (given, m, v, jnp.float32(0))
        self._step = jax.jit(self._update, donate_argnums=0)

    def _loss(self, p: dict[str, Any], x: Any, y: Any) -> Any:
        found = self.forward(p, x)
        if self.cross_entropy:
            return -jnp.take_along_axis(jax.nn.log_softmax(found), y[..., None], -1).mean()
        return jnp.mean((found - y) ** 2)

    def _update(self, state: Any, x: Any, y: Any) -> Any:
        p, m, v, count = state
        loss, grads = jax.value_and_grad(self._loss)(p, x, y)
        count = count + 1
        m = jax.tree.map(lambda m, g: BETAS[0] * m + (1 - BETAS[0]) * g, m, grads)
        v = jax.tree.map(lambda v, g: BETAS[1] * v + (1 - BETAS[1]) * g * g, v, grads)
        rate, scale = self.lr / (1 - BETAS[0] ** count), 1 / (1 - BETAS[1] ** count)
        p = jax.tree.map(lambda p, m, v: p - rate * m / (jnp.sqrt(v * scale) + ADAM_EPS), p, m, v)
        return (p, m, v, count), loss

    def step(self, x: Any, y: Any) -> float:
        self.state, loss = self._step(self.state, x, y)
        jax.block_until_ready(self.state)
        return float(loss)


def model(spec: dict[str, Any], a: Arrays) -> Job:
    """A whole training step, or a prediction."""
    training = Training(spec, a)
    x, y = jnp.asarray(a["x"]), jnp.asarray(a["y"])
    if spec["pass"] == "predict":

        def predict() -> Any:
            return jax.block_until_ready(training.predict(training.state[0], x))

        return Job(predict, lambda: {"y": np.asarray(predict())})

    def losses() -> Arrays:
        return {"losses": np.array([training.step(x, y) for _ in range(spec["steps"])])}

    return Job(lambda: training.step(x, y), losses)


def epoch(spec: dict[str, Any], a: Arrays) -> Epoch:
    """Passes over a whole data set, in the order given. Compiling for both sizes of batch is not counted."""
    white, size = np.float32(spec["white"]), spec["batch"]
    x, x_test = (np.divide(a[name], white, dtype=np.float32) for name in ("x", "x_test"))
    y, y_test, orders = a["y"], a["y_test"], iter(a["orders"])
    trial, training = Training(spec, a), Training(spec, a)
    training._step = trial._step
    for count in {size, len(x) % size or size}:
        trial.step(x[:count], y[:count])

    def train() -> float:
        start = time.perf_counter()
        order = next(orders)
        for i in range(0, len(order), size):
            rows = order[i : i + size]
            training.step(x[rows], y[rows])
        return time.perf_counter() - start

    def accuracy() -> float:
        right = 0
        for i in range(0, len(x_test), 250):
            scores = np.asarray(training.predict(training.state[0], x_test[i : i + 250]))
            right += int((scores.argmax(1) == y_test[i : i + 250]).sum())
        return right / len(x_test)

    return Epoch(train, accuracy)


def prepare(spec: dict[str, Any], a: Arrays, variant: str) -> Job | Epoch:
    return {"model": model, "epoch": epoch}.get(spec["op"], kernel)(spec, a)


if __name__ == "__main__":
    serve(jax.__version__, VARIANTS, prepare)
