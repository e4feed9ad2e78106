"""How far a run is and when it ends: a bar on a terminal, a line a minute elsewhere, a file for who looks from outside.

Work is weighed by what it is expected to take, so that a step of a large model moves the bar further than one of a
small one; how fast the machine does what was expected of it is measured over the last minute, compilation left out.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import os
import platform
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
from absl import logging
from etils import epath
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from sweb_jax.runtime import files
from sweb_jax.runtime.hosts import Interrupted
from sweb_jax.runtime.terminal import clock

_LOG_SECONDS = 60.0
_FILE_SECONDS = 10.0
_WINDOW_SECONDS = 60.0
"""Rates are of the last minute."""
_LEAST_SHARE = 0.02
"""Of a stage, that is done before its own speed is taken instead of the expected one."""


class Compiling:
  """Seconds that this process has compiled for. JAX tells of a program when it is done."""

  def __init__(self):
    self.seconds = 0.0
    self._listens = False

  def listen(self) -> None:
    """Counts from now on, for as long as the process lives."""
    if not self._listens:
      self._listens = True
      jax.monitoring.register_event_duration_secs_listener(self._add)

  def _add(self, event: str, seconds: float, **_) -> None:
    if event.endswith('backend_compile_duration'):
      self.seconds += seconds


compiling = Compiling()


@dataclasses.dataclass(frozen=True)
class _Mark:
  """What was done at a time."""

  time: float
  fresh: int
  tokens: int
  weight: float
  compiled: float


class Meter:
  """Counts the work of a stage, from any thread.

  Args:
    name: of the stage.
    total: items: samples, steps of training, or files.
    seconds: that all of them are expected to take.
    pace: how many seconds the run has taken for each that was expected, before this stage.
    later: seconds that the stages after it are expected to take.
    at_once: steps side by side; one that compiles holds up the others by its share.
    tells: whether its pace tells of the stages after it, which that of another machine does not.
  """

  def __init__(
    self,
    name: str,
    total: int,
    *,
    seconds: float = 0.0,
    pace: float = 1.0,
    later: float = 0.0,
    at_once: int = 1,
    tells: bool = True,
  ):
    self.name, self.total = name, total
    self._seconds, self._pace, self._later, self._at_once = seconds or float(max(1, total)), pace, later, at_once
    self._tells = tells
    self._lock, self._own = threading.Lock(), threading.local()
    self._done = self._skipped = self._tokens = 0
    self._weight = self._skipped_weight = 0.0
    self._compiled = compiling.seconds
    self._begun = time.monotonic()
    self._marks = collections.deque([self._mark(self._begun)])

  @contextlib.contextmanager
  def weighing(self, items: int, seconds: float) -> Iterator[None]:
    """What this thread counts is of a step with so many items, which is expected to take so many seconds."""
    self._own.weight = seconds / max(1, items)
    try:
      yield
    finally:
      del self._own.weight

  def add(self, items: int = 1, tokens: int = 0) -> None:
    """Notes finished items and the tokens they took."""
    with self._lock:
      self._done += items
      self._tokens += tokens
      self._weight += items * self._weight_of_item()
      now = time.monotonic()
      if now - self._marks[-1].time >= 1.0:
        self._marks.append(self._mark(now))
      while now - self._marks[0].time > _WINDOW_SECONDS:
        self._marks.popleft()

  def skip(self, items: int) -> None:
    """Notes items that an earlier run finished: done, but not at this run's speed."""
    with self._lock:
      self._done += items
      self._skipped += items
      self._weight += items * self._weight_of_item()
      self._skipped_weight += items * self._weight_of_item()

  @property
  def share(self) -> float:
    """Done, by weight, from 0 to 1."""
    return min(1.0, self._weight / self._seconds)

  @property
  def taken(self) -> tuple[float, float]:
    """Seconds it took by now, and those that were expected for what was done in them."""
    return time.monotonic() - self._begun, self._weight - self._skipped_weight

  def left(self, now: float) -> float:
    """Seconds until the stage ends."""
    pace = self._pace
    past = self._past(now)
    worked = now - past.time - (compiling.seconds - past.compiled) / self._at_once
    weight = self._weight - self._skipped_weight - past.weight
    if self._weight - self._skipped_weight > _LEAST_SHARE * self._seconds and worked > 0 and weight > 0:
      pace = worked / weight
    return max(0.0, self._seconds - self._weight) * pace

  def left_in_all(self, now: float) -> float:
    """Seconds until the run ends."""
    took, expected = now - self._begun, self._weight - self._skipped_weight
    unknown = not self._tells or expected < _LEAST_SHARE * self._seconds
    pace = self._pace if unknown else took / expected
    return self.left(now) + self._later * pace

  def line(self, now: float) -> str:
    """'sample: 1200 of 4800 (25 %), 310 a second, 5210 tokens/s; 0:12 left, 3:40 with the stages after it'."""
    total = max(self.total, self._done)  # A process's share is known about only.
    ends = f'{clock(self.left(now))} left'
    if self._later:
      ends += f', {clock(self.left_in_all(now))} with the stages after it'
    return f'{self.name}: {self._done} of {total} ({100 * self.share:.0f} %), {self.speed(now)}; {ends}'

  def end(self, now: float) -> str:
    """'sample: 4800 in 0:16, 300 a second, 5000 tokens/s'."""
    seconds = max(now - self._begun, 1e-9)
    return f'{self.name}: {self._done} in {clock(seconds)}, {_rate(self._done - self._skipped, self._tokens, seconds)}'

  def speed(self, now: float) -> str:
    """'310 a second, 5210 tokens/s', of the last minute; says how much of it was compiled."""
    past = self._past(now)
    fresh = self._done - self._skipped - past.fresh
    compiled = compiling.seconds - past.compiled
    if not fresh:
      return 'compiling' if compiled else 'nothing finished in the last minute'
    said = _rate(fresh, self._tokens - past.tokens, max(now - past.time, 1e-9))
    return f'{said} ({compiled:.0f} s of the last minute compiling)' if compiled >= 1.0 else said

  def _weight_of_item(self) -> float:
    return getattr(self._own, 'weight', self._seconds / max(1, self.total))

  def _mark(self, now: float) -> _Mark:
    weight = self._weight - self._skipped_weight
    return _Mark(now, self._done - self._skipped, self._tokens, weight, compiling.seconds)

  def _past(self, now: float) -> _Mark:
    """A minute ago, or as near to it as is known."""
    with self._lock:
      return next((m for m in self._marks if now - m.time <= _WINDOW_SECONDS), self._marks[-1])


