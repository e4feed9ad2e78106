"""How long a plan takes on TPU chips: training by arithmetic, drawing by what a step reads from memory."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Protocol

from sweb_jax.models.decoder import Decoder


class Work(Protocol):
  """A row of a plan, as `study.step.Work`."""

  kind: str
  model: str
  tokens: int
  flops: int


@dataclasses.dataclass(frozen=True)
class Chip:
  """One TPU chip."""

  flops: float
  """FLOP/s in bfloat16 at most."""
  bandwidth: float
  """Bytes a second from its memory at most."""
  memory: float
  """Bytes."""


# Google's pages on each generation (docs.cloud.google.com/tpu/docs/v5e, v6e, v5p), read on 2026-11-22.
CHIPS = {'v5e': Chip(197e12, 819e9, 16e9), 'v6e': Chip(918e12, 1638e9, 32e9), 'v5p': Chip(459e12, 2765e9, 95e9)}


def step_seconds(
  config: Decoder, chip: Chip, chips: int, *, tensor: int, slots: int, context: int, itemsize: int = 2
) -> float:
  """Seconds to draw one token in every slot: the weights and all caches are read once, or the products are made.

  Args:
    config: the architecture.
    chip: of which there are `chips`.
    chips: data x tensor; every group of `tensor` chips holds all weights.
    tensor: chips that share a copy of the weights.
    slots: rows decoded together on all chips.
    context: tokens in a row's cache, on average.
    itemsize: bytes of a weight and of a cached number.
  """
  rows = slots * tensor / chips
  cache = 2 * sum(a.kv_heads * a.head_width for a in config.attention if a.cached) * context * rows
  read = (config.parameters + cache) * itemsize / tensor
  return max(read / chip.bandwidth, 2 * config.active_parameters * rows / tensor / chip.flops)


def plan_seconds(
  works: Sequence[Work],
  shapes: Mapping[str, Decoder],
  chip: Chip,
  chips: int,
  *,
  tensor: int,
  slots: int,
  context: int,
  utilisation: float = 0.4,
  occupancy: float = 0.8,
  bandwidth_share: float = 0.6,
) -> dict[str, float]:
  """Seconds of each kind of work of a plan; loading, compiling and grading are left out.

  Args:
    works: of the plan.
    shapes: model name -> architecture.
    chip: of which there are `chips`.
    chips: all work on one step at a time.
    tensor: chips that share a copy of the weights while drawing.
    slots: rows decoded together on all chips.
    context: tokens in a row's cache, on average.
    utilisation: share of the chip's FLOP/s that training reaches, of the FLOPs without recomputation.
    occupancy: share of the slots that hold an unfinished row.
    bandwidth_share: share of the chip's bandwidth that a decode step reaches.
  """
  out: dict[str, float] = {}
  for work in works:
    if work.kind == 'train':
      seconds = work.flops / (chips * chip.flops * utilisation)
    else:
      step = step_seconds(shapes[work.model], chip, chips, tensor=tensor, slots=slots, context=context)
      seconds = work.tokens / (slots * occupancy) * step / bandwidth_share
    out[work.kind] = out.get(work.kind, 0.0) + seconds
  return out
