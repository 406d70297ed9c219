"""Training: `fit`, `evaluate`, `pretrain`, the history, callbacks and metrics."""

from lamina.train.averaging import EMA, SWA
from lamina.train.callbacks import (
    Callback,
    Checkpoint,
    CSVLogger,
    EarlyStopping,
    LambdaCallback,
    NotSaved,
    Run,
)
from lamina.train.diagnosis import Diverged
from lamina.train.doctor import Finding, Findings, doctor
from lamina.train.evaluate import evaluate
from lamina.train.find_lr import Rates, find_lr
from lamina.train.fit import fit
from lamina.train.history import Best, History
from lamina.train.loggers import LivePlot, TensorBoard
from lamina.train.metrics import (
    accuracy,
    binary_accuracy,
    mean_absolute_error,
    mean_squared_error,
    top_k_accuracy,
)
from lamina.train.pretrain import pretrain

__all__ = [
    "EMA",
    "SWA",
    "Best",
    "CSVLogger",
    "Callback",
    "Checkpoint",
    "Diverged",
    "EarlyStopping",
    "Finding",
    "Findings",
    "History",
    "LambdaCallback",
    "LivePlot",
    "NotSaved",
    "Rates",
    "Run",
    "TensorBoard",
    "accuracy",
    "binary_accuracy",
    "doctor",
    "evaluate",
    "find_lr",
    "fit",
    "mean_absolute_error",
    "mean_squared_error",
    "pretrain",
    "top_k_accuracy",
]