class Run:
  """The stages of a run, one after the other; a context, whose end is told too.

  Args:
    expected: seconds that each stage is expected to take, in their order.
    console: where a bar is drawn, if it is a terminal.
    path: the file for who looks from outside; None: none.
    at_once: steps side by side.
  """

  def __init__(self, expected: Sequence[float], console: Console, path: epath.Path | None = None, at_once: int = 1):
    self._left, self._console, self._path, self._at_once = sum(expected), console, path, at_once
    self._took = self._expected = 0.0
    self._begun, self._none_begun = time.time(), True

  def __enter__(self) -> Run:
    compiling.listen()
    return self

  def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
    if self._none_begun:
      return
    stopped = isinstance(error, KeyboardInterrupt | Interrupted)
    self._write({'state': 'stopped' if stopped else 'failed' if kind else 'finished', 'why': str(error or '')})

  @contextlib.contextmanager
  def stage(self, name: str, total: int, seconds: float, tells: bool = True) -> Iterator[Meter]:
    """A meter for one stage, of so many items and expected seconds; says at the end how long it took.

    `tells`: whether its pace tells of the stages after it.
    """
    self._none_begun = False
    self._left = max(0.0, self._left - seconds)
    pace = self._took / self._expected if self._expected else 1.0
    meter = Meter(name, total, seconds=seconds, pace=pace, later=self._left, at_once=self._at_once, tells=tells)
    ended = threading.Event()
    with self._bar() as bar:
      teller = threading.Thread(target=self._tell, args=(meter, bar, ended), name='progress', daemon=True)
      teller.start()
      try:
        yield meter
      finally:
        ended.set()
        teller.join()
    now = time.monotonic()
    if self._console.is_terminal:
      self._console.print(meter.end(now), highlight=False)
    else:
      logging.info('%s', meter.end(now))
    if tells:
      took, expected = meter.taken
      self._took, self._expected = self._took + took, self._expected + expected

  def _bar(self) -> contextlib.AbstractContextManager[Progress | None]:
    if not self._console.is_terminal or self._console.quiet:
      return contextlib.nullcontext()
    columns = (TextColumn('{task.description}'), BarColumn(20), TextColumn('{task.fields[told]}'), TimeElapsedColumn())
    return Progress(*columns, console=self._console, transient=True)

  def _tell(self, meter: Meter, bar: Progress | None, ended: threading.Event) -> None:
    """Until the stage ends: moves the bar, or logs a line a minute; writes the file."""
    task = None if bar is None else bar.add_task(meter.name, total=1.0, told='')
    logged = time.monotonic()
    written = -_FILE_SECONDS
    while not ended.wait(0.5):
      now = time.monotonic()
      if bar is not None:
        told = f'{100 * meter.share:.0f} %, {clock(meter.left(now))} left, {clock(meter.left_in_all(now))} in all'
        bar.update(task, completed=meter.share, told=told)
      elif now - logged >= _LOG_SECONDS:
        logged = now
        logging.info('%s', meter.line(now))
      if now - written >= _FILE_SECONDS:
        written = now
        self._write({
          'state': 'running',
          'stage': meter.name,
          'share': round(meter.share, 4),
          'line': meter.line(now),
          'seconds_left': round(meter.left_in_all(now), 1),
        })

  def _write(self, told: Mapping[str, Any]) -> None:
    if self._path is None:
      return
    who = {'host': platform.node(), 'process': os.getpid(), 'begun': self._begun, 'time': time.time()}
    # A full disk ends the run by what it says of its results, not by this.
    with contextlib.suppress(OSError):
      files.write_json(self._path, {**told, **who})


def _rate(items: int, tokens: int, seconds: float) -> str:
  rate = items / seconds
  text = f'{rate:.0f} a second' if rate >= 100 else f'{rate:.3g} a second'
  return f'{text}, {tokens / seconds:.0f} tokens/s' if tokens else text
