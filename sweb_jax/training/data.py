"""From examples to packed batches.

A batch holds a fixed number of examples (the paper's batch), packed first-fit into as few rows as it takes. Which
examples a step sees is a function of (seed, step) alone, so a resumed run needs nothing but its step.
"""

from __future__ import annotations

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


Rendered = tuple[tuple[int, ...], int]
"""Ids of an example and the length of its prompt."""


def examples_at(step: int, *, examples: int, batch: int, seed: int) -> list[int]:
  """Numbers of the examples of one step: epochs in keyed random order, back to back."""
  at = range(step * batch, (step + 1) * batch)
  return [int(_order(seed, i // examples, examples)[i % examples]) for i in at]


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
    rendered: Sequence[Rendered],
    *,
    batch: int,
    steps: int,
    seed: int,
    row_length: int,
    multiple_of: int = 1,
    ids: Sequence[str] = (),
  ):
    if not rendered:
      raise DataError('there is no example to train on: no sample was kept')
    self._ids = ids or [str(i) for i in range(len(rendered))]
    longest = max(range(len(rendered)), key=lambda i: len(rendered[i][0]))
    if (tokens := len(rendered[longest][0])) - 1 > row_length:
      raise DataError(
        f'example {self._ids[longest]} has {tokens} tokens, config.train.row_length={row_length} holds '
        f'{row_length + 1}; raise it or lower config.sampling.max_new_tokens'
      )
    self._rendered, self._batch, self._seed = rendered, batch, seed
    needed = max((len(self._rows(step, row_length)) for step in range(steps)), default=1)
    rows = _rounded(needed, multiple_of)
    if rows > _rounded(needed, 1):
      # Devices would have nothing but padding: the examples are spread over all of them, in shorter rows.
      shorter = (-(-row_length * eighths // 8) for eighths in range(1, 9))
      enough = (n for n in shorter if n >= tokens - 1)
      row_length = next(n for n in enough if all(len(self._rows(step, n)) <= rows for step in range(steps)))
    self._row_length = row_length
    targets = max(
      (sum(len(ids) - start for ids, start in row) for step in range(steps) for row in self._rows(step, row_length)),
      default=1,
    )
    self._shape = rows, min(_rounded(targets, 8), row_length)

  def _rows(self, step: int, row_length: int) -> list[list[Rendered]]:
    items = [
      self._rendered[i]
      for i in examples_at(step, examples=len(self._rendered), batch=self._batch, seed=self._seed)
    ]
    return [[items[i] for i in row] for row in first_fit([len(ids) - 1 for ids, _ in items], row_length)]

  def names(self, step: int) -> list[str]:
    """The examples of a step."""
    at = examples_at(step, examples=len(self._rendered), batch=self._batch, seed=self._seed)
    return [self._ids[i] for i in at]

  def batch(self, step: int) -> Batch:
    """The packed batch of a step."""
    rows, targets = self._shape
    tokens, segments, positions = (np.zeros((rows, self._row_length), np.int32) for _ in range(3))
    target_at, target = (np.zeros((rows, targets), np.int32) for _ in range(2))
    weights = np.zeros((rows, targets), np.float32)
    for r, row in enumerate(self._rows(step, self._row_length)):
      column = n = 0
      for segment, (ids, start) in enumerate(row, 1):
        length, losses = len(ids) - 1, len(ids) - start
        span = slice(column, column + length)
        tokens[r, span], segments[r, span], positions[r, span] = ids[:-1], segment, np.arange(length)
        target_at[r, n : n + losses] = np.arange(column + start - 1, column + length)
        target[r, n : n + losses], weights[r, n : n + losses] = ids[start:], 1.0
        column, n = column + length, n + losses
    return Batch(tokens, segments, positions, target_at, target, weights)
