"""Progress of a stage: a bar on a terminal, a log line a minute elsewhere."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator

from absl import logging
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

_LOG_SECONDS = 60.0


def console() -> Console:
  """Where a command prints. A file or a pipe has no width, and 80 columns would cut the tables."""
  found = Console()
  if not found.is_terminal:
    found.width = 140
  return found


class Meter:
  """Counts work done, from any thread."""

  def __init__(self, name: str, total: int, bar: Progress | None):
    self._name, self._total, self._bar = name, total, bar
    self._task = None if bar is None else bar.add_task(name, total=total, rate='')
    self._lock = threading.Lock()
    self._begun = self._logged = time.monotonic()
    self._done = self._skipped = self._tokens = 0

  def add(self, items: int = 1, tokens: int = 0) -> None:
    """Notes finished items (samples, steps, jobs) and the tokens they took."""
    with self._lock:
      self._done += items
      self._tokens += tokens
      now = time.monotonic()
      if self._bar is not None:
        self._bar.update(self._task, completed=self._done, rate=self._rate(now))
      elif now - self._logged >= _LOG_SECONDS:
        self._logged = now
        logging.info('%s', self.line(now))

  def skip(self, items: int) -> None:
    """Notes items that an earlier run finished: done, but not at this run's rate."""
    with self._lock:
      self._skipped += items
    self.add(items)

  def line(self, now: float) -> str:
    """'sample: 1200 of 4800 (25 %), 310 a second, 5210 tokens/s, 0:12 left'."""
    fresh = self._done - self._skipped
    total = max(self._total, self._done)  # A process's share is known about only.
    left = (total - self._done) * (now - self._begun) / fresh if fresh else None
    eta = '' if left is None else f', {int(left) // 60}:{int(left) % 60:02d} left'
    share = 100 * self._done / max(1, total)
    return f'{self._name}: {self._done} of {total} ({share:.0f} %), {self._rate(now)}{eta}'

  def _rate(self, now: float) -> str:
    seconds = max(now - self._begun, 1e-9)
    rate = (self._done - self._skipped) / seconds
    text = f'{rate:.0f} a second' if rate >= 100 else f'{rate:.3g} a second'
    return f'{text}, {self._tokens / seconds:.0f} tokens/s' if self._tokens else text


@contextlib.contextmanager
def meter(name: str, total: int, console: Console) -> Iterator[Meter]:
  """A meter for one stage; says at the end how long it took."""
  begun = time.monotonic()
  if console.is_terminal:
    columns = (
      TextColumn('{task.description}'),
      BarColumn(),
      MofNCompleteColumn(),
      TextColumn('{task.fields[rate]}'),
      TimeElapsedColumn(),
      TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bar:
      yield Meter(name, total, bar)
  else:
    m = Meter(name, total, None)
    yield m
    now = time.monotonic()
    logging.info('%s; took %.1f s', m.line(now), now - begun)
