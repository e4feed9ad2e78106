"""What a compiled program does, read from its text: messages between devices, FLOPs, and what it holds in memory.

Bodies of loops count as often as they run where XLA knows how often that is, and once where it does not.
"""

from __future__ import annotations

import collections
import dataclasses
import math
import re
from collections.abc import Iterator

COLLECTIVES = ('all-gather', 'all-reduce', 'reduce-scatter', 'all-to-all', 'collective-permute')

_BYTES = {'pred': 1, 's8': 1, 'u8': 1, 'bf16': 2, 'f16': 2, 's16': 2, 'u16': 2, 's64': 8, 'u64': 8, 'f64': 8}
_HEADER = re.compile(r'^(ENTRY )?%?([\w.\-]+) \(.*\{$')
_INSTRUCTION = re.compile(r'^\s+(?:ROOT )?%?([\w.\-]+) = (.*?) ([\w\-]+)\((.*)$')
_ARRAY = re.compile(r'(\w+)\[([\d,]*)\]')
_CALLED = re.compile(r'(?:calls|to_apply|body|condition|branch_computations)=(\{[^}]*\}|%?[\w.\-]+)')
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')
# What names memory and makes none.
_NO_MEMORY = ('parameter', 'get-tuple-element', 'tuple', 'bitcast', 'while', 'conditional', 'call', 'constant')


@dataclasses.dataclass(frozen=True)
class Traffic:
  """Messages of one kind that a device takes part in."""

  count: float
  bytes: float
  """Of the results, on one device."""


@dataclasses.dataclass(frozen=True)
class Program:
  """One device's part of a compiled program."""

  collectives: dict[str, Traffic]
  """By kind; those of `COLLECTIVES` that there are."""
  flops: float
  """Of products of matrices; a multiplication with its addition is 2."""
  arrays: dict[tuple[int, ...], int]
  """Shapes that are written to memory, and their bytes; what is fused away is left out."""

  @property
  def largest(self) -> tuple[int, ...]:
    """The shape with the most bytes."""
    return max(self.arrays, key=self.arrays.get, default=())

  def holding(self, sizes: set[int], rows: int) -> list[tuple[int, ...]]:
    """Shapes with a dimension that is in `sizes`, whose others make at least so many rows."""
    return [s for s in self.arrays if any(n in sizes and math.prod(s) // n >= rows for n in s)]


@dataclasses.dataclass
class _Computation:
  """A function of the program."""

  lines: list[tuple[str, str, str, str]] = dataclasses.field(default_factory=list)
  """Name, shape, operation, the rest."""
  times: float = 0.0
  fused: bool = False


def read(text: str) -> Program:
  """Reads the text of a compiled module, as `jax.stages.Compiled.as_text` gives it."""
  computations = _split(text)
  # A function stands before those that call it.
  for c in reversed(computations.values()):
    for _, _, operation, rest in c.lines:
      trips = float(m[1]) if operation == 'while' and (m := _TRIPS.search(rest)) else 1.0
      for group in _CALLED.findall(rest):
        for name in re.findall(r'[\w.\-]+', group):
          if name in computations:
            computations[name].times += c.times * trips
            computations[name].fused |= c.fused or operation not in ('while', 'call', 'conditional')
  counts, traffic, flops, arrays = collections.Counter(), collections.Counter(), 0.0, {}
  for c in computations.values():
    shapes = {name: shape for name, shape, _, _ in c.lines}
    for _, shape, operation, rest in c.lines:
      kind = operation.removesuffix('-start')
      if kind in COLLECTIVES:
        counts[kind] += c.times
        traffic[kind] += c.times * sum(n for _, n in _sizes(shape))
      if operation == 'dot':
        flops += c.times * _dot_flops(shape, rest, shapes)
      if not c.fused and operation not in _NO_MEMORY:
        arrays |= {s: max(n, arrays.get(s, 0)) for s, n in _sizes(shape)}
  return Program({k: Traffic(counts[k], traffic[k]) for k in COLLECTIVES if counts[k]}, flops, arrays)


def _split(text: str) -> dict[str, _Computation]:
  computations: dict[str, _Computation] = {}
  current = None
  for line in text.splitlines():
    if header := _HEADER.match(line):
      current = computations[header[2]] = _Computation(times=1.0 if header[1] else 0.0)
    elif current is not None and (found := _INSTRUCTION.match(line)):
      current.lines.append(found.groups())
  return computations


def _sizes(shape: str) -> Iterator[tuple[tuple[int, ...], int]]:
  """The arrays of a shape, which may be a tuple's: dimensions and bytes."""
  for dtype, dimensions in _ARRAY.findall(shape):
    dims = tuple(int(d) for d in dimensions.split(',') if d)
    yield dims, math.prod(dims) * _BYTES.get(dtype, 4)


def _dot_flops(shape: str, rest: str, shapes: dict[str, str]) -> float:
  left = re.search(r'%?([\w.\-]+)[,)]', rest)[1]
  contracted = re.search(r'lhs_contracting_dims=\{([\d,]*)\}', rest)
  (dims, _), *_ = _sizes(shapes[left])
  inner = math.prod(dims[int(i)] for i in contracted[1].split(',') if i) if contracted else 1
  (out, _), *_ = _sizes(shape)
  return 2.0 * math.prod(out) * inner
