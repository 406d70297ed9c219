"""The sparse autoencoder of the CS294A notes and the exercises of the UFLDL tutorial, with their settings."""

from collections.abc import Iterator
from typing import Any

import numpy as np

import lamina as lm
from lamina import nn, optim, probe, viz
from lamina.autoencoders import SparseAutoencoder
from papers.row import Effort, Row, all_processors

TITLE = "Ng 2011, Sparse autoencoder (CS294A notes); Ng, Ngiam, Foo, Mai, Suen 2011, UFLDL tutorial"

_EDGE = 0.5  # a filter counts as an edge if one Gabor explains more of its energy (`probe.gabor_fit`)
_DIGITS = {"rho": 0.1, "weight_decay": 3e-3, "beta": 3.0}
Array = np.ndarray[Any, Any]


def run(effort: Effort) -> Iterator[Row]:
    with all_processors():
        yield from _gradients()
        yield from _edges(effort)
        try:
            data = lm.datasets.mnist()
        except (FileNotFoundError, ImportError) as error:
            yield Row("all on digits", "MNIST", f"not run: {error}", None)
            return
        x, x_test = (part.reshape(len(part), -1) for part in (data.x_train, data.x_test))
        yield _strokes(x, effort)
        yield _softmax_regression(x, data.y_train, x_test, data.y_test, effort)
        yield from _self_taught(x, data.y_train, effort)
        yield from _stack(x, data.y_train, x_test, data.y_test, effort)


# training ----------------------------------------------------------------------------------------------
def autoencoder(visible: int, hidden: int, seed: int = 0, **options: Any) -> SparseAutoencoder:
    """Weights uniform within sqrt(6 / (visible + hidden + 1)), biases 0."""
    model, rng = SparseAutoencoder(visible, hidden, rng=seed, **options), lm.init.generator(seed)
    bound = np.sqrt(6 / (visible + hidden + 1))
    for p in model.parameters():
        p.data[...] = rng.uniform(-bound, bound, p.shape) if p.ndim == 2 else 0
    return model


def minimize(parameters: Any, loss: Any, iterations: int) -> optim.Minimum:
    """L-BFGS on the whole of the data."""

    def closure() -> lm.Tensor:
        value = loss()
        value.backward()
        return value

    return optim.LBFGS(parameters).minimize(closure, iterations, tolerance=0)


def classify(model: nn.Module, x: Array, y: Array, iterations: int, decay: float) -> None:
    """Cross-entropy, and half of `decay` times the squares of the last layer's weights."""
    entropy, last = nn.CrossEntropyLoss(), [p for p in model.parameters() if p.ndim == 2][-1]
    minimize(
        model.parameters(), lambda: entropy(model(x), y) + (last * last).sum() * (0.5 * decay), iterations
    )


def _accuracy(model: nn.Module, x: Array, y: Array) -> float:
    return float(np.mean(model.predict(x).argmax(axis=1) == y))


# gradients ---------------------------------------------------------------------------------------------
def _gradients() -> Iterator[Row]:
    x = nn.Parameter(np.array([4.0, 10.0]))
    (x[0] * x[0] + 3 * x[0] * x[1]).backward()
    found = ", ".join(f"{g:g}" for g in x.grad)
    yield Row("gradient of x1^2 + 3 x1 x2 at (4, 10)", "38, 12", found, found == "38, 12")
    difference = gradient_difference()
    yield Row(
        "gradient check |num - ana| / |num + ana|: error, weight decay and KL, 10 examples, 2 hidden units",
        "usually less than 1e-9",
        f"{difference:.1e}",
        difference < 1e-9,
    )


def gradient_difference(step: float = 1e-4) -> float:
    """Central differences against the tape, in float64, with a KL term that is far from its minimum."""
    model = autoencoder(64, 2, rho=0.01, beta=3.0, weight_decay=1e-4).astype(np.float64)
    x = np.random.default_rng(0).uniform(0.1, 0.9, (10, 64))
    model.loss(x).backward()
    analytic = np.concatenate([p.grad.ravel() for p in model.parameters()])
    numeric = []
    for p in model.parameters():
        for i in np.ndindex(p.shape):
            value, sides = p.data[i], []
            for moved in (value + step, value - step):
                p.data[i] = moved
                sides.append(model.loss(x).item())
            p.data[i] = value
            numeric.append((sides[0] - sides[1]) / (2 * step))
    return float(np.linalg.norm(numeric - analytic) / np.linalg.norm(numeric + analytic))


