"""How long a step takes on a slice: the compiler's own cycles, and messages over the links; and what bounds it.

Messages between slices go over the network, each chip's at its part of the bandwidth.

The sum is taken as if no message went on beside a product, though the compiler starts many of them early: an upper
bound of what it schedules, where its cycles are right.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jax.sharding import Mesh

from sweb_jax.budget.machines import Chip
from sweb_jax.lowering.compiling import Lowered
from sweb_jax.lowering.hlo import Message
from sweb_jax.lowering.steps import Step
from sweb_jax.models import sharding


@dataclasses.dataclass(frozen=True)
class Times:
  """Seconds of a step on each chip: an update, a token in every row, or a call of prompts."""

  chip: Chip
  compute: float
  """By the compiler's cycles; of kernels, of which it tells none, by their bytes at the chip's bandwidth. No less than
  `bound`: weights that are fetched beside other work are in no cycles, and may take longer than it."""
  messages: float
  """By bytes over links, and over the network between slices."""
  by_flops: float
  """No less, by the model's FLOPs, nothing computed twice, at the chip's peak."""
  by_bandwidth: float
  """No less, by what it is given read once, and what it changes of it written, at the chip's bandwidth."""

  @property
  def all(self) -> float:
    return self.compute + self.messages

  @property
  def bound(self) -> float:
    return max(self.by_flops, self.by_bandwidth)


def times(step: Step, found: Lowered, chip: Chip) -> Times:
  """How long a compiled step takes."""
  work = step.work(found.layers)
  least = work.flops / step.mesh.size / chip.flops, work.read / chip.bandwidth
  compute = (found.cycles / chip.hertz + found.kernel_bytes / chip.bandwidth) / step.loops
  messages = message_seconds(found.messages, step.mesh, chip) / step.loops
  return Times(chip, max(compute, *least), messages, *least)


def axes(message: Message, mesh: Mesh) -> tuple[str, ...]:
  """The mesh axes along which devices exchange messages: those in which a group of them differs; or 'slices'."""
  if message.slices > 1:
    return ('slices',)
  places = _chips(mesh)[list(message.group)]
  return tuple(a for a, sizes in zip(mesh.axis_names, zip(*places, strict=True), strict=True) if len({*sizes}) > 1)


def _chips(mesh: Mesh) -> np.ndarray:
  """Places in the mesh of the chips of one slice, by their numbers in a program."""
  slices = np.vectorize(sharding.slice_of)(mesh.devices)
  return np.argwhere(slices == slices.flat[0])


def message_seconds(messages: Sequence[Message], mesh: Mesh, chip: Chip) -> float:
  """Seconds that a chip's links, and its part of the network, are busy with the messages of a program."""
  chips = [mesh.devices[tuple(place)] for place in _chips(mesh)]
  extent = _lengths([d.coords for d in chips])
  return sum(m.count * _seconds(m, [chips[i] for i in m.group], extent, chip) for m in messages)


def _seconds(message: Message, group: Sequence[Any], extent: Sequence[int], chip: Chip) -> float:
  """Seconds of one message, by the rows of chips, or planes of them, that the group lies in."""
  if message.slices > 1:
    return _moved(message, message.slices) / chip.network
  n, size = len(group), message.bytes
  if n == 1:
    return 0.0
  lengths = _lengths([d.coords for d in group])
  # A chip at the end of a row has one link along it; where the ends of a slice are wired to each other, all have two.
  spans = [(length, whole) for length, whole in zip(lengths, extent, strict=True) if length > 1]
  links = [2 if length == whole >= chip.ring else 1 for length, whole in spans]
  if message.kind == 'collective-permute':
    return size / chip.link
  if message.kind == 'all-to-all':
    # Half of the chips send to the other half over the links between them.
    length, wired = max(zip((length for length, _ in spans), links, strict=True))
    return size * length / 4 / wired / chip.link
  return _moved(message, n) / sum(links) / chip.link


def _moved(message: Message, n: int) -> float:
  """Bytes that each of so many gets from the others."""
  if message.kind == 'collective-permute':
    return message.bytes
  share = {'all-gather': 1 / n, 'all-reduce': 2 / n, 'all-to-all': 1 / n, 'reduce-scatter': 1}[message.kind]
  return share * (n - 1) * message.bytes


def _lengths(coords: Sequence[Sequence[int]]) -> list[int]:
  """How many different values there are in each dimension."""
  return [len({*values}) for values in zip(*coords, strict=True)]


def by_axes(messages: Sequence[Message], mesh: Mesh) -> Mapping[tuple[str, tuple[str, ...]], tuple[float, float]]:
  """(Kind, mesh axes, or 'slices') -> how many messages, and bytes of their results."""
  found: dict[tuple[str, tuple[str, ...]], tuple[float, float]] = {}
  for m in messages:
    key = m.kind, axes(m, mesh)
    count, size = found.get(key, (0.0, 0.0))
    found[key] = count + m.count, size + m.count * m.bytes
  return dict(sorted(found.items(), key=lambda item: -math.prod(item[1])))
