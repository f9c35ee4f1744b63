"""Models: shape, weights, logits, evaluation."""

from __future__ import annotations

import ctypes
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Optional

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _native as native
from ._context import Context
from ._dataset import Dataset
from ._errors import InvalidArgumentError
from ._handle import Handle, Shared, error
from ._native import GF_CANCELLED, MIXERS, WINDOW_SCHEDULES, WINDOW_WEIGHTS, library
from ._values import (
    Path,
    choice,
    from_struct,
    ids_array,
    name_of,
    optional_text,
    output,
    path,
    set_fields,
    text,
    whole,
)

Mixer = Literal["grassmann", "transformer"]
WindowSchedule = Literal["all", "per-layer"]
WindowWeights = Literal["mean", "learned"]

# The fields that name one of several things.
CHOICES = {"mixer": MIXERS, "window_schedule": WINDOW_SCHEDULES, "window_weights": WINDOW_WEIGHTS}
DEFAULT: Any = None  # replaced by the library's default of the mixer


@dataclass
class ModelConfig:
    """The shape of a model; what is not given has the library's default."""

    vocab_size: int  # V, at least 1
    mixer: Mixer = "grassmann"
    max_seq_len: int = DEFAULT  # longest sequence: learned positions
    num_layers: int = DEFAULT  # blocks
    model_dim: int = DEFAULT  # model width
    num_heads: int = DEFAULT  # a divisor of model_dim (transformer only)
    reduced_dim: int = DEFAULT  # reduced width of each head, at least 2 (Grassmann only)
    ff_dim: int = DEFAULT  # feed-forward width
    num_classes: int = DEFAULT  # 0: language model; else a pair classifier's classes, 16 at most
    dropout: float = DEFAULT  # probability, from 0 to below 1
    window_schedule: WindowSchedule = DEFAULT  # "per-layer": windows divided over the layers
    windows: list[int] = field(default_factory=list)  # offsets, 64 at most; []: 1, 2, 4, 8, 12, 16
    grassmann_heads: int = DEFAULT  # each with reduced_dim coordinates of its own; 0: 1
    window_weights: WindowWeights = DEFAULT  # "learned": offset_weight [heads, offsets of a layer]

    def __post_init__(self) -> None:
        for name, value in _fields_of(_defaults(self.mixer)).items():
            if getattr(self, name) is DEFAULT:
                setattr(self, name, value)

    @classmethod
    def grassmann_plus(cls, vocab_size: int, **others: Any) -> ModelConfig:
        """grassmann+: four heads of a reduced width of 16, twelve offsets from 1 to 64 for every
        layer, and learned weights. Other fields are given as to ModelConfig.
        """
        raw = _defaults("grassmann")
        library.gf_model_config_grassmann_plus(raw)
        fields = _fields_of(raw)
        fields.update(others, vocab_size=vocab_size)
        return cls(**fields)

    def count_parameters(self, context: Context) -> int:
        """Number of scalars of all parameters; no model is made."""
        count = ctypes.c_int64()
        context._call(library.gf_model_config_count, self._raw(), None, ctypes.byref(count))
        return count.value

    def bytes(self, context: Context, batch_size: int, length: int) -> tuple[int, int]:
        """What a model takes, and what its training takes with batches of batch_size sequences of
        length ids; no model is made.
        """
        model, training = ctypes.c_int64(), ctypes.c_int64()
        context._call(library.gf_model_config_bytes, self._raw(), whole("batch_size", batch_size),
                      whole("length", length), ctypes.byref(model), ctypes.byref(training))
        return model.value, training.value

    def _raw(self) -> native.ModelConfig:
        values = asdict(self)
        for name, choices in CHOICES.items():
            values[name] = choice(name, values[name], choices)
        windows = [whole("windows", offset) for offset in values.pop("windows")]
        if len(windows) > native.GF_MAX_WINDOWS:
            raise InvalidArgumentError(f"windows has {len(windows)} entries, expected "
                                       f"{native.GF_MAX_WINDOWS} at most")
        raw = native.sized(native.ModelConfig)
        set_fields(raw, values)
        raw.num_windows = len(windows)
        raw.windows[: len(windows)] = windows
        return raw


