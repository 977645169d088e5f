"""What differs between the versions of PyAV, 17 to 19: asked here and nowhere else.

With 19 files are read and written as with 17 and 18. A stream over http is not: see pyproject.toml, which leaves 19 out.
"""

from __future__ import annotations

import av
from av.container import InputContainer

VERSION = int(av.__version__.partition(".")[0])


def open_input(target: str, options: dict[str, str], timeout: float | None) -> InputContainer:
    """Opens a file or address to read from, whatever its title and comments are written in.

    Args:
        target: an absolute path, or an address.
        options: of FFmpeg's demuxer or protocol.
        timeout: seconds until an address that does not answer is given up; None waits for ever.

    Raises:
        av.FFmpegError, OSError, ValueError: it cannot be opened.
    """
    # Up to 18 metadata that is not UTF-8 is an error unless it is told otherwise; 19 has no such argument and always replaces.
    lenient = {"metadata_errors": "replace"} if VERSION < 19 else {}
    return av.open(target, "r", container_options=options, timeout=timeout, **lenient)  # type: ignore[call-overload,no-any-return]


def byte_size(container: InputContainer) -> int | None:
    """Bytes of the whole file; None where they are not known. Up to 18 PyAV says a negative number then, from 19 on None."""
    size: int | None = container.size
    return size if size is not None and size > 0 else None
