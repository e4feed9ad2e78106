"""What a compiled program does, read from its text: messages between devices, FLOPs, cycles, what it holds in memory.

Bodies of loops count as often as they run where XLA says how often that is. Where it does not, once; or, where that is
asked for, as often as the largest number in the loop's condition, which is what a counter is compared with.
"""

from __future__ import annotations

import collections
import dataclasses
import math
import re
from collections.abc import Iterator
from typing import Any

import numpy as np

COLLECTIVES = ('all-gather', 'all-reduce', 'reduce-scatter', 'all-to-all', 'collective-permute')

_BYTES = {'pred': 1, 's8': 1, 'u8': 1, 'bf16': 2, 'f16': 2, 's16': 2, 'u16': 2, 's64': 8, 'u64': 8, 'f64': 8}
_HEADER = re.compile(r'^(ENTRY )?%?([\w.\-]+) \(.*\{$')
_INSTRUCTION = re.compile(r'^\s+(?:ROOT )?%?([\w.\-]+) = (.*?) ([\w\-]+)\((.*)$')
_ARRAY = re.compile(r'(\w+)\[([\d,]*)\]')
_CALLED = re.compile(r'(?:calls|to_apply|body|condition|branch_computations)=(\{[^}]*\}|%?[\w.\-]+)')
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')
_CYCLES = re.compile(r'"estimated_cycles":"(\d+)"')
_KERNEL = re.compile(r'custom_call_target="tpu_custom_call".*"cost_estimate":\{[^}]*"bytes_accessed":"(\d+)"')
_CHANNEL = re.compile(r'channel_id=(\d+)')
# Of what a chip gets from those of other slices, as it tells the runtime that serves the network between them.
_NETWORK = re.compile(r'_xla_megascale_target="\{([\d,]+)\}.*_xla_megascale_transfer_type="(\w+)"')
_NUMBER = re.compile(r'(\d+)\)')
# A function of a TPU's program that keeps its own part of the sum, so that no more is sent.
_SCATTERED = 'all-reduce-scatter'
# What names memory and makes none.
_NO_MEMORY = ('parameter', 'get-tuple-element', 'tuple', 'bitcast', 'while', 'conditional', 'call', 'constant')


@dataclasses.dataclass(frozen=True)
class Traffic:
  """Messages of one kind that a device takes part in."""

  count: float
  bytes: float
  """Of the results, on one device."""


@dataclasses.dataclass(frozen=True)
class Message:
  """A kind of message, of one size, among the same devices."""

  kind: str
  """Of `COLLECTIVES`."""
  count: float
  bytes: int
  """Of the result of one, on one device."""
  group: tuple[int, ...]
  """Devices that exchange it, of the groups that do so side by side the first; by their number in the program, which
  counts those of one slice. () where they are of several."""
  slices: int = 1
  """That exchange it over the network between them."""