def _defaults(mixer: str) -> native.ModelConfig:
    raw = native.ModelConfig()
    library.gf_model_config_init_sized(raw, ctypes.sizeof(raw), choice("mixer", mixer, MIXERS))
    return raw


def _fields_of(raw: native.ModelConfig) -> dict[str, Any]:
    """The fields of a ModelConfig from C."""
    values = {name: getattr(raw, name) for name, *_ in raw._fields_}
    del values["struct_size"], values["num_windows"]
    for name, choices in CHOICES.items():
        values[name] = name_of(values[name], choices)
    values["windows"] = list(raw.windows[: raw.num_windows])
    return values


@dataclass(frozen=True)
class EvalReport:
    """What an evaluation found."""

    loss: float  # mean cross-entropy over all predicted tokens, or over all pairs, nats
    perplexity: float  # exp(loss)
    sequences: int  # chunks or pairs
    tokens: int  # predicted tokens: sequences * (length - 1); of pairs all ids
    seconds: float  # wall-clock time
    accuracy: float  # share of the pairs whose class has the largest logit; 0 for a language model
    class_counts: NDArray[np.int64]  # [C] pairs of each class; C is 0 for a language model
    class_accuracy: NDArray[np.float64]  # [C] share of a class's pairs that are predicted so
    confusion: NDArray[np.int64]  # [C, C] pairs of class i predicted as class j


def _batch(ids: ArrayLike) -> tuple[NDArray[np.int32], int, int]:
    """Ids [B, T] or [T] as C wants them, B and T."""
    array = ids_array(ids)
    if array.ndim not in (1, 2) or array.size == 0:
        raise InvalidArgumentError(f"ids have the shape {array.shape}, expected [B, T] or [T]")
    batch_size, length = array.shape if array.ndim == 2 else (1, *array.shape)
    return array, whole("B", batch_size), whole("T", length)


