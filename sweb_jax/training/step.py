"""One optimiser step: loss on solution tokens, gradients, AdamW."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh
from jaxtyping import Array, Float

from sweb_jax.models import sharding, transformer
from sweb_jax.models.config import ModelConfig
from sweb_jax.training.data import Batch
from sweb_jax.training.loss import summed_loss

@dataclasses.dataclass(frozen=True)
class Optimizer:
  """AdamW (arXiv 1711.05101) with clipping; the learning rate is given at each step, so a grid compiles once."""

  b1: float = 0.9
  b2: float = 0.95
  weight_decay: float = 0.0
  clip_norm: float = 1.0
  remat: str = 'none'
  """What the backward pass recomputes: a name in `transformer.REMAT`."""

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
  params: transformer.Params, batch: Batch, config: ModelConfig, *, remat: str = 'none'
) -> Float[Array, '']:
  """Mean negative log-likelihood over the batch's target tokens.

  Logits are computed at the targets only, so that neither prompts nor padding pay for the output layer.
  """
  x = transformer.hidden(params, config, batch.tokens, batch.segment_ids, batch.positions, remat=remat)
  x = jnp.take_along_axis(x, batch.target_at[:, :, None], axis=1)
  table = params['embedder']['input_embedding']
  return summed_loss(x, table, batch.targets, batch.weights, config.final_softcap) / batch.weights.sum()
