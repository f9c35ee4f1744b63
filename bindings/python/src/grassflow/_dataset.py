"""Chunks of ids."""

from __future__ import annotations

from typing import Literal

from numpy.typing import ArrayLike

from . import _native as native
from ._context import Context
from ._errors import InvalidArgumentError
from ._handle import Handle, Shared
from ._native import TEXT_FORMATS, library
from ._tokenizer import Tokenizer
from ._values import Path, choice, ids_array, path, whole

TextFormat = Literal["plain", "wikitext"]


class Dataset(Handle):
    """A sequence of ids cut into chunks of `length` ids, at least 2. The ids are copied; a rest
    that fills no chunk is dropped. len() is the number of chunks, and a slice of chunks is a
    dataset of its own that shares them: data[:80].

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
    def _of(cls, shared: Shared, raw: int) -> Dataset:
        dataset = cls.__new__(cls)
        dataset._adopt(shared, raw)
        return dataset

    def _adopt(self, shared: Shared, raw: int) -> None:
        super().__init__(shared, raw, library.gf_dataset_free)

    def _info(self) -> native.DatasetInfo:
        info = native.sized(native.DatasetInfo)
        self._call(library.gf_dataset_get_info, info)
        return info

    @property
    def ids(self) -> int:
        """Ids of the text before it was cut, the dropped rest included."""
        return int(self._info().ids)

    @property
    def length(self) -> int:
        """Ids of one chunk."""
        return int(self._info().length)

    def __len__(self) -> int:
        return int(self._info().chunks)

    def __getitem__(self, chunks: slice) -> Dataset:
        if not isinstance(chunks, slice):
            raise TypeError("a dataset is sliced, data[first:end], and has no single items")
        first, end, step = chunks.indices(len(self))
        if step != 1 or end <= first:
            raise InvalidArgumentError(f"chunks {first} to {end} by {step}: expected at least one, "
                                       "one after the other")
        return self._of(self._shared, self._create(library.gf_dataset_slice, first, end - first))
