"""Keras: its training loop on whichever backend is set up; single ops only on TensorFlow's."""

import sys
import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from peers.worker import Arrays, Epoch, Job, Unsupported, serve

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf
else:
    tf = None

VARIANTS = {"kernels": [""] if tf else [], "training": [""], "epoch": [""]}


def _conv2d(x: Any, w: Any, b: Any, stride: int, padding: int, dilation: int, groups: int) -> Any:
    around = [[0, 0], [padding, padding], [padding, padding], [0, 0]]
    y = tf.nn.conv2d(x, tf.transpose(w, (1, 2, 3, 0)), stride, around, dilations=dilation)
    return tf.nn.bias_add(y, b)


def _max_pool(x: Any, kernel: int, stride: int, padding: int) -> Any:
    return tf.nn.max_pool2d(x, kernel, stride, [[0, 0], [padding, padding], [padding, padding], [0, 0]])


def _avg_pool(x: Any, kernel: int, stride: int, padding: int) -> Any:
    if padding:
        raise Unsupported("TensorFlow pads mean pooling by its own rules only")
    return tf.nn.avg_pool2d(x, kernel, stride, "VALID")


def _lstm_cell(x: Any, h: Any, c: Any, w_ih: Any, w_hh: Any, b: Any) -> Any:
    z = tf.matmul(x, w_ih, transpose_b=True) + tf.matmul(h, w_hh, transpose_b=True) + b
    i, f, g, o = tf.split(z, 4, axis=1)
    c_next = tf.sigmoid(f) * c + tf.sigmoid(i) * tf.tanh(g)
    return tf.sigmoid(o) * tf.tanh(c_next), c_next


# function, inputs, gradients that come in, names of the outputs and of the gradients
_OPS: dict[str, tuple[Callable[..., Any], str, str, str]] = {}
if tf:
    _OPS = {
        "conv2d": (_conv2d, "x w b", "dy", "y dx dw db"),
        "max_pool2d": (_max_pool, "x", "dy", "y dx"),
        "avg_pool2d": (_avg_pool, "x", "dy", "y dx"),
        "gemm": (tf.matmul, "a b", "dy", "y da db"),
        "lstm_cell": (
            _lstm_cell,
            "x h c w_ih w_hh b",
            "dh_next dc_next",
            "h_next c_next dx dh dc dw_ih dw_hh db",
        ),
        "relu": (tf.nn.relu, "x", "dy", "y dx"),
        "sigmoid": (tf.sigmoid, "x", "dy", "y dx"),
        "tanh": (tf.tanh, "x", "dy", "y dx"),
        "softmax": (tf.nn.softmax, "x", "dy", "y dx"),
        "log_softmax": (tf.nn.log_softmax, "x", "dy", "y dx"),
    }


def kernel(spec: dict[str, Any], a: Arrays) -> Job:
    """One op as a tf.function, forward or forward + backward."""
    if spec["op"] not in _OPS or spec["options"].get("groups", 1) != 1:
        raise Unsupported("no such op here")
    plain, names, incoming, outputs = _OPS[spec["op"]]
    inputs = [tf.constant(a[name]) for name in names.split()]
    dys = [tf.constant(a[name]) for name in incoming.split()]

    @tf.function
    def forward(*xs: Any) -> Any:
        y = plain(*xs, **spec["options"])
        return y if isinstance(y, tuple) else (y,)

    @tf.function
    def both(xs: list[Any], dys: list[Any]) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(xs)
            ys = forward(*xs)
        return *ys, *tape.gradient(ys, xs, dys)

    def call() -> Any:
        found = forward(*inputs) if spec["pass"] == "forward" else both(inputs, dys)
        found[-1].numpy()
        return found

    def results() -> Arrays:
        return {name: y.numpy() for name, y in zip(outputs.split(), call(), strict=False)}

    return Job(call, results)


