"""TPU chips and slices: what a chip can do, how slices are wired, and what they are called. Free of JAX.

Peaks, memory and links: Google's pages on each generation (docs.cloud.google.com/tpu/docs/v5e, v6e, v5p), read on
2026-11-22 and 26. A link is a quarter (v5e, v6e: four links) of a chip's bandwidth to its neighbours, for v5p a twelfth
of that both ways on six links. Network: a pod's bandwidth to the data center's network over its chips (v5e 6.4 and v6e
25.6 Tbit/s over 256), of v5p 50 Gbit/s a chip. Cycles: the clock at which the matrix units make the peak.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping


class SliceError(ValueError):
  """A name that no slice has; the message has those that there are."""


@dataclasses.dataclass(frozen=True)
class Chip:
  """One TPU chip."""

  flops: float
  """FLOP/s in bfloat16 at most."""
  bandwidth: float
  """Bytes a second from its memory at most."""
  memory: float
  """Bytes."""
  link: float
  """Bytes a second to one neighbour."""
  network: float
  """Bytes a second over the data center's network, to other slices."""
  hertz: float
  """Cycles a second, as the compiler counts them."""
  ring: int
  """Chips in a row of a slice from which on its ends are wired to each other."""
  units: int
  """The number in a slice's name counts so many a chip: of v5p TensorCores, two a chip."""
  topologies: Mapping[int, str]
  """Chips -> shape of the slice."""


_FLAT = {4: '2x2', 8: '2x4', 16: '4x4', 32: '4x8', 64: '8x8', 128: '8x16', 256: '16x16'}
_CUBES = {
  4: '2x2x1', 8: '2x2x2', 16: '2x2x4', 32: '2x4x4', 64: '4x4x4', 128: '4x4x8', 256: '4x8x8', 512: '8x8x8'
}  # fmt: skip

CHIPS = {
  'v5e': Chip(197e12, 819e9, 16e9, 50e9, 3.125e9, 1.5e9, 16, 1, _FLAT),
  'v5p': Chip(459e12, 2765e9, 95e9, 100e9, 6.25e9, 1.75e9, 4, 2, _CUBES),
  'v6e': Chip(918e12, 1638e9, 32e9, 100e9, 12.5e9, 1.75e9, 16, 1, _FLAT),
}


def parse_slice(name: str) -> tuple[str, int]:
  """Generation and chips of a name as 'v5e-64', 'v5p-32' (TensorCores: 16 chips) or 'v6e-8'. Raises SliceError."""
  match = re.fullmatch(r'(\w+)-(\d+)', name)
  if match and match[1] in CHIPS:
    chip = CHIPS[match[1]]
    chips, rest = divmod(int(match[2]), chip.units)
    if not rest and chips in chip.topologies:
      return match[1], chips
  known = (f'{kind}-{n * chip.units}' for kind, chip in CHIPS.items() for n in chip.topologies)
  raise SliceError(f'slices are {", ".join(known)}')
