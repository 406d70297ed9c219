"""No time without a right result: every pass is compared with float64 before it is timed."""

from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
from cases.case import Pass, copied, widened

from lamina import config

PEER_TOLERANCE = 1e-3  # of the greatest element: shows that a peer computes the same thing, not how well


@dataclass(frozen=True)
class Verdict:
    """errors: greatest error of each output, bounds: what is allowed; exact: the outputs in float64."""

    errors: dict[str, dict[str, float]]  # by backend, by output
    bounds: dict[str, float]
    exact: dict[str, np.ndarray]

    @property
    def wrong(self) -> str:
        """Why no time may be printed; empty if all is right."""
        return "; ".join(
            f"{backend}: {name} is off by {error:.1e}, allowed {self.bounds[name]:.1e}"
            for backend, errors in self.errors.items()
            for name, error in errors.items()
            if not error <= self.bounds[name]
        )

    @property
    def error(self) -> float:
        """The greatest of the compiled kernels."""
        return max(self.errors["cpp"].values())

    @property
    def relative(self) -> float:
        """The same, each output's as a part of the greatest that it should hold."""
        cpp = self.errors["cpp"]
        return max(cpp[name] / (float(np.abs(right).max()) or 1.0) for name, right in self.exact.items())


def verify(one: Pass, arrays: SimpleNamespace) -> Verdict:
    """Run a pass in float64 on NumPy, and in float32 on both backends."""
    with config.use_backend("numpy"):
        exact = dict(zip(one.outputs, map(np.asarray, one.run(widened(arrays))), strict=True))
    errors = {}
    for name in ("cpp", "numpy"):
        with config.use_backend(name):
            outputs = one.run(copied(arrays))
        errors[name] = {
            key: greatest_error(np.asarray(output), exact[key])
            for key, output in zip(one.outputs, outputs, strict=True)
        }
    return Verdict(errors, dict(zip(one.outputs, one.bounds, strict=True)), exact)


def greatest_error(found: np.ndarray, exact: np.ndarray) -> float:
    """Infinite for another shape and for NaN."""
    if found.shape != exact.shape:
        return float("inf")
    error = float(np.abs(found - exact).max())
    return error if np.isfinite(error) else float("inf")


def disagreement(outputs: dict[str, np.ndarray], exact: dict[str, np.ndarray]) -> str:
    """Why a peer's outputs are not those of this pass; empty if they are."""
    for name, right in exact.items():
        if name not in outputs:
            return f"gave no {name}"
        error = greatest_error(outputs[name].astype(np.float64), right.astype(np.float64))
        allowed = PEER_TOLERANCE * max(float(np.abs(right).max()), 1e-30)
        if not error <= allowed:
            return f"its {name} is off by {error:.1e}, allowed {allowed:.1e}"
    return ""
