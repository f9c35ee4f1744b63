"""Chunks of ids, and labelled pairs."""

from __future__ import annotations

from ctypes import byref
from dataclasses import dataclass
from typing import Any, Callable, Literal, Sequence, Union

import numpy as np
from numpy.typing import ArrayLike

from . import _native as native
from ._context import Context
from ._errors import InvalidArgumentError
from ._handle import Handle, Shared
from ._native import SNLI_CLASSES, TEXT_FORMATS, library
from ._tokenizer import Tokenizer
from ._values import Path, choice, from_struct, ids_array, path, whole

TextFormat = Literal["plain", "wikitext"]


@dataclass(frozen=True)
class DatasetInfo:
    """What a dataset holds."""

    ids: int  # of the text before it was cut; of pairs all that were kept
    chunks: int  # chunks or pairs
    length: int  # ids of one chunk, or of the longest pair
    buckets: int  # groups of one padded length; 1 for chunks
    tokens: int  # ids of all chunks or pairs, padding left out
    padded_tokens: int  # the same with padding: what a pass over the data computes on
    label_counts: tuple[int, ...]  # pairs of each class; empty for chunks


@dataclass(frozen=True)
class PairReport:
    """What a file of pairs held."""

    lines: int  # lines that are not blank: pairs, kept or not
    pairs: int  # pairs kept
    unlabelled: int  # pairs left out because their label is "-"
    empty: int  # pairs kept of which a sentence is empty or only white space
    cut: int  # pairs kept that were longer than allowed and cut
    longest: int  # ids of the longest pair before any was cut
    mean_length: float  # ids of a pair kept, on average
    label_counts: tuple[int, ...]  # pairs kept of each of SNLI_CLASSES


class Dataset(Handle):
    """What to train on or to evaluate: here a sequence of ids cut into chunks of `length` ids, at
    least 2; from_pairs() and its neighbours make pairs of any length with a label each.

    The ids are copied; a rest that fills no chunk is dropped. len() is the number of chunks or
    pairs, and a slice of them is a dataset of its own: data[:80].

    Raises InvalidArgumentError (length below 2, fewer ids than one chunk, a negative id).
    """

    _kind = "dataset"

    def __init__(self, context: Context, ids: ArrayLike, length: int) -> None:
        array, length = ids_array(ids), whole("length", length)
        raw = context._create(library.gf_dataset_from_ids, array, array.size, length)
        self._adopt(context._shared, raw)

    @classmethod
    def from_text_file(
        cls,
        context: Context,
        tokenizer: Tokenizer,
        file: Path,
        length: int,
        format: TextFormat = "plain",
    ) -> Dataset:
        """A text file encoded as one text; "wikitext": rows of white space dropped, the others
        joined by a line end, `<unk>` the unknown token. Raises NotFoundError, FileError or
        InvalidArgumentError (a text shorter than one chunk).
        """
        raw = context._create(library.gf_dataset_from_text_file, tokenizer, path(file),
                              choice("format", format, TEXT_FORMATS), whole("length", length))
        return cls._of(context._shared, raw)

    @classmethod
    def from_pairs(
        cls, context: Context, sequences: Sequence[ArrayLike], labels: ArrayLike
    ) -> Dataset:
        """Pairs, or any labelled sequences: the ids and the class of each, which are copied. Raises
        InvalidArgumentError, which names the sequence and what is wrong with it.
        """
        arrays = [ids_array(ids).reshape(-1) for ids in sequences]
        classes = ids_array(labels)
        if classes.shape != (len(arrays),):
            raise InvalidArgumentError(f"labels have the shape {classes.shape}, expected one for "
                                       f"each of {len(arrays)} sequences")
        lengths = ids_array([array.size for array in arrays])
        ids = np.concatenate(arrays) if arrays else lengths
        raw = context._create(library.gf_dataset_from_pairs, ids, lengths, classes, len(arrays))
        return cls._of(context._shared, raw)

    @classmethod
    def from_snli_file(
        cls, context: Context, tokenizer: Tokenizer, file: Path, max_length: int
    ) -> tuple[Dataset, PairReport]:
        """Pairs of a file of SNLI's JSON lines, those longer than max_length ids (8 at least) cut,
        and what it held. Raises NotFoundError, FileError, FormatError, which names file and line,
        or InvalidArgumentError.
        """
        return cls._from_snli(context, library.gf_dataset_from_snli_file, tokenizer, path(file),
                              whole("max_length", max_length))

    @classmethod
    def from_snli_text(
        cls, context: Context, tokenizer: Tokenizer, text: Union[str, bytes], max_length: int
    ) -> tuple[Dataset, PairReport]:
        """The same from text in memory, such as Context.sample_pairs() makes."""
        raw = text.encode() if isinstance(text, str) else text
        return cls._from_snli(context, library.gf_dataset_from_snli_text, tokenizer, raw, len(raw),
                              whole("max_length", max_length))

    @classmethod
    def _from_snli(
        cls, context: Context, function: Callable[..., int], *arguments: Any
    ) -> tuple[Dataset, PairReport]:
        raw = native.sized(native.PairReport)
        dataset = cls._of(context._shared, context._create(function, *arguments, byref(raw)))
        labels = {"label_counts": tuple(raw.label_counts[: len(SNLI_CLASSES)])}
        return dataset, from_struct(PairReport, raw, **labels)

    @classmethod
    def _of(cls, shared: Shared, raw: int) -> Dataset:
        dataset = cls.__new__(cls)
        dataset._adopt(shared, raw)
        return dataset

    def _adopt(self, shared: Shared, raw: int) -> None:
        super().__init__(shared, raw, library.gf_dataset_free)

    def info(self) -> DatasetInfo:
        """Its sizes."""
        raw = native.sized(native.DatasetInfo)
        self._call(library.gf_dataset_get_info, raw)
        labels = {"label_counts": tuple(raw.label_counts[: raw.num_labels])}
        return from_struct(DatasetInfo, raw, **labels)

    def __len__(self) -> int:
        return self.info().chunks

    def __getitem__(self, chunks: slice) -> Dataset:
        if not isinstance(chunks, slice):
            raise TypeError("a dataset is sliced, data[first:end], and has no single items")
        first, end, step = chunks.indices(len(self))
        if step != 1 or end <= first:
            raise InvalidArgumentError(f"chunks {first} to {end} by {step}: expected at least one, "
                                       "one after the other")
        return self._of(self._shared, self._create(library.gf_dataset_slice, first, end - first))
