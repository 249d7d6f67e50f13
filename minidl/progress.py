"""One line that says how a run is going, on one rank."""

from __future__ import annotations

import time
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.text import Text

EVERY = 5.0  # seconds between lines where nothing can be overwritten

PLACE = ("event", "group", "iteration", "seconds", "samples")


class Progress:
    """Shows a run's events: one line that changes on a terminal, plain lines elsewhere.

    Parameters
    ----------
    iterations : int
        Length of the run.
    console : Console
    """

    def __init__(self, iterations: int, console: Console) -> None:
        self.iterations, self.console = iterations, console
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self._began = time.perf_counter()
        self._shown: dict[str, Any] = {"seconds": 0.0, "samples": 0}
        self._spent = {"computing": 0.0, "waiting": 0.0, "loading": 0.0}

    def __enter__(self) -> Progress:
        if self.console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def tell(self, event: dict[str, Any]) -> None:
        """Show an event of the log."""
        if event["event"] == "validation":
            figures = {k: v for k, v in event.items() if k not in PLACE}
            text = "  ".join(f"{name} {value:.4f}" for name, value in figures.items())
            self.console.print(f"validation after iteration {event['iteration']}:  {text}")
            return
        if event["event"] != "iteration" or event["group"] > 0:
            return  # the first group's iterations are enough for a line
        # Whoever looks on waits in real seconds; those of the event may be virtual.
        event = {**event, "seconds": time.perf_counter() - self._began}
        for name in self._spent:
            self._spent[name] += event[name]
        last = event["iteration"] == self.iterations
        since = event["seconds"] - self._shown["seconds"]
        if self.console.is_terminal:
            if since > 0.2 or last:
                self._live.update(Text(self._line(event)), refresh=True)
                self._shown = event
            if last:
                self.console.print(self._line(event))
        elif since > EVERY or last or event["iteration"] == 1:
            self.console.print(self._line(event))
            self._shown = event

    def _line(self, event: dict[str, Any]) -> str:
        iteration, seconds = event["iteration"], event["seconds"]
        total = sum(self._spent.values()) or 1.0
        left = seconds / iteration * (self.iterations - iteration)
        since = max(seconds - self._shown["seconds"], 1e-9)
        parts = [f"{name} {value:.3g}" for name, value in event.get("terms", {}).items()]
        terms = f" ({', '.join(parts)})" if parts else ""
        return (
            f"iteration {iteration}/{self.iterations}  epoch {event['epoch']:.2f}  "
            f"loss {event['loss']:.4f}{terms}  "
            f"{(event['samples'] - self._shown['samples']) / since:.0f} images/s  "
            f"waiting {100 * self._spent['waiting'] / total:.0f} %  "
            f"loading {100 * self._spent['loading'] / total:.0f} %  "
            f"left {left // 60:.0f}:{left % 60:02.0f}"
        )