# patches -----------------------------------------------------------------------------------------------
def _edges(effort: Effort) -> Iterator[Row]:
    name, images = _images(effort)
    count, iterations = effort.pick(1000, 10_000, 10_000), effort.pick(30, 400, 400)
    sparse = f"8x8 patches of {name}, 25 hidden, rho 0.01, {iterations} iterations"
    for beta in (3.0, 0.0):
        model, _ = _trained(images, count, 8, 25, beta, iterations)
        share, wanted = _edge_share(model), "edge detectors (wanted: at least 80 %)"
        met = share >= 0.8 if beta else share == 0
        yield Row(
            f"{sparse}: filters that are edges, one Gabor explaining more than half"
            if beta
            else "the same without sparsity, beta 0",
            wanted if beta else "none (wanted: 0 %)",
            f"{share:.0%}",
            None if effort.quick else met,
        )
    model, patches = _trained(images, count, 10, 100, 3.0, iterations)
    share = _edge_share(model)
    yield Row(
        f"10x10 patches, 100 hidden, {iterations} iterations: edges",
        "edges of many positions and orientations (wanted: at least 80 %)",
        f"{share:.0%}",
        None if effort.quick else share >= 0.8,
    )
    mean = float(model.encoder.predict(patches).mean())
    near = abs(mean - 0.01) < 0.005
    yield Row("the same, mean activation", "0.01", f"{mean:.4f}", None if effort.quick else near)
    yield _unbeaten(model)


def _images(effort: Effort) -> tuple[str, Array]:
    """Grey images with a flat spectrum. The photographs are halved: their finest details are compressed."""
    if not effort.quick:
        try:
            grey = lm.datasets.photographs().mean(axis=3)[:, :426]
            grey = grey.reshape(2, 213, 2, 320, 2).mean(axis=(2, 4))
            return "two photographs", lm.image.whiten_spectrum(grey)
        except ImportError:
            pass
    return "fallen leaves", lm.image.whiten_spectrum(lm.image.dead_leaves(10, rng=0))


def _trained(
    images: Array, count: int, size: int, hidden: int, beta: float, iterations: int
) -> tuple[SparseAutoencoder, Array]:
    patches = lm.image.normalize_patches(lm.image.random_patches(images, count, size, rng=0))
    x = patches.reshape(count, -1)
    model = autoencoder(size * size, hidden, rho=0.01, beta=beta, weight_decay=1e-4)
    minimize(model.parameters(), lambda: model.loss(x), iterations)
    return model, x


def _edge_share(model: SparseAutoencoder) -> float:
    return float(np.mean(probe.gabor_fit(model.hidden.weight.data) > _EDGE))


def _unbeaten(model: SparseAutoencoder, count: int = 100_000) -> Row:
    """Of the inputs of norm 1, the one of the closed form excites its unit most."""
    best = np.diag(model.encoder.predict(viz.maximize(model, model.encode)))
    others = np.random.default_rng(0).standard_normal((count, model.in_features)).astype(np.float32)
    others /= np.linalg.norm(others, axis=1, keepdims=True)
    highest = model.encoder.predict(others).max(axis=0)
    beaten = int((highest >= best).sum())
    return Row(
        f"units that one of {count:,} random inputs of norm 1 excites more than w/|w|",
        "none can",
        f"{beaten} of {len(best)}",
        beaten == 0,
    )


# digits ------------------------------------------------------------------------------------------------
def _strokes(x: Array, effort: Effort) -> Row:
    """A stroke is a part of a digit, so filters that are strokes have fewer pixels than digits have."""
    count, iterations = effort.pick(500, 10_000, 10_000), effort.pick(5, 200, 400)
    model = autoencoder(784, 196, **_DIGITS)
    start = pixels(model.hidden.weight.data)
    minimize(model.parameters(), lambda: model.loss(x[:count]), iterations)
    found, digits = pixels(model.hidden.weight.data), pixels(x[:count])
    return Row(
        f"{count:,} digits, 784-196-784, {iterations} iterations: pixels that a filter looks at, of 784",
        f"pen strokes (wanted: fewer than a digit has, {digits:.0f})",
        f"{found:.0f}, at the start {start:.0f}",
        None if effort.quick else found < digits,
    )


