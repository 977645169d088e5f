"""Small evaluations, their reports, and a page as a browser sees it."""

from __future__ import annotations

import csv
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np

from metatrack.app.report import ReportOptions, run
from metatrack.data.sequence import Sequence
from metatrack.evaluation.run.store import Store, Unit

# Of Still on five frames of make_sequence: overlaps 1, 8/12, 6/14, 4/16, 2/18 pass 20, 14, 9, 5, 3 of 21 thresholds.
STILL_AUC = 51 / 105


def still(frames: int) -> np.ndarray:
    return np.tile([0.0, 5, 10, 10], (frames, 1))


def moving(frames: int) -> np.ndarray:
    return np.array([(2.0 * k, 5, 10, 10) for k in range(frames)])


def made(name: str, frames: int = 5, attributes: str = "") -> Sequence:
    paths = tuple(Path(f"{k}.png") for k in range(frames))
    return Sequence(name, paths, moving(frames), frozenset(attributes.split()), start_frame=7)


def evaluation(root: Path, data_set: str, sequences: list[Sequence], results: dict[str, dict[str, np.ndarray]]) -> Store:
    """A folder with these boxes, each frame of which took 10 ms."""
    store = Store(root, data_set, "ope")
    store.note_sequences(sequences)
    for tracker, boxes in results.items():
        store.pin_tracker(tracker, {"factory": "a:b"})
        for name, rows in boxes.items():
            store.write(Unit(tracker, name, 1, 0, len(rows)), rows, np.full(len(rows), 0.01))
    return store


def report(store: Store, **options: object) -> Path:
    assert run(ReportOptions(store.root, **options)) == 0  # type: ignore[arg-type]
    return Path(options.get("out") or store.root / "report")  # type: ignore[arg-type]


def rows_of(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))


class Page(HTMLParser):
    """The text of a page, its tags, and whatever it refers to."""

    VOID = frozenset({"meta", "img", "link", "br", "input", "hr"})

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.words: list[str] = []
        self.tags: list[str] = []
        self.places: list[str] = []
        self.ids: list[str] = []
        self.open: list[str] = []
        self.style = ""
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in self.VOID:
            self.open.append(tag)
        for name, value in attrs:
            assert not name.startswith("on") and value is not None or name == "open"
            if name in {"src", "href", "srcset", "data", "poster", "action", "background"}:
                self.places.append(str(value))
            if name == "style":
                self.style += str(value)
            if name == "id":
                self.ids.append(str(value))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "style":
            self.style += data
        else:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(self.words)


def check_self_contained(text: str) -> Page:
    page = Page(text)
    for place in page.places:
        assert place.startswith(("data:image/", "#")), place[:80]
        assert not place.startswith("#") or place[1:] in page.ids
    assert "script" not in page.tags and "link" not in page.tags
    assert not re.search(r"url\(|@import|https?:", page.style)
    return page
