"""Ring 2: float32 against the definition in float64, within a bound that follows from the sums."""

import numpy as np
import pytest

from tests.ops import oracle, tolerance
from tests.ops.cases import ALL

pytestmark = pytest.mark.usefixtures("machine")


@pytest.mark.parametrize("case", ALL, ids=lambda case: case.id)
def test_within_the_derived_tolerance(case):
    arrays = case.arrays(np.float32, "normal")
    y, ctx = case.forward(arrays)
    dys = case.gradients(y, "normal")
    grads = case.backward(dys, ctx)
    right_y, right_grads = oracle.answer(case, arrays, dys, "normal")
    y_bounds, grad_bounds = tolerance.bounds(case, arrays, dys)
    for found, right, bound in zip(y, right_y, y_bounds, strict=True):
        np.testing.assert_allclose(found, right, rtol=0, atol=bound)
    for name, found in grads.items():
        assert found.dtype == np.float32
        np.testing.assert_allclose(
            found, right_grads[name], rtol=0, atol=grad_bounds[name], err_msg=f"gradient of {name}"
        )
