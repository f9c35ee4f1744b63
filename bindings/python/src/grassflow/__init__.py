"""Train and evaluate small language models, the attention-free Grassmann-flow model and a
transformer of its size, through the installed libgrassflow.

A Context owns a device; from it come Tokenizer, Dataset and Model; a Trainer joins a model and a
dataset. Each is a context manager with a close(), and is closed when it is collected; what another
still needs lives on.

Shapes are written with B sequences, T tokens of one sequence and a vocabulary of V. Losses are in
nats per predicted token, or per pair, times in seconds. Failures are subclasses of Error, whose
text names the file, line, option or size at fault.

Handles may be used from any thread: those of one context take turns, each for one call of the
library, such as one training step. Work that is to run at once needs a context each.
"""

from ._context import Context, ProfileEntry
from ._dataset import Dataset, DatasetInfo, PairReport
from ._errors import (
    CancelledError,
    DeviceError,
    Error,
    FileError,
    FormatError,
    InternalError,
    InvalidArgumentError,
    MismatchError,
    NotFiniteError,
    NotFoundError,
    OutOfMemoryError,
    UnsupportedError,
)
from ._model import EvalReport, Model, ModelConfig
from ._native import SNLI_CLASSES
from ._native import library_version as _library_version
from ._tokenizer import SpecialIds, Tokenizer
from ._trainer import Trainer, TrainOptions, TrainReport, TrainState

__version__ = _library_version()  # of the library that runs, such as "0.1.0"

__all__ = [
    "CancelledError",
    "Context",
    "Dataset",
    "DatasetInfo",
    "DeviceError",
    "Error",
    "EvalReport",
    "FileError",
    "FormatError",
    "InternalError",
    "InvalidArgumentError",
    "MismatchError",
    "Model",
    "ModelConfig",
    "NotFiniteError",
    "NotFoundError",
    "OutOfMemoryError",
    "PairReport",
    "ProfileEntry",
    "SNLI_CLASSES",
    "SpecialIds",
    "Tokenizer",
    "TrainOptions",
    "TrainReport",
    "TrainState",
    "Trainer",
    "UnsupportedError",
]
