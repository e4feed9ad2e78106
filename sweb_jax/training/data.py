"""From examples to packed batches.

A batch holds a fixed number of examples (the paper's batch), packed first-fit into as few rows as it takes. Which
examples a step sees is a function of (seed, step) alone, so a resumed run needs nothing but its step.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int


class DataError(ValueError):
  """Nothing to train on, or an example that does not fit; the message names it."""


class Batch(NamedTuple):
  """Packed rows. R rows, L length, M targets a row; padding has segment 0 and weight 0."""

  tokens: Int[np.ndarray, 'R L']
  segment_ids: Int[np.ndarray, 'R L']
  """Which example of the row, from 1."""
  positions: Int[np.ndarray, 'R L']
  """Position within the example."""
  target_at: Int[np.ndarray, 'R M']
  """Columns whose next token carries loss. Logits are computed there and nowhere else."""
  targets: Int[np.ndarray, 'R M']
  weights: Float[np.ndarray, 'R M']


Rendered = tuple[Sequence[int], int]
"""Ids of an example and the length of its prompt."""


@dataclasses.dataclass(frozen=True, eq=False)
class Rows(Sequence[Rendered]):
  """The ids of N examples in one array, which may lie in a file; those of a prompt stand there once."""

  ids: Int[np.ndarray, ' T']
  spans: Int[np.ndarray, 'N 4']
  """Of each example: begin and end of its prompt in `ids`, begin and end of its solution."""

  @classmethod
  def of(cls, rendered: Sequence[Rendered]) -> Rows:
    """The same examples, from one sequence of ids for each."""
    ends = np.cumsum([0, *(len(ids) for ids, _ in rendered)])
    middle = ends[:-1] + [start for _, start in rendered]
    ids = np.concatenate([np.asarray(ids, np.int32) for ids, _ in rendered]) if rendered else np.zeros(0, np.int32)
    return cls(ids, np.stack([ends[:-1], middle, middle, ends[1:]], axis=1))

  def __len__(self) -> int:
    return len(self.spans)

  def __getitem__(self, i: int) -> tuple[Int[np.ndarray, ' L'], int]:
    first, middle, again, last = self.spans[i]
    return np.concatenate([self.ids[first:middle], self.ids[again:last]]), int(middle - first)

  @property
  def prompts(self) -> Int[np.ndarray, ' N']:
    """Tokens of each prompt."""
    return self.spans[:, 1] - self.spans[:, 0]

  @property
  def lengths(self) -> Int[np.ndarray, ' N']:
    """Tokens of each example, prompt and solution."""
    return self.prompts + self.spans[:, 3] - self.spans[:, 2]


def examples_at(step: int, *, examples: int, batch: int, seed: int) -> list[int]:
  """Numbers of the examples of one step: epochs in keyed random order, back to back."""
  first, end = step * batch, (step + 1) * batch
  found: list[int] = []
  while first < end:  # An epoch at a time.
    at = first % examples
    found += _order(seed, first // examples, examples)[at : at + end - first].tolist()
    first += min(examples - at, end - first)
  return found


@functools.lru_cache(maxsize=8)
def _order(seed: int, epoch: int, examples: int) -> Int[np.ndarray, ' N']:
  """The order of the examples in an epoch. Kept, as each of its steps asks for it."""
  return np.random.default_rng((seed, epoch)).permutation(examples)


def first_fit(lengths: Sequence[int], row_length: int) -> list[list[int]]:
  """Packs items into rows: each goes into the first row with room for it. Returns item numbers by row."""
  rows: list[list[int]] = []
  room: list[int] = []
  for item, length in enumerate(lengths):
    row = next((r for r, free in enumerate(room) if free >= length), len(rows))
    if row == len(rows):
      rows.append([])
      room.append(row_length)
    rows[row].append(item)
    room[row] -= length
  return rows


def _rounded(count: int, multiple_of: int) -> int:
  """Rounded up, by an eighth at most but for the multiple: data sets of about one size share a compiled program."""
  step = math.lcm(multiple_of, max(1, (1 << (count - 1).bit_length()) // 16))
  return -(-count // step) * step


class Packer:
  """Packed batches of one run, all of one shape: the smallest that holds every step's examples.

  Args:
    rendered: ids and prompt length of each example.
    batch: examples a step.
    steps: steps of the run.
    seed: of the order of examples.
    row_length: of tokens, at most: an example takes one column less than it has ids, as its last id is only a target.
    multiple_of: the number of rows is rounded up to it (devices that share the batch, times parts of it). Where that
      makes rows, rows are as short, by eighths of `row_length`, as the number of them allows.
    ids: names of the examples, for messages; by default their numbers.

  Raises:
    DataError: no examples, or one that is longer than a row.
  """

  def __init__(
    self,
    rendered: Rows | Sequence[Rendered],
    *,
    batch: int,
    steps: int,
    seed: int,
    row_length: int,
    multiple_of: int = 1,
    ids: Sequence[str] = (),
  ):
    if not len(rendered):
      raise DataError('there is no example to train on: no sample was kept')
    self._rows = rendered if isinstance(rendered, Rows) else Rows.of(rendered)
    self._ids = ids or [str(i) for i in range(len(rendered))]
    self._columns = self._rows.lengths - 1
    longest = int(self._columns.argmax())
    if (columns := int(self._columns[longest])) > row_length:
      raise DataError(
        f'example {self._ids[longest]} has {columns + 1} tokens, config.train.row_length={row_length} holds '
        f'{row_length + 1}; raise it or lower config.sampling.max_new_tokens'
      )
    self._batch, self._seed = batch, seed
    needed = max((len(self._packed(step, row_length)) for step in range(steps)), default=1)
    rows = _rounded(needed, multiple_of)
    if rows > _rounded(needed, 1):
      # Devices would have nothing but padding: the examples are spread over all of them, in shorter rows.
      shorter = (-(-row_length * eighths // 8) for eighths in range(1, 9))
      enough = (n for n in shorter if n >= columns)
      row_length = next(n for n in enough if all(len(self._packed(step, n)) <= rows for step in range(steps)))
    self._row_length = row_length
    losses = (self._rows.lengths - self._rows.prompts).tolist()
    targets = max(
      (sum(losses[i] for i in row) for step in range(steps) for row in self._packed(step, row_length)), default=1
    )
    self._shape = rows, min(_rounded(targets, 8), row_length)

  def _packed(self, step: int, row_length: int) -> list[list[int]]:
    """The examples of a step, by row."""
    items = examples_at(step, examples=len(self._rows), batch=self._batch, seed=self._seed)
    return [[items[i] for i in row] for row in first_fit(self._columns[items].tolist(), row_length)]

  def names(self, step: int) -> list[str]:
    """The examples of a step."""
    at = examples_at(step, examples=len(self._rows), batch=self._batch, seed=self._seed)
    return [self._ids[i] for i in at]

  @property
  def shape(self) -> tuple[int, int, int]:
    """R, L and M of every batch."""
    rows, targets = self._shape
    return rows, self._row_length, targets

  def batch(self, step: int, shape: tuple[int, int, int] | None = None) -> Batch:
    """The packed batch of a step; `shape`: made larger with padding."""
    rows, length, targets = shape or self.shape
    tokens, segments, positions = (np.zeros((rows, length), np.int32) for _ in range(3))
    target_at, target = (np.zeros((rows, targets), np.int32) for _ in range(2))
    weights = np.zeros((rows, targets), np.float32)
    for r, row in enumerate(self._packed(step, self._row_length)):
      column = n = 0
      for segment, (ids, start) in enumerate(map(self._rows.__getitem__, row), 1):
        length, losses = len(ids) - 1, len(ids) - start
        span = slice(column, column + length)
        tokens[r, span], segments[r, span], positions[r, span] = ids[:-1], segment, np.arange(length)
        target_at[r, n : n + losses] = np.arange(column + start - 1, column + length)
        target[r, n : n + losses], weights[r, n : n + losses] = ids[start:], 1.0
        column, n = column + length, n + losses
    return Batch(tokens, segments, positions, target_at, target, weights)
