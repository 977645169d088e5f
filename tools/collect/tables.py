"""The tables of sources: TOML files, one entry for each source."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TypeVar

import msgspec

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

T = TypeVar("T")


def read_sources(path: Path, kind: type[T]) -> dict[str, T]:
    """The sources of a table by name, each a ``kind``.

    Raises:
        ValueError: the file is no TOML, or an entry has another form.
    """
    try:
        return msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), dict[str, kind])  # type: ignore[valid-type]
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise ValueError(f"{path}: {error}") from error


def chosen(names: tuple[str, ...], sources: dict[str, T]) -> dict[str, T]:
    """The sources of these names; all where there are none.

    Raises:
        ValueError: there is no source of a name.
    """
    for name in names:
        if name not in sources:
            raise ValueError(f"no source {name!r}; there are {', '.join(sources)}")
    return {name: sources[name] for name in names} if names else sources
