"""The steps of a config as the study would call them, ready to be lowered without any array."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from sweb_jax.config import elsewhere
from sweb_jax.models import sharding
from sweb_jax.models.decoder import CachedDecoder, Decoder
from sweb_jax.sampling import Engine, Rule, decode, own_cache
from sweb_jax.sampling.capacity import choose_slots
from sweb_jax.sampling.chunk import Rows, Stops
from sweb_jax.sampling.engine import bucket
from sweb_jax.study import models
from sweb_jax.study.fields import settings
from sweb_jax.study.opened import open_models
from sweb_jax.training import lora
from sweb_jax.training.data import Batch
from sweb_jax.training.step import TrainState, train_step


@dataclasses.dataclass(frozen=True)
class Step:
  """A step to lower."""

  model: str
  name: str
  lower: Callable[[int], tuple[Any, int]]
  """Layers -> what `jax.jit(...).lower` gave, tokens a device."""
  state: Callable[[int], tuple[int, int]]
  """Layers -> bytes of the state that is lowered, bytes of it as it will be."""
  layers: int
  beside: int
  """Bytes of the weights that a learner's checkpoints are scored with, beside the state that is trained."""
  vocabulary: set[int]
  """Sizes of the vocabulary's dimension, whole and on a device."""
  width: set[int]
  """Likewise of the model's."""