def pixels(images: Array) -> float:
    """How many pixels have the energy of an image, (sum w^2)^2 / sum w^4: the median."""
    energy = np.asarray(images, np.float64).reshape(len(images), -1) ** 2
    return float(np.median(energy.sum(axis=1) ** 2 / (energy**2).sum(axis=1)))


def _softmax_regression(x: Array, y: Array, x_test: Array, y_test: Array, effort: Effort) -> Row:
    count, iterations = effort.pick(2000, 60_000, 60_000), effort.pick(10, 100, 100)
    model = nn.Linear(784, 10, rng=0)
    classify(model, x[:count], y[:count], iterations, 1e-4)
    found = _accuracy(model, x_test, y_test)
    return Row(
        f"softmax regression, {count:,} digits, {iterations} iterations",
        "92.6 % (less than 91 % is a bug)",
        f"{found:.1%}",
        None if effort.quick else abs(found - 0.926) < 0.005,
    )


def _self_taught(x: Array, y: Array, effort: Effort) -> Iterator[Row]:
    """Features learned from 5 to 9 tell 0 to 4 apart; half of those to learn from, half to test."""
    iterations = effort.pick(5, 100, 400)
    others, known = x[y >= 5][: effort.pick(500, 10_000, 60_000)], x[y < 5]
    labels, half = y[y < 5], np.count_nonzero(y < 5) // 2
    if effort.quick:
        half = 500
    model = autoencoder(784, 200, **_DIGITS)
    minimize(model.parameters(), lambda: model.loss(others), iterations)
    found = {}
    for name, features in (("raw", known), ("learned", model.encoder.predict(known))):
        layer = nn.Linear(features.shape[1], 5, rng=0)
        classify(layer, features[:half], labels[:half], effort.pick(10, 100, 100), 1e-4)
        found[name] = _accuracy(layer, features[half:], labels[half:])
    yield Row("0 to 4 by softmax regression on pixels", "96 %", f"{found['raw']:.1%}", None)
    yield Row(
        f"the same on features of {len(others):,} digits 5 to 9, 200 hidden, {iterations} iterations",
        "98 % (wanted: better than pixels)",
        f"{found['learned']:.1%}",
        None if effort.quick else found["learned"] > found["raw"],
    )


def _stack(x: Array, y: Array, x_test: Array, y_test: Array, effort: Effort) -> Iterator[Row]:
    """784-200-200-10: two autoencoders, one on the codes of the other; a softmax layer; then all of it."""
    count, iterations = effort.pick(500, 10_000, 60_000), effort.pick(5, 100, 400)
    x, y, layers, codes = x[:count], y[:count], [], x[:count]
    for visible in (784, 200):
        model = autoencoder(visible, 200, **_DIGITS)
        minimize(model.parameters(), lambda m=model, z=codes: m.loss(z), iterations)
        layers.append(model)
        codes = model.encoder.predict(codes)
    last = nn.Linear(200, 10, rng=0)
    classify(last, codes, y, effort.pick(10, 100, 100), 3e-3)
    whole = nn.Sequential(*[layer.encoder for layer in layers], last)
    before = _accuracy(whole, x_test, y_test)
    yield Row(
        f"784-200-200-10, {count:,} digits, {iterations} iterations each: before fine-tuning",
        "87.7 % (60,000 digits, 400 iterations)",
        f"{before:.1%}",
        None,
    )
    classify(whole, x, y, iterations, 3e-3)
    after = _accuracy(whole, x_test, y_test)
    wanted, met = ("97 %", after >= 0.97) if effort.long else ("more than before", after > before)
    published = f"97.6 % (wanted: {wanted})"
    yield Row("the same after fine-tuning", published, f"{after:.1%}", None if effort.quick else met)
