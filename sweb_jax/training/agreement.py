"""How processes that train together come to the same decision at the same step, without waiting for their devices."""

from __future__ import annotations

import collections

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from sweb_jax.models import sharding

_LATER = 2
"""Calls after which an answer is taken: the question is in the devices' queue behind the steps, and is answered by then
while a younger step is computed. To wait for it at once would leave them without work after every step."""


class Agreement:
  """Whether any process of a mesh said so `_LATER` calls ago; a collective, which all call alike.

  A process by itself has its answer at once.
  """

  def __init__(self, mesh: Mesh):
    self._multi_process, self._size = mesh.is_multi_process, mesh.size
    self._each = NamedSharding(mesh, PartitionSpec(sharding.AXES))
    self._any = jax.jit(jnp.max, out_shardings=sharding.replicated(mesh))
    self._asked: collections.deque[jax.Array] = collections.deque()

  def __call__(self, flag: bool) -> bool:
    if not self._multi_process:
      return flag
    mine = np.full(1, flag, np.int32)
    self._asked.append(self._any(jax.make_array_from_callback((self._size,), self._each, lambda _: mine)))
    return len(self._asked) > _LATER and bool(self._asked.popleft())
