"""How many rows a device can decode together."""

from __future__ import annotations

import os

import jax
from absl import logging
from jax.sharding import Mesh

from sweb_jax.models import sharding
from sweb_jax.models.decoder import Decoder
from sweb_jax.sampling.request import SamplingError

# More rows make a step no cheaper a row once it is bound by arithmetic, and leave more of them half done at the end.
_MOST = {'cpu': 64}
_MOST_ELSEWHERE = 256
# Of what is free: the rest is for the activations of prefill, and for what else runs on the device.
_SHARE = 0.7


def choose_slots(
  config: Decoder,
  mesh: Mesh,
  *,
  requests: int,
  columns: int,
  itemsize: int,
  free: int | None = None,
  platform: str = '',
) -> int:
  """The number of slots for a run, and says it and why in the log.

  Args:
    config: the architecture.
    mesh: slots are split over `data` and `fsdp`, KV heads over `tensor`.
    requests: no more slots than these, rounded up to a power of two.
    columns: tokens of a row, prompt and completion, without the shared prefix.
    itemsize: bytes of a parameter, and of a cached number.
    free: bytes free on each device; None: ask it.
    platform: of the devices, as 'tpu'; '': the mesh's own.

  Raises:
    SamplingError: not even one row a device fits.
  """
  ways = mesh.shape['data'] * mesh.shape['fsdp']
  device = mesh.local_devices[0]
  free = int(sharding.least(_free(device), mesh)) if free is None else free
  kept = sum(2 * a.kv_heads * a.head_width for a in config.attention if a.cached)
  split = mesh.shape['tensor'] if sharding.kv_axis(config, mesh) else 1
  # And logits, their exponentials and what is kept of them, in float32.
  row = kept // split * columns * itemsize + 3 * 4 * config.vocab_size
  fit = int(_SHARE * free // row)
  if not fit:
    raise SamplingError(
      f'a row of {columns} tokens needs {row / 1e6:,.0f} MB on {device}, which has {free / 1e6:,.0f} MB free; lower '
      'max_new_tokens, leave out the longest prompts, or split the model over more devices (mesh)'
    )
  most = _MOST.get(platform or device.platform, _MOST_ELSEWHERE)
  a_device = min(most, fit, -(-requests // ways))
  # A power of two, so that resumed and smaller runs share compiled programs.
  slots = ways * _power_of_two(a_device, fit)
  logging.info(
    'sampling: %d slots: %d requests, %.1f MB a row, room for %d in %.1f GB free a device, at most %d are of use',
    slots, requests, row / 1e6, fit, free / 1e9, most,
  )  # fmt: skip
  return slots


def _power_of_two(wanted: int, fit: int) -> int:
  """The least that holds `wanted`, or the largest that fits."""
  up = 1 << (wanted - 1).bit_length()
  return up if up <= fit else 1 << (fit.bit_length() - 1)


def _free(device: jax.Device) -> int:
  """Bytes free on a device; of a CPU, the memory that the system can give without swapping."""
  if stats := device.memory_stats():
    return stats['bytes_limit'] - stats['bytes_in_use']
  try:
    with open('/proc/meminfo') as f:
      return int(dict(line.split(':') for line in f)['MemAvailable'].split()[0]) * 1024
  except OSError:  # Not Linux.
    return os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') // 2
