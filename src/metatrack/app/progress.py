"""How far a run is, on standard error: a bar on a terminal, a line every few seconds elsewhere."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

if TYPE_CHECKING:  # an evaluation's bar needs no networks
    from typing_extensions import Self

    from metatrack.tracking.tracker import Result

LINE_EVERY = 5.0
"""Seconds between two lines where there is no terminal."""


class Bar:
    """On a terminal, a bar while a block runs."""

    _bar: Progress | None = None

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()


class TrackingProgress(Bar):
    """Shows frames done, frames per second over the last 50, and the score (of several targets: which are lost, or the lowest).

    Args:
        name: what is tracked.
        total: number of frames, or None where it is not known.
        quiet: shows nothing, for instance because standard output goes to the same terminal.
    """

    def __init__(self, name: str, total: int | None, quiet: bool = False) -> None:
        console = Console(stderr=True)
        self.done, self.total, self.quiet = 0, total, quiet
        self._times: deque[float] = deque([time.perf_counter()], maxlen=51)
        self._next_line = self._times[0] + LINE_EVERY
        if console.is_terminal and not quiet:
            self._bar = Progress(
                TextColumn("{task.description}", markup=False),  # file names may hold brackets
                BarColumn(bar_width=None),
                TaskProgressColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[fps]:5.1f} fps"),
                TextColumn("{task.fields[state]}"),
                TimeRemainingColumn(compact=True),
                console=console,
                expand=True,
                transient=True,
            )
            self._task = self._bar.add_task(name, total=total, fps=0.0, state="")

    @property
    def fps(self) -> float:
        """Frames per second over the last frames, everything included."""
        span = self._times[-1] - self._times[0]
        return (len(self._times) - 1) / span if span > 0 else 0.0

    def step(self, results: Mapping[int | str, Result]) -> None:
        """One more frame is done, with these results by the targets' ids."""
        self.done += 1
        self._times.append(time.perf_counter())
        state, lost = _state(results), any(result.lost for result in results.values())
        if self._bar is not None:
            state = f"[{'bold dark_orange' if lost else 'green'}]{escape(state)}[/]"
            self._bar.update(self._task, completed=self.done, fps=self.fps, state=state)
        elif not self.quiet and self._times[-1] >= self._next_line:
            self._next_line += LINE_EVERY
            of = f" of {self.total}" if self.total else ""
            print(f"frame {self.done}{of}  {self.fps:.1f} fps  {state}", file=sys.stderr, flush=True)


def _state(results: Mapping[int | str, Result]) -> str:
    """What there is to say of the targets in a few letters."""
    if not results:
        return "no target yet"
    lost = [str(target) for target, result in results.items() if result.lost]
    lowest = min((result.score for result in results.values()), default=0.0)
    if len(results) == 1:
        return f"LOST {lowest:.2f}" if lost else f"score {lowest:.2f}"
    if lost:
        return f"LOST {', '.join(lost[:5])}{', ...' if len(lost) > 5 else ''} of {len(results)}"
    return f"lowest score {lowest:.2f}"
