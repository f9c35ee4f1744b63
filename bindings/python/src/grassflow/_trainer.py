"""A model in training."""

from __future__ import annotations

from ctypes import sizeof
from dataclasses import asdict, dataclass
from typing import Any, Callable, Literal, Optional

from . import _native as native
from ._dataset import Dataset
from ._handle import Handle
from ._model import DEFAULT, Model
from ._native import GF_END, SCHEDULES, library
from ._values import Path, choice, from_struct, name_of, path, set_fields

Schedule = Literal["cosine", "cosine-epoch", "constant"]


@dataclass
class TrainOptions:
    """Optimizer (AdamW) and schedule; what is not given has the default of the study's recipe."""

    batch_size: int = DEFAULT  # sequences of a step; the last of an epoch may be short
    epochs: int = DEFAULT  # passes over the dataset
    max_steps: int = DEFAULT  # ends training after so many steps; 0: epochs decide
    lr: float = DEFAULT  # highest learning rate
    min_lr: float = DEFAULT  # last learning rate of the cosine
    warmup_steps: int = DEFAULT  # of linear growth from lr / (warmup_steps + 1)
    schedule: Schedule = DEFAULT  # after them; "cosine-epoch" is constant inside each epoch
    beta1: float = DEFAULT  # decay of the first moment
    beta2: float = DEFAULT  # decay of the second moment
    epsilon: float = DEFAULT  # added to the root of the second moment
    weight_decay: float = DEFAULT  # of every parameter
    grad_clip: float = DEFAULT  # largest global gradient norm; 0: no clipping
    seed: int = DEFAULT  # of the shuffle and of dropout

    def __post_init__(self) -> None:
        raw = native.TrainOptions()
        library.gf_train_options_init_sized(raw, sizeof(raw))
        for name, value in asdict(self).items():
            if value is DEFAULT:
                default: Any = getattr(raw, name)
                setattr(self, name, name_of(default, SCHEDULES) if name == "schedule" else default)

    def _raw(self) -> native.TrainOptions:
        raw = native.sized(native.TrainOptions)
        schedule = choice("schedule", self.schedule, SCHEDULES)
        set_fields(raw, {**asdict(self), "schedule": schedule})
        return raw


@dataclass(frozen=True)
class TrainReport:
    """What a step did."""

    step: int  # steps done, this one included
    total_steps: int  # steps of the whole training
    epoch: int  # of this step, from 0
    loss: float  # mean cross-entropy of the batch before the update, nats per token or pair
    gradient_norm: float  # global L2 norm before clipping
    learning_rate: float  # of this step's update
    tokens: int  # ids of the batch, padding left out
    seconds: float  # wall-clock time of this step


@dataclass(frozen=True)
class TrainState:
    """Where training stands."""

    step: int  # steps done
    total_steps: int  # steps of the whole training
    steps_per_epoch: int  # steps of one epoch
    epoch: int  # of the next step, from 0
    epoch_loss: float  # mean loss of the steps of the epoch of the last step; 0 before the first
    tokens: int  # ids of the batches of all steps done, padding left out


class Trainer(Handle):
    """A model in training, on chunks for a language model and on pairs for a classifier. Iterating
    does the steps: for report in trainer. The model may be evaluated, saved and read between
    steps.

    An interrupt from the keyboard is raised between two steps, and training can go on or be saved.

    Raises InvalidArgumentError, which names the option, or the id or label and its place,
    or OutOfMemoryError.
    """

    _kind = "trainer"

    def __init__(
        self, model: Model, dataset: Dataset, options: Optional[TrainOptions] = None
    ) -> None:
        options = TrainOptions() if options is None else options
        raw = model._create(library.gf_trainer_create, dataset, options._raw())
        super().__init__(model._shared, raw, library.gf_trainer_free)

    def step(self) -> Optional[TrainReport]:
        """One step: next batch, forward, backward, clip, AdamW; None when no step is left. Raises
        NotFiniteError, the weights those before the step.
        """
        raw = native.sized(native.TrainReport)
        if self._call(library.gf_train_step, raw) == GF_END:
            return None
        return from_struct(TrainReport, raw)

    def step_without_report(self) -> bool:
        """A step without its report; False when none is left. On a GPU it returns at once and steps
        queue up; an error of one of them is raised by a later call.
        """
        return self._call(library.gf_train_step, None) != GF_END

    def __iter__(self) -> Trainer:
        return self

    def __next__(self) -> TrainReport:
        report = self.step()
        if report is None:
            raise StopIteration
        return report

    def train(self, progress: Optional[Callable[[TrainReport], object]] = None) -> bool:
        """All steps that are left, progress called after each. What it returns, if true, cancels:
        train() returns False, and training can go on or be saved. What it raises comes out of
        train(). True: no step is left.
        """
        for report in self:
            if progress is not None and progress(report):
                return False
        return True

    def state(self) -> TrainState:
        """Where training stands; waits for steps that are queued."""
        raw = native.sized(native.TrainState)
        self._call(library.gf_trainer_get_state, raw)
        return from_struct(TrainState, raw)

    def save_checkpoint(self, file: Path) -> None:
        """Writes all that is needed to go on, bit-equal to never having stopped; an earlier file
        stays whole if anything fails. Raises FileError.
        """
        self._call(library.gf_checkpoint_save, path(file))

    def load_checkpoint(self, file: Path) -> None:
        """Goes on from a checkpoint of a trainer with the same configuration, data and options.
        Raises NotFoundError, FileError, FormatError or MismatchError, the trainer untouched.
        """
        self._call(library.gf_checkpoint_load, path(file))
