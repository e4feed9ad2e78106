"""One optimiser step: loss on solution tokens, gradients, update."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, SingleDeviceSharding
from jaxtyping import Array, Float

from sweb_jax.models import sharding
from sweb_jax.models.decoder import Decoder, Params
from sweb_jax.training import lora as lora_lib
from sweb_jax.training.data import Batch
from sweb_jax.training.lora import Lora
from sweb_jax.training.loss import summed_loss


@dataclasses.dataclass(frozen=True)
class Optimizer:
  """AdamW (arXiv 1711.05101) or Adafactor (arXiv 1804.04235) with clipping, and how a step is computed.

  The learning rate is given at each step, so a grid compiles once.
  """

  name: str = 'adamw'
  """Or 'adafactor', whose state is a fraction of the parameters' size; it has no use for b1 and b2."""
  b1: float = 0.9
  b2: float = 0.95
  weight_decay: float = 0.0
  clip_norm: float = 1.0
  remat: str = 'none'
  """What the backward pass recomputes: of the decoder's `rematerialisations`."""
  micro_batches: int = 1
  """The rows are taken in so many parts, one after another, and one update is made of all."""
  dtype: str = 'float32'
  """Of the computation; the parameters and the optimiser's state stay in float32."""
  lora: Lora | None = None
  """Train adapters only."""

  @functools.cached_property
  def transform(self) -> optax.GradientTransformation:
    if self.name == 'adafactor':
      scale = optax.chain(optax.scale_by_factored_rms(), optax.clip_by_block_rms(1.0))
    else:
      scale = optax.scale_by_adam(b1=self.b1, b2=self.b2)
    return optax.chain(
      optax.clip_by_global_norm(self.clip_norm), scale, optax.add_decayed_weights(self.weight_decay)
    )


class TrainState(NamedTuple):
  params: Any
  """What is trained: the parameters, or the adapters."""
  opt_state: Any


class StepMetrics(NamedTuple):
  loss: Float[Array, '']
  """Mean negative log-likelihood a target token, in nats."""
  grad_norm: Float[Array, '']
  """Before clipping."""


@dataclasses.dataclass(frozen=True)
class Measured:
  """What a step measured, which is still on the device."""

  metrics: StepMetrics
  run: int = 0
  """Of those that the arrays are of, where they are of several."""

  def read(self) -> tuple[float, float]:
    """Loss and gradient's norm; waits for the step."""
    loss, norm = (float(np.atleast_1d(x)[self.run]) for x in jax.device_get(self.metrics))
    return loss, norm


def shapes(params: Params, optimizer: Optimizer, mesh: Mesh) -> TrainState:
  """Shapes, types and places of the state that `start` gives; of shapes as of arrays."""
  trained = params
  if optimizer.lora is not None:
    trained = jax.eval_shape(lambda p: lora_lib.init(p, optimizer.lora, jax.random.key(0)), params)
  state = TrainState(trained, jax.eval_shape(optimizer.transform.init, trained))
  return jax.tree.map(
    lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), state, sharding.for_params(state, mesh)
  )


def start(params: Params, optimizer: Optimizer, mesh: Mesh, seed: int = 0) -> TrainState:
  """A fresh state; `seed` is of the adapters. The parameters are copied: the steps donate them."""
  trained = params if optimizer.lora is None else lora_lib.init(params, optimizer.lora, jax.random.key(seed))
  trained = sharding.place(trained, mesh)
  init = optimizer.transform.init
  # What has a parameter's name is made where the parameter lives: whole, it may not fit on a device.
  where = sharding.for_params(jax.eval_shape(init, trained), mesh)
  return TrainState(trained, jax.jit(init, out_shardings=where)(trained))


def shard_batch(batch: Batch, mesh: Mesh) -> Batch:
  """The batch as `train_step` takes it: where several processes train together, each gives its own rows."""
  if not mesh.is_multi_process:
    return batch
  return jax.tree.map(lambda x: sharding.put(x, sharding.rows(mesh)), batch)


def merge_adapters(trained: Any, base: Params | None, optimizer: Optimizer) -> Params:
  """The parameters to sample with: what is trained itself, or the base with the trained adapters merged in."""
  return trained if optimizer.lora is None else lora_lib.merge(base, trained, optimizer.lora)


