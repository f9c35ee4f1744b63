"""Failures: a class for each status, which is also the class that Python has for it."""

from __future__ import annotations


class Error(Exception):
    """A call of the library failed; the text names the file, line, option or size at fault."""


class InvalidArgumentError(Error, ValueError):
    """An argument or option is outside what is allowed."""


class OutOfMemoryError(Error, MemoryError):
    """No memory is left, on the host or the GPU."""


class NotFoundError(Error, FileNotFoundError, LookupError):
    """No such file, or no such name."""


class FileError(Error, OSError):
    """Reading or writing failed."""


class FormatError(Error, ValueError):
    """A file is damaged or of another format."""


class MismatchError(Error, ValueError):
    """A file and a configuration do not agree."""


class NotFiniteError(Error, ArithmeticError):
    """A loss or gradient is not finite; the weights are those before the step."""


class DeviceError(Error, RuntimeError):
    """The device is missing or failed."""


class UnsupportedError(Error, RuntimeError):
    """Not supported by this build of the library."""


class InternalError(Error, RuntimeError):
    """A mistake inside the library: please report it."""


class CancelledError(Error):
    """An evaluation was cancelled by Context.cancel()."""


BY_STATUS: dict[int, type[Error]] = {
    1: CancelledError,
    -1: InvalidArgumentError,
    -2: OutOfMemoryError,
    -3: NotFoundError,
    -4: FileError,
    -5: FormatError,
    -6: MismatchError,
    -7: NotFiniteError,
    -8: DeviceError,
    -9: UnsupportedError,
    -10: InternalError,
}