class _TiedKSparse(keras.layers.Layer):
    """The k greatest of x w^T + b, times w, and c."""

    def __init__(self, k: int, hidden: int) -> None:
        super().__init__()
        self.k, self.hidden = k, hidden

    def build(self, shape: Any) -> None:
        shapes = ((self.hidden, shape[-1]), (self.hidden,), (shape[-1],))
        self.w, self.b, self.c = (self.add_weight(shape=shape) for shape in shapes)

    def call(self, x: Any) -> Any:
        z = keras.ops.matmul(x, keras.ops.transpose(self.w)) + self.b
        least = keras.ops.stop_gradient(keras.ops.top_k(z, self.k)[0][:, -1:])
        return keras.ops.matmul(keras.ops.where(z >= least, z, 0.0), self.w) + self.c


_PLAIN = {
    "relu": keras.layers.ReLU,
    "sigmoid": lambda: keras.layers.Activation("sigmoid"),
    "flatten": keras.layers.Flatten,
    "global_avg_pool": keras.layers.GlobalAveragePooling2D,
}
# A layer and its weights.
Part = tuple[Any, list[np.ndarray]]


def network(layers: list[dict[str, Any]], a: Arrays) -> Any:
    """The described layers with the given weights."""
    x = keras.layers.Input(a["x"].shape[1:], dtype=a["x"].dtype.name)
    parts: list[Part] = []
    model = keras.Model(x, _applied(layers, a, x, parts))
    for layer, weights in parts:
        layer.set_weights(weights)
    return model


def _applied(layers: list[dict[str, Any]], a: Arrays, x: Any, parts: list[Part]) -> Any:
    """What the layers make of x; those that have weights are noted in `parts`."""
    for layer in layers:
        if layer["kind"] == "residual":
            inner, past = (_applied(layer[part], a, x, parts) for part in ("layers", "shortcut"))
            x = keras.layers.Add()([inner, past])
            continue
        for made, weights in _made(layer, a):
            x = made(x)
            if weights:
                parts.append((made, weights))
    return x


def _made(layer: dict[str, Any], a: Arrays) -> list[Part]:
    """Keras' layers for one of ours."""
    kind = layer["kind"]
    if kind == "tied_k_sparse":
        weights = [a[layer[name]] for name in ("weight", "bias", "back")]
        return [(_TiedKSparse(layer["k"], len(a[layer["weight"]])), weights)]
    if kind == "one_hot":
        return [(keras.layers.Lambda(keras.ops.one_hot, arguments={"num_classes": layer["size"]}), [])]
    if kind == "embedding":
        w = a[layer["weight"]]
        return [(keras.layers.Embedding(*w.shape), [w])]
    if kind in ("lstm", "gru"):
        return _recurrent(layer, a)
    if kind == "max_pool2d":
        return [(keras.layers.MaxPooling2D(layer["size"]), [])]
    if "weight" not in layer:
        return [(_PLAIN[kind](), [])]
    w, b = a[layer["weight"]], a[layer["bias"]]
    if kind == "batch_norm":
        return [(keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5), [w, b, 0 * w, 0 * w + 1])]
    if kind == "linear":
        return [(keras.layers.Dense(len(w)), [w.T, b])]
    return _convolution(layer, w, b)


def _recurrent(layer: dict[str, Any], a: Arrays) -> list[Part]:
    """Keras keeps a GRU's gates in the order z, r, n, and two biases for each, of which both learn."""
    build = keras.layers.GRU if layer["kind"] == "gru" else keras.layers.LSTM
    found, names, ways = [], layer["layers"], layer["ways"]
    for i in range(0, len(names), ways):
        weights: list[np.ndarray] = []
        for given in names[i : i + ways]:
            w_ih, w_hh, b = (a[given[part]] for part in ("weight_ih", "weight_hh", "bias"))
            if layer["kind"] == "gru":
                r, z, n, m = np.split(b, 4)
                w_ih, w_hh = (np.concatenate([*np.split(w, 3)[1::-1], w[2 * len(r) :]]) for w in (w_ih, w_hh))
                b = np.stack([np.concatenate([z, r, n]), np.concatenate([0 * z, 0 * r, m])])
            weights += [w_ih.T, w_hh.T, b]
        made = build(len(w_hh[0]), return_sequences=not layer["last"] or i + ways < len(names))
        found.append((keras.layers.Bidirectional(made) if ways == 2 else made, weights))
    return found


