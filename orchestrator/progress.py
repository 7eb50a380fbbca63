"""Progress while a run is driven: a live picture on a terminal, plain lines anywhere else.

1. A picture is drawn from the newest run, a few times a second, whatever the number of events.
2. Plain lines are bounded by the second, those of failures apart; what is left out is counted.
3. Showing decides nothing and never stops a run: a stream that broke is no longer written to.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final, Self, TextIO

from rich.console import Console
from rich.live import Live
from rich.text import Text

from orchestrator.progress_lines import done_words, picture
from orchestrator.pure.events import ActFinished, ActStarted
from orchestrator.show_events import LOUD, event_words
from orchestrator.show_text import Page, Span, duration, instant
from orchestrator.show_words import in_words, standing

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    from orchestrator.progress_lines import Under
    from orchestrator.pure.events import Event
    from orchestrator.pure.state import Run
    from orchestrator.show_text import Style

__all__ = ["Progress"]

REDRAWS: Final = 8
"""Pictures a second, so that clocks tick between events too."""
A_SECOND: Final = {"more begun": 5, "more finished": 10, "more failed": 50}
"""So many lines of each kind are written in a second; the others are counted."""
UNBOUND: Final = 10_000


class Progress:
    """Shows a run while somebody drives it; use it as a context and hand it every change."""

    def __init__(
        self,
        run: Run,
        under: Under,
        *,
        stream: TextIO,
        live: bool,
        color: bool,
        clock_ms: Callable[[], int],
        width: int | None = None,
    ) -> None:
        self._run = run
        self._stream = stream
        self._color = color
        self._clock_ms = clock_ms
        self._under = under
        self._at_ms = run.at_ms
        self._second = -1
        self._told: dict[str, int] = {}
        self._left_out: dict[str, int] = {}
        self._console = Console(
            file=stream,
            force_terminal=live,
            no_color=not color,
            highlight=False,
            markup=False,
            width=width,
        )
        self._live = self._terminal() if live else None

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        else:
            self._say_phase(self._run)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()
            for event in self._under.troubles:
                self._say(event.at_ms, *event_words(event))
        self._summarise()
        run = self._run
        words, style = standing(run.phase, paused=run.paused)
        took = duration(self._under.took_ms(run, self._clock_ms()) / 1000)
        self._say(run.at_ms, f"{run.id} {words}: {done_words(run)}, in {took}", style)

    def update(self, run: Run, events: Sequence[Event]) -> None:
        """Take the newest run and what led to it."""
        before, self._run = self._run, run
        for event in events:
            self._under.take(run, event)
            if self._live is None:
                self._tell(event)
        if self._live is None and (run.phase, run.paused) != (before.phase, before.paused):
            self._say_phase(run)

    def aside(self, words: str) -> None:
        """Say something that is no event, such as that a stop was heard."""
        if self._live is not None:
            self._console.print(Text(words, style="bold"))
        else:
            self._say(self._clock_ms(), words, "warn")

    # --- on a terminal ----------------------------------------------------------------------------

    def _terminal(self) -> Live:
        return Live(
            get_renderable=self._picture,
            console=self._console,
            refresh_per_second=REDRAWS,
            transient=True,
            vertical_overflow="crop",
        )

    def _picture(self) -> Text:
        drawn = picture(
            self._run,
            self._under,
            self._clock_ms(),
            width=self._console.width - 1,
            height=self._console.height,
            color=self._color,
        )
        return Text.from_ansi(drawn, no_wrap=True, overflow="crop")

    # --- line by line -----------------------------------------------------------------------------

    def _tell(self, event: Event) -> None:
        second = self._clock_ms() // 1000
        if second != self._second:
            self._summarise()
            self._second, self._told = second, {}
        self._at_ms = event.at_ms
        words, style = event_words(event)
        if isinstance(event, (ActStarted, ActFinished)):
            kind = _kind(event, loud=style in LOUD)
            self._told[kind] = self._told.get(kind, 0) + 1
            if self._told[kind] > A_SECOND[kind]:
                self._left_out[kind] = self._left_out.get(kind, 0) + 1
                return
        self._say(event.at_ms, words, style)

    def _summarise(self) -> None:
        if not self._left_out:
            return
        more = ", ".join(f"{number:,} {kind}" for kind, number in sorted(self._left_out.items()))
        self._left_out = {}
        self._say(self._at_ms, f"… and {more}; {done_words(self._run)}", "dim")

    def _say_phase(self, run: Run) -> None:
        words, style = standing(run.phase, paused=run.paused)
        self._say(run.at_ms, f"{run.id} {in_words(words, run.reason)}", style)

    def _say(self, at_ms: int, words: str, style: Style) -> None:
        page = Page(UNBOUND, color=self._color)
        when = instant(at_ms, seconds=True).partition(" (")[0]
        page.line(Span(f"{when}  ", "dim"), Span(words, style))
        # A reader that went away must not stop what it was reading about.
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(page.text())
            self._stream.flush()


def _kind(event: ActStarted | ActFinished, *, loud: bool) -> str:
    if isinstance(event, ActStarted):
        return "more begun"
    return "more failed" if loud else "more finished"
