"""What a person can put right: one line that says what is wrong and what to do, and an exit code. Never a traceback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

USAGE = 2  # exit code of a wrong command line or of input that cannot be used at all
INCOMPLETE = 1  # exit code of work that was begun and could not be finished


class Problem(Exception):  # noqa: N818 - not an error of the program
    """Ends a command with one line on standard error.

    Attributes:
        status: the exit code.
    """

    def __init__(self, message: str, status: int = USAGE) -> None:
        super().__init__(message)
        self.status = status

    def __reduce__(self) -> tuple[Any, ...]:
        """For processes: a pickle of an exception keeps what it was made of."""
        return type(self), (*self.args, self.status)


@contextmanager
def user_input(*further: type[Exception]) -> Iterator[None]:
    """Turns the exceptions with which the library refuses bad input (``OSError``, ``ValueError``) into a :class:`Problem`.

    To be put around checks and openings alone: an error of the same type in the work itself is a fault of the program, and shows
    its traceback.
    """
    try:
        yield
    except Exception as error:
        if not isinstance(error, (OSError, ValueError, *further)):
            raise
        raise Problem(str(error)) from error


@contextmanager
def needs_extra(extra: str | None, what: str) -> Iterator[None]:
    """To be put around imports: a missing package becomes a :class:`Problem` that names the extra it comes with.

    Args:
        extra: the extra of this package; None lets the error through.
        what: what needs it.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if extra is None or (error.name or "").startswith("metatrack"):
            raise
        raise Problem(f"{what} needs {error.name}, which is not installed: pip install 'metatrack[{extra}]'") from error