class Model(Handle):
    """Parameters of one model on a context's device, with fresh weights; equal seeds give equal
    weights on every device.

    Raises InvalidArgumentError, which names the field, or OutOfMemoryError.
    """

    _kind = "model"

    def __init__(self, context: Context, config: ModelConfig, seed: int = 0) -> None:
        raw = context._create(library.gf_model_create, config._raw(), whole("seed", seed, 64))
        self._adopt(context._shared, raw)

    @classmethod
    def load(cls, context: Context, file: Path) -> Model:
        """What save() or Trainer.save_checkpoint() wrote. Raises NotFoundError, FileError,
        FormatError or MismatchError, which names the tensor and both shapes.
        """
        model = cls.__new__(cls)
        model._adopt(context._shared, context._create(library.gf_model_load, path(file)))
        return model

    def _adopt(self, shared: Shared, raw: int) -> None:
        super().__init__(shared, raw, library.gf_model_free)

    def load_weights(self, file: Path) -> None:
        """Reads the weights of a file of the same shape, for example one that PyTorch wrote. Raises
        what load() does, the weights untouched.
        """
        self._call(library.gf_model_load_weights, path(file))

    def save(self, file: Path) -> None:
        """Writes weights, configuration and metadata as safetensors; an earlier file stays whole if
        anything fails. Raises FileError.
        """
        self._call(library.gf_model_save, path(file))

    @property
    def config(self) -> ModelConfig:
        """A copy of the configuration it was made with."""
        raw = native.sized(native.ModelConfig)
        self._call(library.gf_model_get_config, raw)
        return ModelConfig(**_fields_of(raw))

    def set_metadata(self, key: str, value: Optional[str]) -> None:
        """Attaches a text that checkpoints will carry; None removes it. Keys that begin with "gf."
        are the library's own.
        """
        self._call(library.gf_model_set_metadata, text("key", key), optional_text("value", value))

    def metadata(self, key: str) -> Optional[str]:
        """A text attached to the model; None where there is none."""
        value: Optional[bytes] = self._ask(library.gf_model_metadata, text("key", key))
        return None if value is None else value.decode(errors="replace")

    def parameters(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the parameters by name, in their fixed order. Names are those of PyTorch's
        state_dict, such as "blocks.0.grassmann.W_red.weight".
        """
        def entries(count: int) -> ctypes.Array[native.Parameter]:
            array = (native.Parameter * count)()
            array[0] = native.sized(native.Parameter)
            return array

        raw, count = self._fill(library.gf_model_parameters, 128, entries)
        return {p.name.decode(): tuple(p.shape[: p.dims]) for p in raw[:count]}

    def read_parameter(
        self, name: str, out: Optional[NDArray[np.float32]] = None
    ) -> NDArray[np.float32]:
        """A copy of one parameter, written straight into `out` where it is given. Raises
        NotFoundError.
        """
        shape = self.parameters().get(name, (0,))  # the library knows what to say of a wrong name
        values = output(out if shape != (0,) else None, shape)
        self._call(library.gf_model_read_parameter, text("name", name), values, values.size)
        return values

    def write_parameter(self, name: str, values: ArrayLike) -> None:
        """Replaces one parameter; a float32 array in C order is passed as it is. Raises
        NotFoundError or InvalidArgumentError (another shape).
        """
        array = np.ascontiguousarray(values, np.float32)
        expected = self.parameters().get(name)
        if expected is not None and np.shape(values) != expected:
            raise InvalidArgumentError(f"{name} has the shape {expected}, not {np.shape(values)}")
        self._call(library.gf_model_write_parameter, text("name", name), array, array.size)

    def forward(
        self, ids: ArrayLike, out: Optional[NDArray[np.float32]] = None
    ) -> NDArray[np.float32]:
        """Logits [B, T, V] of every position of ids [B, T], or [T, V] of [T], without dropout;
        written straight into `out` where it is given. Raises InvalidArgumentError, which names the
        id and its place, or the size.
        """
        array, batch_size, length = _batch(ids)
        logits = output(out, (*array.shape, self.config.vocab_size))
        self._call(library.gf_model_forward, array, batch_size, length, logits)
        return logits

    def classify(
        self, ids: ArrayLike, lengths: Optional[ArrayLike] = None
    ) -> NDArray[np.float32]:
        """Logits [B, C] of a classifier's C classes for sequences [B, T], or [C] of [T], without
        dropout; lengths [B] are the ids that count of each, None: all. Raises InvalidArgumentError,
        which names the id or length and its place, or the size.
        """
        array, batch_size, length = _batch(ids)
        counted = ids_array([length] * batch_size if lengths is None else lengths).reshape(-1)
        if counted.size != batch_size:
            raise InvalidArgumentError(f"{counted.size} lengths, expected {batch_size}")
        logits = np.empty((*array.shape[:-1], self.config.num_classes), np.float32)
        self._call(library.gf_model_classify, array, counted, batch_size, length, logits)
        return logits

    def evaluate(self, dataset: Dataset, batch_size: int = 0) -> EvalReport:
        """Mean loss over a dataset, without dropout, batch_size sequences at a time; 0: 32. Of a
        classifier also how often it is right. Raises InvalidArgumentError, OutOfMemoryError or,
        after Context.cancel(), CancelledError.
        """
        raw = native.sized(native.EvalReport)
        status = self._call(library.gf_eval, dataset, whole("batch_size", batch_size), raw)
        if status == GF_CANCELLED:
            raise error(status, b"")
        n = raw.num_classes
        return from_struct(
            EvalReport,
            raw,
            class_counts=np.array(raw.class_counts[:n], np.int64),
            class_accuracy=np.array(raw.class_accuracy[:n], np.float64),
            confusion=np.array([row[:n] for row in raw.confusion[:n]], np.int64).reshape(n, n),
        )