def _convolution(layer: dict[str, Any], w: np.ndarray, b: np.ndarray) -> list[Part]:
    if layer["kind"] == "conv_transpose2d":
        # Keras' own paddings begin elsewhere: the whole, without what the padding takes off.
        before, after = layer["padding"], layer["padding"] - layer["output_padding"]
        made = keras.layers.Conv2DTranspose(w.shape[3], w.shape[1], layer["stride"])
        cropping = keras.layers.Cropping2D(((before, after), (before, after)))
        return [(made, [w.transpose(1, 2, 3, 0), b]), (cropping, [])]
    padding: list[Part] = []
    if layer["padding"]:
        padding.append((keras.layers.ZeroPadding2D(layer["padding"]), []))
    if layer["groups"] == 1:
        made = keras.layers.Conv2D(len(w), w.shape[1], layer["stride"])
        return [*padding, (made, [w.transpose(1, 2, 3, 0), b])]
    if layer["groups"] != len(w) or w.shape[3] > 1:
        raise Unsupported("groups of several channels cannot be trained on processors")
    made = keras.layers.DepthwiseConv2D(w.shape[1], layer["stride"])
    return [*padding, (made, [w.transpose(1, 2, 0, 3), b])]


def compiled(spec: dict[str, Any], a: Arrays) -> Any:
    """The network with its loss and Adam."""
    model = network(spec["layers"], a)
    losses = keras.losses
    loss = (
        losses.SparseCategoricalCrossentropy(from_logits=True)
        if spec["loss"] == "cross_entropy"
        else losses.MeanSquaredError()
    )
    # Keras adds epsilon before the bias correction of the second moment, where it weighs up to
    # 1/sqrt(1 - 0.999) times more than in the paper: this is 1e-8 at the first step.
    epsilon = 1e-8 * (1 - 0.999) ** 0.5
    model.compile(optimizer=keras.optimizers.Adam(spec["lr"], epsilon=epsilon), loss=loss)
    return model


def model(spec: dict[str, Any], a: Arrays) -> Job:
    """A whole training step, or a prediction."""
    built = compiled(spec, a)
    x, y = a["x"], a["y"]
    if spec["pass"] == "predict":
        return Job(lambda: built.predict_on_batch(x), lambda: {"y": np.asarray(built.predict_on_batch(x))})

    def losses() -> Arrays:
        return {"losses": np.array([_loss(built, x, y) for _ in range(spec["steps"])])}

    return Job(lambda: built.train_on_batch(x, y), losses)


def _loss(built: Any, x: np.ndarray, y: np.ndarray) -> float:
    """Of this step alone: Keras returns a running mean."""
    built.reset_metrics()
    return float(np.asarray(built.train_on_batch(x, y)).ravel()[0])


def epoch(spec: dict[str, Any], a: Arrays) -> Epoch:
    """`fit` over a whole data set, in the order given. Compiling is not counted."""
    white, size = np.float32(spec["white"]), spec["batch"]
    x, x_test = (np.divide(a[name], white, dtype=np.float32) for name in ("x", "x_test"))
    y, y_test, orders = a["y"], a["y_test"], iter(a["orders"])
    built = compiled(spec, a)
    weights = built.get_weights()
    built.fit(x[: size + len(x) % size], y[: size + len(x) % size], batch_size=size, shuffle=False, verbose=0)
    built.set_weights(weights)
    for variable in built.optimizer.variables:  # Adam starts anew as well
        if variable is not built.optimizer.learning_rate:
            variable.assign(np.zeros(variable.shape, variable.dtype))

    def train() -> float:
        start = time.perf_counter()
        order = next(orders)
        built.fit(x[order], y[order], batch_size=size, shuffle=False, verbose=0)
        return time.perf_counter() - start

    def accuracy() -> float:
        scores = built.predict(x_test, batch_size=250, verbose=0)
        return float(np.mean(scores.argmax(1) == y_test))

    return Epoch(train, accuracy)


def prepare(spec: dict[str, Any], a: Arrays, variant: str) -> Job | Epoch:
    return {"model": model, "epoch": epoch}.get(spec["op"], kernel)(spec, a)


if __name__ == "__main__":
    if tf:
        tf.config.threading.set_intra_op_parallelism_threads(int(sys.argv[1]))
        tf.config.threading.set_inter_op_parallelism_threads(1)
    serve(f"{keras.__version__} on {keras.backend.backend()}", VARIANTS, prepare)
