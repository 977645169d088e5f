"""Which format a file is in, from its name and its beginning."""

from __future__ import annotations

import re
from pathlib import Path

BEGIN = 4096  # bytes that are looked at


def guess(path: Path) -> str:
    """The name of a file's format; a ``ValueError`` where it is none that is known, an ``OSError`` where it cannot be read."""
    suffix = path.suffix.lower()
    plain = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".xml": "cvat", ".mat": "otb"}
    plain |= {".parquet": "arrow", ".arrow": "arrow", ".feather": "arrow"}
    if path.is_dir():
        return _folder(path)
    if suffix in plain:
        return plain[suffix]
    if suffix == ".zip":
        raise ValueError(f"{path} is an archive; unpack it, and pass the file of annotations in it (CVAT's is annotations.xml)")
    with path.open("rb") as file:
        begin = file.read(BEGIN)
    if suffix == ".json":
        return _json(begin)
    line = begin.decode("utf-8", "replace").strip().split("\n", 1)[0]
    if suffix == ".txt" and re.match(r"[\d.+\-]|nan|$", line, re.IGNORECASE):
        return "otb" if 1 <= len(re.findall(r"[^\s,;]+", line)) <= 4 else "mot"
    raise ValueError(f"{path}: it is not clear what format this is; name it (--from csv, say)")


def _json(begin: bytes) -> str:
    """By the keys that only one of them has; a file is an object, or a list of tasks or of runs."""
    if begin.lstrip(b"\xef\xbb\xbf \r\n\t").startswith(b"["):
        return "otb" if b'"res"' in begin or b'"seqName"' in begin else "labelstudio"
    if b'"frame_number"' in begin or b'"frames"' in begin.partition(b"{")[2].partition(b"{")[0][:200]:
        return "fiftyone"
    return "coco"


def _folder(path: Path) -> str:
    if (path / "data.yaml").is_file() or (path / "labels").is_dir():
        return "yolo"
    if any(path.glob("*_tracking_result/*.txt")):
        return "lasot"
    if any(path.rglob("*_time.txt")):
        return "got10k"
    if any(path.rglob("*_001.txt")):
        return "vot"
    if any(each.suffix.lower() in (".txt", ".mat", ".json") for each in path.iterdir()):
        return "otb"
    raise ValueError(f"{path} holds no boxes of a known kind; pass a file of boxes, or name the format (--from yolo, say)")