@dataclasses.dataclass(frozen=True)
class Program:
  """One device's part of a compiled program."""

  messages: tuple[Message, ...]
  cycles: float
  """Of a TPU, as its compiler estimates them; messages are not in them."""
  kernel_bytes: float
  """Of a TPU's kernels (Pallas), of which its compiler tells no cycles: what they say that they read and write."""
  flops: float
  """Of products of matrices; a multiplication with its addition is 2."""
  arrays: tuple[tuple[tuple[int, ...], int], ...]
  """Shapes that are written to memory, and their bytes; what is fused away is left out."""

  @property
  def collectives(self) -> dict[str, Traffic]:
    """Messages by kind; of `COLLECTIVES` those that there are."""
    found = {}
    for kind in COLLECTIVES:
      of_kind = [m for m in self.messages if m.kind == kind]
      if of_kind:
        found[kind] = Traffic(sum(m.count for m in of_kind), sum(m.count * m.bytes for m in of_kind))
    return found

  @property
  def largest(self) -> tuple[int, ...]:
    """The shape with the most bytes."""
    return max(self.arrays, key=lambda array: array[1], default=((), 0))[0]

  def holding(self, sizes: set[int], rows: int) -> list[tuple[int, ...]]:
    """Shapes with a dimension that is in `sizes`, whose others make at least so many rows."""
    return [s for s, _ in self.arrays if any(n in sizes and math.prod(s) // n >= rows for n in s)]


@dataclasses.dataclass
class _Computation:
  """A function of the program."""

  lines: list[tuple[str, str, str, str]] = dataclasses.field(default_factory=list)
  """Name, shape, operation, the rest."""
  times: float = 0.0
  fused: bool = False


def read(text: str, by_condition: bool = False) -> Program:
  """Reads the text of a compiled module, as `jax.stages.Compiled.as_text` gives it.

  Args:
    text: of the module.
    by_condition: loops of which XLA does not say how often they run are taken to run as often as their condition says.
  """
  computations = _split(text)
  # A function stands before those that call it.
  for c in reversed(computations.values()):
    for _, _, operation, rest in c.lines:
      trips = _trips(rest, computations, by_condition) if operation == 'while' else 1.0
      for group in _CALLED.findall(rest):
        for name in re.findall(r'[\w.\-]+', group):
          if name in computations:
            computations[name].times += c.times * trips
            computations[name].fused |= c.fused or operation not in ('while', 'call', 'conditional')
  counts, cycles, kernel_bytes, flops, arrays = collections.Counter(), 0.0, 0.0, 0.0, {}
  channels: set[str] = set()
  for function, c in computations.items():
    shapes = {name: shape for name, shape, _, _ in c.lines}
    for name, shape, operation, rest in c.lines:
      kind = operation.removesuffix('-start')
      channel = found[1] if (found := _CHANNEL.search(rest)) else name
      if kind in COLLECTIVES and channel not in channels:  # One that goes on beside other work is written into each.
        channels.add(channel)
        sizes = [n for dims, n in _sizes(shape) if dims or kind == operation]
        if kind != operation and kind != 'all-reduce':  # What begins a message gives its operands, then its results.
          sizes = sizes[len(sizes) // 2 :]
        size, group = sum(sizes), _group(rest)
        if kind == 'all-reduce' and function.startswith(_SCATTERED):
          kind, size = 'reduce-scatter', size // max(1, len(group))
        counts[kind, size, group, 1] += c.times
      if operation == 'recv' and (found := _NETWORK.search(rest)):
        (_, size), *_ = _sizes(shape)
        kind = found[2].lower().replace('_', '-')
        kind = kind if kind in COLLECTIVES else 'collective-permute'  # What arrives is then what was sent.
        counts[kind, size, (), found[1].count(',') + 1] += c.times
      if not c.fused and (found := _CYCLES.search(rest)):
        cycles += c.times * float(found[1])
      if operation == 'custom-call' and (found := _KERNEL.search(rest)):
        kernel_bytes += c.times * float(found[1])
      if operation == 'dot':
        flops += c.times * _dot_flops(shape, rest, shapes)
      if not c.fused and operation not in _NO_MEMORY:
        arrays |= {s: max(n, arrays.get(s, 0)) for s, n in _sizes(shape)}
  messages = tuple(Message(kind, n, *what) for (kind, *what), n in counts.items())
  return Program(messages, cycles, kernel_bytes, flops, tuple(arrays.items()))


def _trips(rest: str, computations: dict[str, _Computation], by_condition: bool) -> float:
  """How often a loop runs."""
  if known := _TRIPS.search(rest):
    return float(known[1])
  condition = re.search(r'condition=%?([\w.\-]+)', rest)[1]
  if not by_condition:
    return 1.0
  numbers = [int(m[1]) for _, _, op, r in computations[condition].lines if op == 'constant' and (m := _NUMBER.match(r))]
  return float(max(numbers, default=1))


def _group(rest: str) -> tuple[int, ...]:
  """The first of the groups of devices that exchange a message, of a collective's attributes."""
  if listed := re.search(r'(?:replica_groups|source_target_pairs)=\{\{([\d,]*)\}', rest):
    return tuple(int(i) for i in listed[1].split(',') if i)
  if iota := re.search(r'replica_groups=\[([\d,]+)\]<=\[([\d,]+)\](?:T\(([\d,]+)\))?', rest):
    shape, dims = ([int(i) for i in part.split(',')] for part in iota.groups()[:2])
    order = [int(i) for i in iota[3].split(',')] if iota[3] else range(len(dims))
    return tuple(np.arange(math.prod(dims)).reshape(dims).transpose(order).reshape(shape)[0].ravel().tolist())
  if named := re.search(r"replica_groups=mesh\[([^\]]*)\] \{([^}]*)\}", rest):
    sizes = {name: int(size) for name, size in re.findall(r"'(\w+)'=(\d+)", named[1])}
    group = np.zeros(1, int)
    # An axis, or of one that is cut into parts one part: before it so many, and how many it has.
    for name, before, count in re.findall(r"'(\w+)'(?::\((\d+)\)(\d+))?", named[2]):
      before, count = (int(before), int(count)) if count else (1, sizes[name])
      following = math.prod(list(sizes.values())[list(sizes).index(name) + 1 :])
      group = np.add.outer(group, np.arange(count) * (sizes[name] // before // count * following)).ravel()
    return tuple(group.tolist())
  if 'replica_groups=' in rest and 'replica_groups={}' not in rest:
    raise ValueError(f'a program of an unknown form: {rest[rest.index("replica_groups=") :][:80]}')
  return ()


def program(kept: dict[str, Any]) -> Program:
  """The program whose `kept` is JSON's form of `dataclasses.asdict`."""
  messages = tuple(Message(**m | {'group': tuple(m['group'])}) for m in kept['messages'])
  arrays = tuple((tuple(shape), n) for shape, n in kept['arrays'])
  return Program(**kept | {'messages': messages, 'arrays': arrays})


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
