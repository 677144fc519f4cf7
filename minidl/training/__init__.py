"""The training loop and what belongs to it: evaluation, history, checkpoints, schedules, run folders."""

from minidl.training.checkpoint import load_checkpoint, save_checkpoint
from minidl.training.evaluation import accuracy, evaluate
from minidl.training.history import History
from minidl.training.loop import Diverged, fit
from minidl.training.progress import Progress
from minidl.training.run import Run, RunError
from minidl.training.schedule import constant, cosine, warmup_cosine, warmup_linear
from minidl.training.stopping import best_epoch

__all__ = [
    "Diverged",
    "History",
    "Progress",
    "Run",
    "RunError",
    "accuracy",
    "best_epoch",
    "constant",
    "cosine",
    "evaluate",
    "fit",
    "load_checkpoint",
    "save_checkpoint",
    "warmup_cosine",
    "warmup_linear",
]
