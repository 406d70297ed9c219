"""What the tests of autoencoders share: data, and gradients of a whole loss by central differences."""

import numpy as np

from lamina import Tensor

RNG = np.random.default_rng(11)
ROWS = RNG.random((5, 6)).astype(np.float32)
IMAGES = RNG.random((2, 4, 8, 2)).astype(np.float32)


def prototypes(samples=400, features=20, kinds=4):
    """Rows near one of a few prototypes in [0, 1]: there is something to learn."""
    rng = np.random.default_rng(5)
    which = rng.integers(kinds, size=samples)
    centres = rng.random((kinds, features))
    x = centres[which] + 0.05 * rng.standard_normal((samples, features))
    return x.astype(np.float32), which


def check_loss_gradients(model, x, before=lambda: None, objective=None, rtol=1e-6, atol=1e-8):
    """Compare the gradients of the loss for x and every parameter with central differences, in float64.

    before: called before every evaluation, to draw the same noise again. objective: loss to differentiate
    (default: the model's). Biases are moved off 0, where relu, fed with what was unpooled, has its kink.
    """
    model.astype(np.float64)
    for i, p in enumerate(p for p in model.parameters() if p.ndim == 1):
        p.data += np.random.default_rng(i).uniform(0.05, 0.15, p.shape)
    x = np.array(x, np.float64)
    objective = objective or model.loss

    def run():
        before()
        return objective(Tensor(x)).item()

    tensor = Tensor(x.copy(), requires_grad=True)
    before()
    objective(tensor).backward()
    named = [("x", x, tensor.grad), *((n, p.data, p.grad) for n, p in model.named_parameters())]
    for name, value, found in named:
        expected, step = np.zeros_like(value), 1e-5
        for at in np.ndindex(value.shape):
            former = value[at]
            value[at] = former + step
            high = run()
            value[at] = former - step
            expected[at] = (high - run()) / (2 * step)
            value[at] = former
        assert np.abs(expected).max() > 0, f"{name} does not matter"
        np.testing.assert_allclose(found, expected, rtol=rtol, atol=atol, err_msg=name)
