"""The device, its threads and the sample corpus."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Optional

from . import _native as native
from ._handle import Handle, Shared, error
from ._native import library
from ._values import optional_text, set_fields, text, whole


@dataclass(frozen=True)
class ProfileEntry:
    """Time of one kind of operation."""

    name: str  # such as "linear_backward"
    calls: int
    seconds: float  # in all; on a GPU by its own clock


class Context(Handle):
    """A device and its threads, from which all other handles come.

    device: "cpu", "cuda", "cuda:N", or "auto": a GPU if there is one, else the CPU.
    precision: of matrix products, "fp32", or "bf16" on a GPU; None: the device's default.
    threads: CPU threads; 0: one per core this process may run on.
    attention: on a GPU in bf16, "own" kernels, or "cudnn" to compare; None: "own".

    Raises InvalidArgumentError (a device or precision that is none), DeviceError (no such GPU or
    driver), UnsupportedError (no CUDA library; bf16 on the CPU).
    """

    _kind = "context"

    def __init__(
        self,
        device: str = "cpu",
        *,
        precision: Optional[str] = None,
        threads: int = 0,
        attention: Optional[str] = None,
    ) -> None:
        options = native.sized(native.ContextOptions)
        library.gf_context_options_init_sized(options, ctypes.sizeof(options))
        set_fields(options, {
            "device": text("device", device),
            "precision": optional_text("precision", precision),
            "threads": threads,
            "attention": optional_text("attention", attention),
        })
        out, failure = ctypes.c_void_p(), ctypes.create_string_buffer(1024)
        status = library.gf_context_create(options, ctypes.byref(out), failure, len(failure))
        if out.value is None:
            raise error(status, failure.value)
        # The C context itself, on which the texts of errors stand, ends with the last handle.
        super().__init__(Shared(out.value), out.value, lambda raw: None)

    @property
    def description(self) -> str:
        """What it runs on, for people, such as "cpu, 2 threads, fp32"."""
        description: bytes = self._ask(library.gf_context_description)
        return description.decode()

    def sample_text(self, seed: int, length: int) -> str:
        """`length` characters of ASCII of the library's own sample corpus; equal seeds give equal
        texts.
        """
        buffer = ctypes.create_string_buffer(whole("length", length, 64))
        self._call(library.gf_sample_text, whole("seed", seed, 64), buffer, length)
        return buffer.raw.decode("ascii")

    def sample_pairs(self, seed: int, pairs: int) -> str:
        """Sentence pairs of the sample corpus with true labels, as SNLI-like JSON lines."""
        buffer, count = self._fill(library.gf_sample_pairs, 0, ctypes.create_string_buffer,
                                   whole("seed", seed, 64), whole("pairs", pairs))
        raw: bytes = buffer.raw[:count]
        return raw.decode("ascii")

    def cancel(self, on: bool = True) -> None:
        """Ends the evaluation under way on this context, or the next one, after a batch; it raises
        CancelledError. May be called from any thread and does not wait for its turn. False takes
        back what no evaluation has settled yet.
        """
        self._open()
        library.gf_context_cancel(self._shared.raw, bool(on))

    def set_profiling(self, on: bool) -> None:
        """Begins afresh, or ends, taking the time of every operation."""
        self._call(library.gf_context_set_profiling, bool(on))

    def profile(self) -> list[ProfileEntry]:
        """The times taken since profiling began, the largest first."""
        def entries(count: int) -> ctypes.Array[native.ProfileEntry]:
            array = (native.ProfileEntry * count)()
            array[0] = native.sized(native.ProfileEntry)
            return array

        raw, count = self._fill(library.gf_context_profile, 64, entries)
        return [ProfileEntry(e.name.decode(), e.calls, e.seconds) for e in raw[:count]]

    def __repr__(self) -> str:
        return f"<grassflow.Context: {self.description if self._raw else 'closed'}>"
