"""Write fixtures.npz: small cases worked out by PyTorch, for machines without it.

Run with `python -m tests.ops.make_fixtures` from the root of the repository, with PyTorch installed.
"""

import json
import pathlib

import numpy as np

from tests.ops.cases import ALL
from tests.ops.parity import by_torch

_PER_OP = 3
_LARGEST = 420  # elements of a case, inputs and outputs


def _elements(case):
    y, _ = case.forward(case.arrays(np.float32, "distinct"))
    return 2 * sum(int(np.prod(shape)) for shape in case.shapes.values()) + 2 * sum(out.size for out in y)


def _chosen():
    """The largest of the small cases of each op, so that no case is trivial."""
    for op in dict.fromkeys(case.op for case in ALL):
        cases = [case for case in ALL if case.op == op and case.exists_in_torch and not case.variant]
        small = [c for c in cases if _elements(c) <= _LARGEST and not any(0 in s for s in c.shapes.values())]
        yield from sorted(small, key=_elements)[-_PER_OP:]


def main():
    """Write the file beside this one."""
    index, values = [], []
    for case in _chosen():
        arrays = case.arrays(np.float32, "distinct")
        y, _ = case.forward(arrays)
        dys = case.gradients(y, "normal")
        right_y, right_grads = by_torch(case, arrays, dys)
        parts = {"input": arrays, "gradient": right_grads}
        parts |= {"dy": dict(enumerate(dys)), "output": dict(enumerate(right_y))}
        for kind, members in parts.items():
            for name, value in members.items():
                dtype = "int64" if value.dtype.kind == "i" else "float32"
                index.append((case.id, kind, name, value.shape, dtype))
                values.append(np.ravel(value).astype(np.float32))
    path = pathlib.Path(__file__).with_name("fixtures.npz")
    np.savez_compressed(path, index=np.array(json.dumps(index)), values=np.concatenate(values))


if __name__ == "__main__":
    main()
