"""Python's values for C, and back."""

from __future__ import annotations

import ctypes
import dataclasses
import operator
import os
from typing import Any, Mapping, Optional, TypeVar, Union

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._errors import InvalidArgumentError

AnyReport = TypeVar("AnyReport")
Path = Union[str, bytes, "os.PathLike[str]", "os.PathLike[bytes]"]


def whole(name: str, value: int, bits: int = 32) -> int:
    """A whole number that fits: ctypes would cut it without a word. 64 bits are those of sizes,
    counts and seeds and without a sign.
    """
    value = operator.index(value)
    low, high = (-(2**31), 2**31) if bits == 32 else (0, 2**64)
    if not low <= value < high:
        raise InvalidArgumentError(f"{name} is {value}, expected {low} to {high - 1}")
    return value


def text(name: str, value: str) -> bytes:
    """Text for C, which ends at the first zero byte."""
    return _without_zero(name, value.encode())


def optional_text(name: str, value: Optional[str]) -> Optional[bytes]:
    return None if value is None else text(name, value)


def path(value: Path) -> bytes:
    return _without_zero("path", os.fsencode(value))


def _without_zero(name: str, value: bytes) -> bytes:
    if b"\0" in value:
        raise InvalidArgumentError(f"{name} holds a zero byte at position {value.index(0)}")
    return value


def choice(name: str, value: str, choices: Mapping[str, int]) -> int:
    if value not in choices:
        raise InvalidArgumentError(f"{name} is {value!r}, expected one of {', '.join(choices)}")
    return choices[value]


def name_of(value: int, choices: Mapping[str, int]) -> str:
    return next(name for name, number in choices.items() if number == value)


def ids_array(ids: ArrayLike) -> NDArray[np.int32]:
    """Ids as C wants them; an int32 array in C order is passed as it is."""
    array = np.asarray(ids)
    if array.size == 0:
        return np.empty(array.shape, np.int32)
    if array.dtype.kind not in "iu":
        raise TypeError(f"ids are {array.dtype}, expected whole numbers")
    if array.dtype != np.int32 and not -(2**31) <= int(array.min()) <= int(array.max()) < 2**31:
        raise InvalidArgumentError("an id does not fit into 32 bits")
    return np.ascontiguousarray(array, np.int32).reshape(array.shape)


def output(out: Optional[NDArray[np.float32]], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Where values go: a new array, or the caller's if it is as C wants it."""
    if out is None:
        return np.empty(shape, np.float32)
    if out.dtype != np.float32 or out.shape != shape or not out.flags.carray:
        raise InvalidArgumentError(f"out is {out.dtype} {out.shape}, expected float32 {shape}, in "
                                   "C order and writable")
    return out


def set_fields(struct: ctypes.Structure, values: Mapping[str, Any]) -> None:
    """Sets the fields of a struct, refusing whole numbers that do not fit."""
    for name, value in values.items():
        setattr(struct, name, value)
        if isinstance(value, int) and getattr(struct, name) != value:
            raise InvalidArgumentError(f"{name} is {value}, which does not fit")


def from_struct(report: type[AnyReport], struct: ctypes.Structure, **others: Any) -> AnyReport:
    """A dataclass of the fields that it shares with a struct, and others."""
    names = {field.name for field in dataclasses.fields(report)} - set(others)
    return report(**{name: getattr(struct, name) for name in names}, **others)
