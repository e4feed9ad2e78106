"""Trainings of one learner in one program: each has a part of the mesh, its own batch, learning rate and state.

A part gathers its weights from fewer devices, and computes as many rows as the whole mesh would of one training: a pod
that waits for messages at a small batch waits less (docs/performance.md). One training by itself is the plain step.

Letters in shapes: S runs.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float

from sweb_jax.models import sharding
from sweb_jax.models.decoder import Decoder, Params
from sweb_jax.training import step as step_lib
from sweb_jax.training.data import Batch
from sweb_jax.training.step import Optimizer, StepMetrics, TrainState

_MEMORY, _MEMORY_IF_KEPT = 0.7, 0.62
"""Of a device's, at most, for what all runs have of each parameter: the rest is for the weights that checkpoints are
scored with and for activations, where the backward pass makes all of them again, and where some are kept for it."""
_EXAMPLES = 16
"""Of a batch a device: with more of them messages are a small part of a step."""


def choose(config: Decoder, optimizer: Optimizer, mesh: Mesh, *, memory: float, batch: int) -> int:
  """How many trainings are worth while side by side: a power of two, which divides `data` x `fsdp`.

  Args:
    config: the learner's architecture.
    optimizer: its state counts.
    mesh: of training.
    memory: bytes of a device; 0: unknown, and there is 1.
    batch: examples a step.
  """
  if not memory:
    return 1
  params = config.shapes()
  state = step_lib.shapes(params, optimizer, mesh)
  trained = sharding.bytes_a_device(state.params)
  # Beside the state are the gradients, their sum over the parts of a batch, and what is computed with.
  needed = sharding.bytes_a_device(state) + trained * (1 + (optimizer.micro_batches > 1))
  needed += trained * jnp.dtype(optimizer.dtype).itemsize // 4 * (optimizer.dtype != 'float32')
  kept = 0
  if optimizer.lora:  # What adapters are on top of is kept as it was read, and again in each part.
    kept = sharding.bytes_a_device(step_lib.shapes(params, dataclasses.replace(optimizer, lora=None), mesh).params)
  share = _MEMORY if optimizer.remat == 'full' else _MEMORY_IF_KEPT
  runs, ways = 1, sharding.ways(mesh)
  while ways % (2 * runs) == 0 and 2 * runs * batch <= _EXAMPLES * ways:
    if kept + 2 * runs * (needed + kept) > share * memory:
      break
    runs *= 2
  return runs


def groups(steps: Sequence[int], most: int, ways: int) -> list[list[int]]:
  """Which trainings run together, by their numbers, the longest first.

  Args:
    steps: of each. One that is less than half as long as another would leave its part idle for most of the time, and is
      not put beside it.
    most: in a group.
    ways: into how many parts the mesh splits rows (`sharding.ways`); each of a group has some of them, all as many.
  """
  left = sorted(range(len(steps)), key=lambda i: -steps[i])
  found: list[list[int]] = []
  while left:
    alike = [i for i in left if 2 * steps[i] >= steps[left[0]]]
    largest = min(len(alike), most)
    size = next(n for n in range(largest, 0, -1) if ways % n == 0 or (ways == 1 and n == largest))
    found.append(alike[:size])
    left = [i for i in left if i not in found[-1]]
  return found


class SideBySide:
  """Some runs on a mesh: their states as one, the step of all, and what is one run's.

  Args:
    runs: S.
    mesh: all of it; what is one run's is on this mesh.
  """

  def __init__(self, runs: int, mesh: Mesh):
    self.runs, self._whole = runs, mesh
    self.mesh = mesh if runs == 1 else sharding.side_by_side(mesh, runs)
    """Of the step."""

  def join(self, states: list[TrainState]) -> TrainState:
    """The state of all, [S, ...] each array, from those of each run; empties the list, as both would not fit."""
    if self.runs == 1:
      return states.pop()
    _, like = jax.tree.flatten(states[0])
    where = jax.tree.leaves(sharding.of_runs(sharding.for_params(states[0], self.mesh)))
    apart = jax.tree.leaves(sharding.for_params(states[0], self.mesh, spread=True))
    leaves = [jax.tree.leaves(state) for state in states]
    states.clear()
    joined = []
    for i, (all_runs, one) in enumerate(zip(where, apart, strict=True)):
      arrays = [sharding.put(of_run[i], one) for of_run in leaves]
      joined.append(_stack(arrays, all_runs).block_until_ready())
      for of_run in leaves:
        of_run[i] = None  # An array at a time.
    return jax.tree.unflatten(like, joined)

  def take(self, tree: Any, run: int) -> Any:
    """A run's part of what all have: ordinary arrays, spread over the whole mesh."""
    if self.runs == 1:
      return tree
    one = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), tree)
    spread, whole = sharding.for_params(one, self.mesh, spread=True), sharding.for_params(one, self._whole)
    return jax.tree.map(lambda x, s, w: sharding.put(_take(x, run, s).block_until_ready(), w), tree, spread, whole)

  def base(self, params: Params) -> Params:
    """What the adapters of all runs are on top of, where the step takes it."""
    return params if self.runs == 1 else jax.tree.map(sharding.put, params, sharding.for_params(params, self.mesh))

  def step(
    self,
    state: TrainState,
    batches: Sequence[Batch],
    rates: Sequence[float],
    base: Params | None,
    *,
    config: Decoder,
    optimizer: Optimizer,
  ) -> tuple[TrainState, list[step_lib.Measured]]:
    """One step of every run; batches are of one shape. A run with rate 0 keeps its parameters."""
    how = dict(config=config, optimizer=optimizer, mesh=self.mesh)
    if self.runs == 1:
      batch = step_lib.shard_batch(batches[0], self.mesh)
      state, measured = step_lib.train_step(state, batch, np.float32(rates[0]), base, **how)
      return state, [step_lib.Measured(measured)]
    batch = jax.tree.map(lambda *xs: np.stack(xs), *batches)
    if self.mesh.is_multi_process:
      batch = jax.tree.map(lambda x: sharding.put(x, sharding.of_runs(sharding.rows(self.mesh))), batch)
    state, measured = train_steps(state, batch, np.asarray(rates, np.float32), base, **how)
    return state, [step_lib.Measured(measured, i) for i in range(self.runs)]