def offload_to_host(trained: Any) -> Any:
  """A copy in the hosts' memory, on the same shards: it takes none of the accelerators', which the steps need."""
  # Copied first: on a CPU both memories are one, and the steps donate what they are given.
  return jax.tree.map(lambda x: _moved(jnp.copy(x), 'pinned_host'), trained)


def restore_to_device(trained: Any) -> Any:
  """What was offloaded, on the devices again."""
  return jax.tree.map(lambda x: _moved(x, 'device'), trained)


def _moved(x: jax.Array, kind: str) -> jax.Array:
  """The array in another memory of its devices; each process moves its shards."""
  shards = [jax.device_put(s.data, SingleDeviceSharding(s.device, memory_kind=kind)) for s in x.addressable_shards]
  return jax.make_array_from_single_device_arrays(x.shape, x.sharding.with_memory_kind(kind), shards)


def update(
  state: TrainState,
  batch: Batch,
  learning_rate: Float[Array, ''],
  base: Params | None = None,
  *,
  config: Decoder,
  optimizer: Optimizer,
  mesh: Mesh,
) -> tuple[TrainState, StepMetrics]:
  """One step. Rows are split over the mesh's `data` and `fsdp` axes; `base` is what adapters are on top of."""
  batch = jax.lax.with_sharding_constraint(batch, sharding.rows(mesh))
  targets = batch.weights.sum()

  def loss_of(trained, batch):
    params = jax.tree.map(lambda x: x.astype(optimizer.dtype), merge_adapters(trained, base, optimizer))
    return _summed(params, batch, config, optimizer.remat, mesh) / targets

  def loss_and_gradient(params, batch):
    loss, grads = jax.value_and_grad(loss_of)(params, batch)
    # Else they would be added up whole on every device, and split afterwards.
    return loss, jax.lax.with_sharding_constraint(grads, sharding.for_params(grads, mesh))

  loss, grads = _in_parts(loss_and_gradient, state.params, batch, optimizer.micro_batches)
  updates, opt_state = optimizer.transform.update(grads, state.opt_state, state.params)
  params = jax.tree.map(lambda p, u: p - (learning_rate * u).astype(p.dtype), state.params, updates)
  params, opt_state = (jax.lax.with_sharding_constraint(t, sharding.for_params(t, mesh)) for t in (params, opt_state))
  return TrainState(params, opt_state), StepMetrics(loss, optax.global_norm(grads))


train_step = jax.jit(update, static_argnames=('config', 'optimizer', 'mesh'), donate_argnames=('state',))
"""`update`, compiled; the state is given away."""


def _in_parts(loss_and_grads, params, batch: Batch, parts: int):
  """Summed loss and gradients of the parts of a batch, one part after another."""
  if parts == 1:
    return loss_and_grads(params, batch)
  # Part i is each device's i-th, (i + parts)-th, ... row, so that no row changes its device.
  split = jax.tree.map(lambda a: jnp.moveaxis(a.reshape(-1, parts, *a.shape[1:]), 1, 0), batch)

  def add(total, part):
    return jax.tree.map(jnp.add, total, loss_and_grads(params, part)), None

  zero = jnp.zeros(()), jax.tree.map(jnp.zeros_like, params)
  return jax.lax.scan(add, zero, split)[0]


def mean_loss(
  params: Params, batch: Batch, config: Decoder, *, remat: str = 'none'
) -> Float[Array, '']:
  """Mean negative log-likelihood over the batch's target tokens, in nats.

  Logits are computed at the targets only, so that neither prompts nor padding pay for the output layer.
  """
  return _summed(params, batch, config, remat) / batch.weights.sum()


def _summed(
  params: Params, batch: Batch, config: Decoder, remat: str, mesh: Mesh | None = None
) -> Float[Array, '']:
  x = config.hidden_states(params, batch.tokens, batch.segment_ids, batch.positions, remat=remat, mesh=mesh)
  x = sharding.keep_rows(jnp.take_along_axis(x, batch.target_at[:, :, None], axis=1), mesh)
  table = config.output_table(params)
  return summed_loss(x, table, batch.targets, batch.weights, config.final_softcap, mesh)
