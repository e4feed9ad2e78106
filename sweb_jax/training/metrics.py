"""What a run measures: read from the device behind the steps, checked, and written while the run goes on."""

from __future__ import annotations

import collections
import dataclasses
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import jax
from etils import epath

from sweb_jax import layout
from sweb_jax.runtime import files
from sweb_jax.training.step import Measured
from sweb_jax.training.watchers import Watcher

_BEHIND = 2
"""Steps that are with the device while an older one is read: it has work while the host waits, and a run that is asked
to stop has no more than these to end."""
_PUBLISH_SECONDS = 10.0
"""Between two writes of the files."""


class TrainingError(RuntimeError):
  """Training diverged; the message names the step and what to change."""


@dataclasses.dataclass(frozen=True)
class Score:
  """A checkpoint on the validation problems."""

  step: int
  """Steps done."""
  accuracy: float
  """Share right."""
  tokens: int
  """Drawn to find out, for the ledger."""
  stopped: float
  """Share of the completions that end in the stop token."""


class _Step(NamedTuple):
  """A step whose measurements are still on the device."""

  number: int
  learning_rate: float
  tokens: int
  measured: Measured


class Metrics:
  """The rows of `metrics.jsonl` and the scores of a run; the same for those who watch.

  Args:
    folder: of the file; the first process writes it.
    names: the examples of a step, for messages.
    flops_per_token: of training.
    peak_flops: FLOP/s that all devices could do; 0: unknown, and no MFU is given.
    watchers: are told of the same.
  """

  def __init__(
    self,
    folder: epath.Path,
    names: Callable[[int], Sequence[str]],
    flops_per_token: float,
    peak_flops: float,
    watchers: Sequence[Watcher] = (),
  ):
    self.rows: list[dict[str, float]] = []
    self.scores: list[Score] = []
    self._folder, self._names = folder, names
    self._flops_per_token, self._peak_flops = flops_per_token, peak_flops
    self._pending: collections.deque[_Step] = collections.deque()
    self._lines: list[str] = []
    self._watchers = watchers
    self._clock = time.monotonic()
    self._published = -math.inf

  def restore(self, rows: Sequence[dict[str, float]], scores: Sequence[Score]) -> None:
    """Takes up what an earlier run measured."""
    left = collections.deque(scores)
    for row in rows:
      self._add_row(row)
      while left and left[0].step == row['step']:
        self.add_score(left.popleft())

  def begin(self) -> None:
    """To be called before a step: what was done since the last one, scoring say, is not of its time."""
    if not self._pending:
      self._clock = time.monotonic()

  def add(self, step: int, learning_rate: float, tokens: int, measured: Measured) -> None:
    """Notes a step that was given to the device, and reads an older one. Raises TrainingError."""
    self._pending.append(_Step(step, learning_rate, tokens, measured))
    self._read(_BEHIND)

  def settle(self) -> None:
    """Waits for all steps and reads them. Raises TrainingError."""
    self._read(0)

  def add_score(self, score: Score) -> None:
    """Notes a score of the step that was read last."""
    self.scores.append(score)
    values = dataclasses.asdict(score)
    self._tell('validation', values.pop('step'), self.rows[-1]['time'], values)

  def publish(self) -> None:
    """Writes the file."""
    if jax.process_index() == 0:
      files.write_text(self._folder / layout.METRICS, ''.join(self._lines))
    for watcher in self._watchers:
      watcher.write()
    self._published = time.monotonic()

  def _read(self, behind: int) -> None:
    while len(self._pending) > behind:
      self._read_next()
    if self.rows and time.monotonic() - self._published > _PUBLISH_SECONDS:
      self.publish()

  def _read_next(self) -> None:
    step, rate, tokens, measured = self._pending.popleft()
    loss, norm = measured.read()
    if not (math.isfinite(loss) and math.isfinite(norm)):
      raise TrainingError(
        f'the loss is {loss} and the gradient norm {norm} at step {step} with learning rate {rate:g}; lower '
        f'config.train.learning_rates. Its examples: {", ".join(self._names(step - 1))}'
      )
    now = time.monotonic()
    seconds, self._clock = now - self._clock, now
    speed = tokens / max(seconds, 1e-9)
    row = {'step': step, 'learning_rate': rate, 'loss': loss, 'grad_norm': norm, 'tokens': tokens}
    row |= {'seconds': round(seconds, 4), 'tokens_per_second': round(speed, 1)}
    if self._peak_flops:
      row['mfu'] = round(speed * self._flops_per_token / self._peak_flops, 4)
    self._add_row(row | {'time': round(time.time(), 3)})

  def _add_row(self, row: dict[str, float]) -> None:
    self.rows.append(row)
    self._lines.append(json.dumps(row) + '\n')
    values = {k: v for k, v in row.items() if k not in ('step', 'time')}
    self._tell('train', row['step'], row['time'], values)

  def _tell(self, kind: str, step: int, seconds: float, values: Mapping[str, float]) -> None:
    for watcher in self._watchers:
      watcher.add(kind, step, seconds, values)