@functools.partial(jax.jit, static_argnames=('config', 'optimizer', 'mesh'), donate_argnames=('state',))
def train_steps(
  state: TrainState,
  batch: Batch,
  learning_rate: Float[Array, ' S'],
  base: Params | None = None,
  *,
  config: Decoder,
  optimizer: Optimizer,
  mesh: Mesh,
) -> tuple[TrainState, StepMetrics]:
  """`train_step` of S runs, over the mesh's axis `run`; every array of the state and the batch has the runs first."""
  update = functools.partial(step_lib.update, config=config, optimizer=optimizer, mesh=mesh)
  every = jax.vmap(update, in_axes=(0, 0, 0, None), spmd_axis_name=sharding.RUN)
  state, measured = every(state, batch, learning_rate, base)
  # Every process reads those of all runs.
  return state, jax.lax.with_sharding_constraint(measured, sharding.replicated(mesh))


@functools.partial(jax.jit, static_argnums=1)
def _stack(arrays: Sequence[Float[Array, '*n']], where: jax.sharding.NamedSharding) -> Float[Array, ' S *n']:
  return jax.lax.with_sharding_constraint(jnp.stack(arrays), where)


@functools.partial(jax.jit, static_argnums=(1, 2))
def _take(x: Float[Array, ' S *n'], run: int, where: jax.sharding.NamedSharding) -> Float[Array, '*n']:
  if where.mesh.shape[sharding.RUN] == 1:
    return jax.lax.with_sharding_constraint(x[run], where)
  # Each part adds what it has, and all but one have nothing. An index would gather the arrays of all runs.
  mine = (jnp.arange(len(x)) == run).reshape(-1, *[1] * (x.ndim - 1))
  return jax.lax.with_sharding_constraint(jnp.where(mine, x, 0).astype(x.dtype).sum(0, dtype=x.dtype), where)
