"""Handles, their turns and their end."""

from __future__ import annotations

import itertools
import os
import threading
import weakref
from collections import deque
from ctypes import byref, c_size_t, c_void_p
from types import TracebackType
from typing import Any, Callable, TypeVar

from ._errors import BY_STATUS, Error, InternalError, InvalidArgumentError
from ._native import GF_OK, library

AnyHandle = TypeVar("AnyHandle", bound="Handle")
Dead = deque[tuple[Callable[[int], None], int]]  # how to free it, and what

_orders = itertools.count()


def error(status: int, text: bytes) -> Error:
    """The exception of a failure."""
    text = text or library.gf_status_text(status)
    return BY_STATUS.get(status, InternalError)(text.decode(errors="replace"))


class Shared:
    """What a context and all handles made from it have in common: the turn, which makes true for
    Python's threads that they belong to one thread at a time, and the text of errors.
    """

    def __init__(self, raw: int) -> None:
        self.raw = raw
        self.order = next(_orders)  # in which turns of several contexts are taken
        # A lock that its own thread may take again: a collection inside a turn may free handles.
        self.turn = threading.RLock()
        self._dead: Dead = deque()
        self._process = os.getpid()
        weakref.finalize(self, _end_context, raw, self._dead, self._process).atexit = False

    def check(self, status: int) -> int:
        """The status of a call that did not fail; within the turn."""
        if status < GF_OK:
            raise error(status, library.gf_context_error(self.raw))
        return status

    def end(self, free: Callable[[int], None], raw: int) -> None:
        """Frees a handle now, or when another thread ends its turn: a finalizer may run anywhere
        and must not wait. What was made before a fork, the child may not free.
        """
        if os.getpid() != self._process:
            return
        self._dead.append((free, raw))
        if self.turn.acquire(blocking=False):
            try:
                self.bury()
            finally:
                self.turn.release()

    def check_process(self) -> None:
        """Raises in a child process, where the threads of the context do not exist."""
        if os.getpid() != self._process:
            raise InvalidArgumentError("a handle from before fork(): a child process makes its own")

    def bury(self) -> None:
        """Frees what had to wait; within the turn."""
        _bury(self._dead)


def _bury(dead: Dead) -> None:
    while dead:
        free, raw = dead.popleft()
        free(raw)


def _end_context(raw: int, dead: Dead, process: int) -> None:
    if os.getpid() == process:
        _bury(dead)
        library.gf_context_free(raw)


class Handle:
    """A handle of the library: a context manager, closed at the latest when it is collected."""

    _kind = "handle"

    def __init__(self, shared: Shared, raw: int, free: Callable[[int], None]) -> None:
        self._shared = shared
        self._raw: int | None = raw
        self._finalizer = weakref.finalize(self, shared.end, free, raw)
        self._finalizer.atexit = False  # the process ends by itself

    def close(self) -> None:
        """Frees it; a second time does nothing."""
        self._raw = None
        self._finalizer()

    def __enter__(self: AnyHandle) -> AnyHandle:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _open(self) -> int:
        if self._raw is None:
            raise InvalidArgumentError(f"the {self._kind} is closed")
        return self._raw

    def _ask(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """What a call on this handle returns. Further handles may stand among the arguments; the
        turn is taken in all their contexts, in the same order everywhere.
        """
        handles = [self, *(a for a in arguments if isinstance(a, Handle))]
        contexts = sorted((handle._shared for handle in handles), key=lambda s: s.order)
        first, last = contexts[0], contexts[-1]  # no call takes more than two handles
        first.check_process()  # before the turn, which a thread of the parent may have
        with first.turn, last.turn:
            try:
                return function(*(a._open() if isinstance(a, Handle) else a
                                  for a in (self, *arguments)))
            finally:
                first.bury()
                last.bury()

    def _call(self, function: Callable[..., int], *arguments: Any) -> int:
        """A call that returns a status; its failure is raised."""
        check = self._shared.check
        status: int = self._ask(lambda *raw: check(function(*raw)), *arguments)
        return status

    def _create(self, function: Callable[..., int], *arguments: Any) -> int:
        """A call that makes a handle in its last parameter."""
        out = c_void_p()
        self._call(function, *arguments, byref(out))
        assert out.value is not None
        return out.value

    def _fill(
        self,
        function: Callable[..., int],
        guess: int,
        buffer: Callable[[int], Any],
        *arguments: Any,
    ) -> tuple[Any, int]:
        """(buffer, count) of a call that fills a buffer of its size and says how many items there
        are, again where the guess was low.
        """
        count = c_size_t()
        while True:
            items = buffer(guess)
            self._call(function, *arguments, items, guess, byref(count))
            if count.value <= guess:
                return items, count.value
            guess = count.value
