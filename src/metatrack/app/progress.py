"""How far a run is, on standard error: a bar on a terminal, a line every few seconds elsewhere."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

if TYPE_CHECKING:  # an evaluation's bar needs no networks
    from typing_extensions import Self

    from metatrack.tracking.tracker import Result

LINE_EVERY = 5.0  # seconds between two lines where there is no terminal


class Bar:
    """While a block runs, a bar on a terminal, and lines elsewhere.

    Args:
        columns, fields: as rich's ``Progress`` takes them.
        total: what is 100 %, or None where it is not known.
        quiet: shows nothing but what :meth:`say` is told.
        every: seconds between two lines.
    """

    def __init__(
        self,
        *columns: ProgressColumn,
        total: float | None,
        description: str = "",
        quiet: bool = False,
        every: float = LINE_EVERY,
        **fields: Any,
    ) -> None:
        self.console = Console(stderr=True, highlight=False)
        self._quiet, self._every = quiet, every
        self._next_line = time.monotonic() + every
        self._bar: Progress | None = None
        if self.console.is_terminal and not quiet:
            self._bar = Progress(*columns, console=self.console, expand=True, transient=True)
            self._task = self._bar.add_task(description, total=total, **fields)

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()

    def show(self, line: Callable[[], str], **changes: Any) -> None:
        """Changes the bar; where there is none, prints the line, if it is time for one."""
        if self._bar is not None:
            self._bar.update(self._task, **changes)
        elif not self._quiet and time.monotonic() >= self._next_line:
            self._next_line = time.monotonic() + self._every
            print(line(), file=sys.stderr, flush=True)

    def say(self, warning: str, text: str) -> None:
        """Prints a line at once, above the bar."""
        self.console.print(f"[dark_orange]{escape(warning)}[/] {escape(text)}", soft_wrap=True)


class TrackingProgress(Bar):
    """Frames done, frames per second over the last 50, the score (of several: which are lost, or the lowest), and losses.

    ``quiet`` shows nothing, for instance because standard output goes to the same terminal.
    """

    def __init__(self, name: str, total: int | None, quiet: bool = False) -> None:
        super().__init__(
            TextColumn("{task.description}", markup=False),  # file names may hold brackets
            BarColumn(bar_width=None),
            TaskProgressColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[fps]:5.1f} fps"),
            TextColumn("{task.fields[state]}"),
            TextColumn("{task.fields[lost]}"),
            TimeRemainingColumn(compact=True),
            total=total,
            description=name,
            quiet=quiet,
            fps=0.0,
            state="",
            lost="",
        )
        self.done, self.total, self.lost = 0, total, 0
        self._times: deque[float] = deque([time.perf_counter()], maxlen=51)

    @property
    def fps(self) -> float:
        """Frames per second over the last frames, everything included."""
        span = self._times[-1] - self._times[0]
        return (len(self._times) - 1) / span if span > 0 else 0.0

    def step(self, results: Mapping[int | str, Result]) -> None:
        """One more frame is done, with these results by the targets' ids."""
        now_lost = any(result.lost for result in results.values())
        self.done += 1
        self.lost += now_lost
        self._times.append(time.perf_counter())
        state = f"[{'bold dark_orange' if now_lost else 'green'}]{escape(_state(results))}[/]"
        self.show(lambda: self._line(_state(results)), completed=self.done, fps=self.fps, state=state, lost=self._lost())

    def _lost(self) -> str:
        return f"lost in {self.lost}" if self.lost else ""

    def _line(self, state: str) -> str:
        of = f" of {self.total}" if self.total else ""
        left = ""
        if self.total and self.fps:
            minutes, seconds = divmod(round(max(self.total - self.done, 0) / self.fps), 60)
            left = f"{minutes}:{seconds:02d} left"
        return "  ".join(filter(None, (f"frame {self.done}{of}", f"{self.fps:.1f} fps", state, self._lost(), left)))


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
