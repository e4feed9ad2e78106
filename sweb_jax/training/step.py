"""One optimiser step: loss on solution tokens, gradients, AdamW."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int

from sweb_jax.models import sharding, transformer
from sweb_jax.models.config import ModelConfig
from sweb_jax.training.data import Batch

# Logits that exist at one time, in elements; beyond it the loss goes over the targets in chunks.
_LOGITS_AT_ONCE = 1 << 25


@dataclasses.dataclass(frozen=True)
class Optimizer:
  """AdamW (arXiv 1711.05101) with clipping; the learning rate is given at each step, so a grid compiles once."""

  b1: float = 0.9
  b2: float = 0.95
  weight_decay: float = 0.0
  clip_norm: float = 1.0
  remat: bool = False
  """Recompute each block in the backward pass."""

  @functools.cached_property
  def transform(self) -> optax.GradientTransformation:
    return optax.chain(
      optax.clip_by_global_norm(self.clip_norm),
      optax.scale_by_adam(b1=self.b1, b2=self.b2),
      optax.add_decayed_weights(self.weight_decay),
    )


class TrainState(NamedTuple):
  params: transformer.Params
  opt_state: Any


class StepMetrics(NamedTuple):
  loss: Float[Array, '']
  """Mean negative log-likelihood a target token, in nats."""
  grad_norm: Float[Array, '']
  """Before clipping."""


def start(params: transformer.Params, optimizer: Optimizer, mesh: Mesh) -> TrainState:
  """A fresh state. The parameters are copied: the steps donate them."""
  params = sharding.place(params, mesh)
  opt_state = jax.jit(optimizer.transform.init)(params)
  # What has a parameter's name lives where the parameter does; the step counter on every device.
  return TrainState(params, jax.device_put(opt_state, sharding.for_params(opt_state, mesh)))


@functools.partial(jax.jit, static_argnames=('config', 'optimizer', 'mesh'), donate_argnames=('state',))
def train_step(
  state: TrainState,
  batch: Batch,
  learning_rate: Float[Array, ''],
  *,
  config: ModelConfig,
  optimizer: Optimizer,
  mesh: Mesh,
) -> tuple[TrainState, StepMetrics]:
  """One step. Rows are split over the mesh's `data` and `fsdp` axes."""
  batch = jax.lax.with_sharding_constraint(batch, sharding.rows(mesh))
  loss, grads = jax.value_and_grad(mean_loss)(state.params, batch, config, remat=optimizer.remat)
  updates, opt_state = optimizer.transform.update(grads, state.opt_state, state.params)
  params = jax.tree.map(lambda p, u: p - (learning_rate * u).astype(p.dtype), state.params, updates)
  params, opt_state = (jax.lax.with_sharding_constraint(t, sharding.for_params(t, mesh)) for t in (params, opt_state))
  return TrainState(params, opt_state), StepMetrics(loss, optax.global_norm(grads))


def mean_loss(
  params: transformer.Params, batch: Batch, config: ModelConfig, *, remat: bool = False
) -> Float[Array, '']:
  """Mean negative log-likelihood over the batch's target tokens.

  Logits are computed at the targets only, in chunks, so that neither prompts nor padding pay for the output layer and
  [B, L, V] never exists.
  """
  x = transformer.hidden(params, config, batch.tokens, batch.segment_ids, batch.positions, remat=remat)
  x = jnp.take_along_axis(x, batch.target_at[:, :, None], axis=1)
  rows, columns = batch.targets.shape
  chunk = min(columns, max(1, _LOGITS_AT_ONCE // (rows * config.vocab_size)))
  if chunk == columns:
    return _summed_loss(params, config, x, batch.targets, batch.weights) / batch.weights.sum()

  pieces = -(-columns // chunk)

  def split(a):
    a = jnp.pad(a, [(0, 0), (0, pieces * chunk - columns)] + [(0, 0)] * (a.ndim - 2))
    return jnp.moveaxis(a.reshape(rows, pieces, chunk, *a.shape[2:]), 1, 0)

  @jax.checkpoint
  def piece(total, args):
    return total + _summed_loss(params, config, *args), None

  total, _ = jax.lax.scan(piece, jnp.zeros(()), jax.tree.map(split, (x, batch.targets, batch.weights)))
  return total / batch.weights.sum()


def _summed_loss(
  params, config, x: Float[Array, 'R M D'], targets: Int[Array, 'R M'], weights: Float[Array, 'R M']
) -> Float[Array, '']:
  losses = optax.softmax_cross_entropy_with_integer_labels(transformer.logits(params, config, x), targets)
  return (losses * weights).sum()