def steps(config: ConfigDict, hbm: float, processes: int = 1) -> list[Step]:
  """The steps of a config: prefill and decode of its models, as learners are drawn from too, and training of learners.

  Raises MeshError where there are not enough devices, or rows do not divide over them, and what `open_models` does.
  `hbm`, bytes of a device, decides on the slots where the config does not. `processes` have the mesh between them: they
  train together, and draw each by itself or with those that hold the rest of the model.
  """
  whole = sharding.make_mesh(**config.mesh)
  part = sharding.part_to_draw(whole, processes, 0)
  found, opened = [], open_models(config)
  share = math.ceil(config.task.train * part.size / whole.size)
  drawing = functools.partial(_drawing, problems=share, hbm=hbm)
  computed = (g for g in config.generators if not elsewhere(config.models[g]))
  drawn = tuple(dict.fromkeys((*computed, *config.learners)))
  for names, make, mesh in ((drawn, drawing, part), (config.learners, _training, whole)):
    for name in names:
      shape = opened[name][0].config
      sizes = [{n, n // mesh.shape[axis]} for n, axis in ((shape.vocab_size, 'tensor'), (shape.width, 'fsdp'))]
      copied = make is _training and (part != whole or config.sampling.dtype != 'float32')
      beside = _bytes(_weights(shape, config.sampling.dtype, part)) if copied else 0
      for step, lower, state in make(config, name, shape, mesh):
        found.append(Step(name, step, lower, state, shape.layers, beside, *sizes))
  return found


def _bytes(tree: Any) -> int:
  """Of one device's part of arrays that know their sharding."""
  return sum(math.prod(x.sharding.shard_shape(x.shape)) * x.dtype.itemsize for x in jax.tree.leaves(tree))


def _weights(shape: Decoder, dtype: Any, mesh: Mesh) -> Any:
  params = shape.shapes(dtype)
  return _placed(params, sharding.for_params(params, mesh))


def _placed(tree: Any, shardings: Any) -> Any:
  """Shapes with their shardings, one for all leaves or a tree of them."""
  if isinstance(shardings, jax.sharding.Sharding):
    shardings = jax.tree.map(lambda _: shardings, tree)
  return jax.tree.map(lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), tree, shardings)


def _drawing(
  config: ConfigDict, name: str, shape: Decoder, mesh: Mesh, *, problems: int, hbm: float
) -> Iterator[tuple[str, Callable, Callable]]:
  """Prompts and chunks of tokens of a model, as the engine would ask for them for so many problems."""
  del name
  s, e = config.sampling, config.estimate
  dtype = jnp.dtype(s.dtype)
  samples = _samples(config)
  start = e.few_shot_tokens if s.few_shot else 0
  own = isinstance(shape, CachedDecoder)  # Its rows hold the prefix too.
  width = bucket(e.prompt_tokens + (start if own else 0))
  columns = -(-s.max_new_tokens // config.engine.steps) * config.engine.steps
  slots = config.engine.slots or choose_slots(
    shape, mesh, requests=samples * problems, columns=width + columns, itemsize=dtype.itemsize,
    free=int(hbm - _bytes(_weights(shape, dtype, mesh))), platform='tpu',
  )  # fmt: skip
  sharding.check_rows(slots, mesh, 'config.engine.slots')
  rule = Rule(s.temperature, s.top_k, s.top_p, forbidden=(0, 2))
  engine = Engine(
    shape, mesh, rule, stop_ids=(1,), prompt_length=e.prompt_tokens, max_new_tokens=s.max_new_tokens, slots=slots
  )
  block, places, at_once = engine.share(problems, samples, slots)
  ids = jax.ShapeDtypeStruct((at_once, width), jnp.int32)

  def state(layers: int, dtype: Any = jnp.float32):
    c = dataclasses.replace(shape, layers=layers)
    params = _weights(c, dtype, mesh)
    if own:
      cache = jax.eval_shape(lambda: c.init_cache(slots, width + columns, dtype))
      return c, params, _placed(cache, own_cache.cache_sharding(cache, c, mesh))
    cache = jax.eval_shape(
      lambda: decode.empty(
        slots=slots, blocks=slots // block, prompt_columns=places * width, completion_columns=columns, dtype=dtype,
        config=c, mesh=mesh,
      )
    )  # fmt: skip
    shared = None
    if start:
      prefix = jnp.zeros(start, jnp.int32)
      shared = jax.eval_shape(lambda p: decode.prefix(p, prefix, config=c, mesh=mesh), params)
      shared = _placed(shared, decode.prefix_sharding(c, mesh))
    return c, params, shared, _placed(cache, decode.kv_sharding(c, mesh))

  # In 32 bits: the CPU's program of 16 bits keeps copies of everything in 32 besides, which a TPU does not.
  def sizes(layers: int) -> tuple[int, int]:
    return _bytes(state(layers)[1:]), _bytes(state(layers, dtype)[1:])

  common = dict(mesh=mesh) if own else dict(start=start, places=places, mesh=mesh)
  device = own_cache if own else decode

  def prefill(layers: int):
    c, *arrays = state(layers)
    targets = jax.ShapeDtypeStruct((at_once,), jnp.int32)
    lowered = device.prefill.lower(*arrays, ids, targets, config=c, **common)
    return lowered, at_once * width // sharding.ways(mesh)

  def draw(layers: int):
    c, *arrays = state(layers)
    rows = Rows(np.zeros((slots, 2), np.uint32), *(np.zeros(slots, np.int32) for _ in range(7)))
    rest = jax.random.key(0), Stops(jnp.zeros(1, jnp.int32), None), *((np.int32(0),) if own else ())
    how = dict(steps=config.engine.steps, rule=rule, config=c) | ({'prompt_columns': width} if own else {})
    lowered = device.decode.lower(*arrays, rows, *rest, **how, **common)
    return lowered, max(slots + 1, config.engine.steps * slots // sharding.ways(mesh))

  yield 'prefill', prefill, sizes
  yield 'decode', draw, sizes


def _samples(config: ConfigDict) -> int:
  """Samples a problem, of the largest budget that is given by its samples."""
  counts = [n for b in config.budgets.values() for g, n in b.items() if g in config.generators]
  return max(map(int, counts), default=1)


def _training(
  config: ConfigDict, name: str, shape: Decoder, mesh: Mesh
) -> Iterator[tuple[str, Callable, Callable]]:
  """An update of a learner, with every example as long as it may become."""
  t = config.train
  batch = t.batches.get(name, t.batch)
  longest = min(t.row_length, config.estimate.prompt_tokens + config.sampling.max_new_tokens)
  a_row = t.row_length // longest
  multiple = sharding.ways(mesh) * t.micro_batches
  rows = -(-math.ceil(batch / a_row) // multiple) * multiple
  targets = min(t.row_length, -(-a_row * config.sampling.max_new_tokens // 8) * 8)
  fields = settings(config, 'models', train__batches=0, train__steps=0, chat={}, implementations={})
  optimizer = models.optimizer(fields, remat=t.remat, micro_batches=t.micro_batches)

  def by_rule(tree: Any) -> Any:
    return _placed(tree, sharding.for_params(tree, mesh))

  def given(layers: int):
    c = dataclasses.replace(shape, layers=layers)
    params = by_rule(c.shapes())
    trained, base = params, None
    if optimizer.lora:
      base, make = params, lambda p: lora.init(p, optimizer.lora, jax.random.key(0))
      trained = by_rule(jax.eval_shape(make, params))
    return c, TrainState(trained, by_rule(jax.eval_shape(optimizer.transform.init, trained))), base

  def sizes(layers: int) -> tuple[int, int]:
    return (_bytes(given(layers)[1:]),) * 2

  def train(layers: int):
    c, state, base = given(layers)
    ints = [jax.ShapeDtypeStruct((rows, n), jnp.int32) for n in (*[t.row_length] * 3, targets, targets)]
    batch = Batch(*ints, jax.ShapeDtypeStruct((rows, targets), jnp.float32))
    rate = jax.ShapeDtypeStruct((), jnp.float32)
    lowered = train_step.lower(state, batch, rate, base, config=c, optimizer=optimizer, mesh=mesh)
    return lowered, rows * targets // multiple

  yield 'train', train, sizes
