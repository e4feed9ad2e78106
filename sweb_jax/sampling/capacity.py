"""How many rows a device can decode together, and over how many devices of a slice a model is split for it."""

from __future__ import annotations

import math
import os

import jax
from absl import logging
from jax.sharding import Mesh

from sweb_jax.models import sharding
from sweb_jax.models.decoder import Attention, Decoder
from sweb_jax.sampling.request import SamplingError

# More rows make a step no cheaper a row once it is bound by arithmetic, and leave more of them half done at the end.
_MOST = {'cpu': 64}
_MOST_ELSEWHERE = 256
# Of what is free: the rest is for the activations of prefill, and for what else runs on the device.
_SHARE = 0.7
# Of a device's memory, for weights: what a step reads is then mostly the keys and values of many rows.
_WEIGHTS = 0.25
# ... and at most, where it is KV heads that allow no finer split of them; tables may be copied, as large again.
_WEIGHTS_WITHOUT_HEADS = 0.5
_WEIGHTS_AT_MOST = 0.8


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

  def kept(a: Attention) -> int:
    """Of a column of a layer, on a device."""
    return 2 * a.kv_heads * a.head_width // (mesh.shape['tensor'] if sharding.kv_axis(mesh, a.kv_heads) else 1)

  # And logits, their exponentials and what is kept of them, in float32.
  row = sum(kept(a) for a in config.attention if a.cached) * columns * itemsize + 3 * 4 * config.vocab_size
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


def choose_meshes(
  config: Decoder, mesh: Mesh, *, draw_on: str, itemsize: int, memory: float, processes: int = 0
) -> tuple[Mesh, ...]:
  """The meshes on which the parts of a training mesh draw from a model, each for itself.

  Args:
    config: the architecture.
    mesh: of training.
    draw_on: 'slice', 'hosts', or '': as the devices allow (`config.engine.draw_on`).
    itemsize: bytes of a parameter.
    memory: bytes of a device; 0: unknown, and `tensor` on a slice is that of training.
    processes: which have the mesh between them; 0: those that its devices belong to.

  Raises:
    MeshError: the devices run no program on a part of a slice, or the mesh does not divide into parts.
    SamplingError: the weights do not fit.
  """
  needed = sharding.takes_whole_slices(mesh.devices.flat[:1])
  if draw_on == 'hosts' and needed and mesh.is_multi_process:
    raise sharding.MeshError(
      f"config.engine.draw_on='hosts': {mesh.devices.flat[0].device_kind} runs no program on a part of a slice; "
      "leave it at ''"
    )
  tensor = 0
  if draw_on == 'slice' or (needed and not draw_on):
    tensor = mesh.shape['tensor']
    if memory:
      tensor = choose_tensor(config, sharding.slice_size(mesh), memory, itemsize)
  return sharding.meshes_to_draw(mesh, processes, tensor)


def choose_tensor(config: Decoder, devices: int, memory: float, itemsize: int) -> int:
  """Over how many devices of a slice weights and KV heads are split, to draw on all of it.

  Of the powers of two that divide the devices and the KV heads the least whose part of the weights is at most a quarter
  of a device's memory; where there is none, the largest. Weights that would still take more than half of it are split
  further, and each device has all KV heads: the TPU's compiler was seen to copy tables by layer (E2B), as large again.
  Where layers have unlike numbers of KV heads, the most count: the cache of a layer with fewer is whole on each device.

  Args:
    config: the architecture.
    devices: of the slice.
    memory: bytes of a device.
    itemsize: bytes of a parameter.

  Raises:
    SamplingError: the weights do not fit.
  """
  weights = config.parameters * itemsize
  split = math.gcd(devices, max(a.kv_heads for a in config.attention))
  ways = [1 << i for i in range(split.bit_length()) if split % (1 << i) == 0]
  chosen = next((t for t in ways if weights / t <= _WEIGHTS * memory), ways[-1])
  while weights / chosen > _WEIGHTS_WITHOUT_HEADS * memory and devices % (2 * chosen) == 0:
    chosen *= 2
  if weights / chosen > _WEIGHTS_AT_MOST * memory:
    raise SamplingError(
      f'drawing: {weights / 1e9:.1f} GB of weights, split over {chosen} devices as its KV heads and the slice of '
      f"{devices} allow, leave no room in a device's {memory / 1e9:.0f} GB; take chips with more memory, or "
      "config.sampling.dtype='bfloat16'"
    )
  return chosen


def memory_of(device: jax.Device) -> int:
  """Bytes of a device; 0 where it does not tell, as a CPU."""
  return (device.memory_stats() or {}).get('bytes_limit', 0)


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
