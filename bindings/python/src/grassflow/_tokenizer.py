"""Text to ids and back."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Optional, Union

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _native as native
from ._context import Context
from ._handle import Handle
from ._native import library
from ._values import Path, ids_array, path, text, whole


@dataclass(frozen=True)
class SpecialIds:
    """Ids of the tokens that are no text; None where the vocabulary has none."""

    pad: Optional[int]  # [PAD]
    unknown: Optional[int]  # [UNK]
    begin: Optional[int]  # [CLS]
    separator: Optional[int]  # [SEP]
    end: Optional[int]  # <|endoftext|>


class Tokenizer(Handle):
    """Text to ids and back.

    name: "byte" (256 ids, no files), "gpt2" (byte-level BPE) or "bert" (uncased WordPiece).
    directory: holds their files, gpt2/{vocab.json,merges.txt} or bert-base-uncased/vocab.txt.

    Raises InvalidArgumentError (another name), NotFoundError, FormatError (file and line).
    """

    _kind = "tokenizer"

    def __init__(self, context: Context, name: str, directory: Optional[Path] = None) -> None:
        where = None if directory is None else path(directory)
        raw = context._create(library.gf_tokenizer_load, text("name", name), where)
        super().__init__(context._shared, raw, library.gf_tokenizer_free)

    @property
    def name(self) -> str:
        """ "byte", "gpt2" or "bert"."""
        name: bytes = self._ask(library.gf_tokenizer_name)
        return name.decode()

    @property
    def vocab_size(self) -> int:
        """V: ids run from 0 to V - 1."""
        size: int = self._ask(library.gf_tokenizer_vocab_size)
        return size

    @property
    def special_ids(self) -> SpecialIds:
        """Ids of the tokens that are no text."""
        raw = native.sized(native.SpecialIds)
        self._call(library.gf_tokenizer_special_ids, raw)
        ids = (raw.pad, raw.unknown, raw.begin, raw.separator, raw.end)
        return SpecialIds(*(id if id >= 0 else None for id in ids))

    def encode(self, text: Union[str, bytes], *, special: bool = True) -> NDArray[np.int32]:
        """The ids of a text; special: with [CLS] and [SEP] around it, where the vocabulary has
        them. Ill-formed UTF-8 in bytes is no error.
        """
        raw = text.encode() if isinstance(text, str) else text
        ids, count = self._fill(library.gf_tokenizer_encode, len(raw) + 2, _new_ids, raw, len(raw),
                                _flags(special))
        return _shrunk(ids, count)

    def encode_pair(
        self, a: str, b: str, *, special: bool = True, max_ids: int = 0
    ) -> NDArray[np.int32]:
        """The ids of `[CLS] a [SEP] b [SEP]`, cut longest-first to max_ids; 0: no limit."""
        first, second = text("a", a), text("b", b)
        ids, count = self._fill(library.gf_tokenizer_encode_pair, len(first) + len(second) + 3,
                                _new_ids, first, second, _flags(special),
                                whole("max_ids", max_ids, 64))
        return _shrunk(ids, count)

    def decode(self, ids: ArrayLike, *, special: bool = True) -> str:
        """The text that ids stand for; bytes that are no UTF-8 become U+FFFD."""
        return self.decode_bytes(ids, special=special).decode(errors="replace")

    def decode_bytes(self, ids: ArrayLike, *, special: bool = True) -> bytes:
        """The same as bytes, which may end inside a character. Raises InvalidArgumentError, which
        names the first id outside the vocabulary.
        """
        array = ids_array(ids)
        buffer, length = self._fill(library.gf_tokenizer_decode, 8 * array.size,
                                    ctypes.create_string_buffer, array, array.size, _flags(special))
        raw: bytes = buffer.raw[:length]
        return raw


def _flags(special: bool) -> int:
    return 0 if special else native.GF_NO_SPECIAL


def _new_ids(count: int) -> NDArray[np.int32]:
    return np.empty(count, np.int32)


def _shrunk(ids: NDArray[np.int32], count: int) -> NDArray[np.int32]:
    """The first ids, in place: nobody else has the array yet."""
    ids.resize(count, refcheck=False)
    return ids
