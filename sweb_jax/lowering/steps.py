"""The steps of a config as the study would call them, ready to be lowered without any array."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from sweb_jax.budget import flops_per_token, training_flops_per_token
from sweb_jax.config import elsewhere, mesh_of
from sweb_jax.models import sharding
from sweb_jax.models.decoder import CachedDecoder, Decoder
from sweb_jax.sampling import Rule, capacity, decode, own_cache
from sweb_jax.sampling.chunk import Rows, Stops
from sweb_jax.sampling.engine import bucket
from sweb_jax.sampling.slots import share
from sweb_jax.study import fine_tuning
from sweb_jax.study.fields import settings
from sweb_jax.study.opened import open_models
from sweb_jax.training import step as training_step
from sweb_jax.training.data import Packer
from sweb_jax.training.loss import targets_at_once
from sweb_jax.training.side_by_side import SideBySide, choose, train_steps


class Work(NamedTuple):
  """What a step does: a call of prompts, a token in every row, an update."""

  tokens: int
  """On all devices; padding is none."""
  flops: float
  """On all devices, 2 a token and parameter that it has to do with, 6 in training; nothing twice."""
  read: int
  """Bytes that a device reads or writes at least."""


@dataclasses.dataclass(frozen=True)
class Step:
  """A step to lower."""

  model: str
  name: str
  mesh: Mesh
  lower: Callable[[int], tuple[Any, int]]
  """Layers -> what `jax.jit(...).lower` gave, tokens a device."""
  state: Callable[[int], tuple[int, int]]
  """Layers -> bytes of the state that is lowered, bytes of it as it will be."""
  layers: int
  period: int
  """After so many layers their kinds are repeated."""
  beside: int
  """Bytes of the weights that a learner's checkpoints are scored with, beside the state that is trained."""
  vocabulary: set[int]
  """Sizes of the vocabulary's dimension, whole and on a device."""
  rows: Callable[[int], list[list[set[int]]]]
  """Layers -> of each table with an entry a piece, the sizes of its other dimensions, whole and on a device."""
  work: Callable[[int], Work]
  """Layers -> what the step does."""
  loops: int
  """How often the outermost loop runs whose end depends on what is drawn: the tokens of a chunk; 1 where none does."""
  parts: int = 1
  """Of the machine: so many meshes like this one take such steps at once, each for itself."""
  runs: int = 1
  """Of an update: trainings side by side."""
  of_runs: Callable[[int], Step] | None = None
  """The same of another number of them."""


def steps(config: ConfigDict, hbm: float, processes: int = 0, devices: Sequence[Any] = ()) -> list[Step]:
  """The steps of a config: prefill and decode of its models, as learners are drawn from too, and training of learners.

  Args:
    config: resolved and valid.
    hbm: bytes of a device, which decide on the slots where the config does not, and on the mesh to draw on.
    processes: which have the mesh between them; 0: those that its devices belong to.
    devices: of TPU slices; their steps have the types and the lengths of `config.estimate`. (): simulated ones, in 32
      bits, as the CPU's program of 16 bits keeps copies of everything in 32 besides, with examples as long as they may
      become.

  Raises:
    MeshError: there are not enough devices, or rows do not divide over them.
    SamplingError: weights that do not fit.
    CheckpointError, DecoderError, LoraError, TokenizerError: as `open_models`.
  """
  whole = sharding.make_mesh(**config.mesh, devices=devices)
  processes = processes or len({d.process_index for d in whole.devices.flat})
  itemsize = jnp.dtype(config.sampling.dtype).itemsize
  found, opened = [], open_models(config)
  learners = config.learners if config.generators or config.gold else ()  # Else they are evaluated as they are.
  computed = (g for g in config.generators if not elsewhere(config.models[g]))
  for name in dict.fromkeys((*computed, *config.learners)):
    shape = opened[name][0].config
    parts = capacity.choose_meshes(
      shape, whole, draw_on=config.engine.draw_on, itemsize=itemsize, memory=hbm, processes=processes
    )
    part = parts[0]
    found += _drawing(config, name, shape, part, parts=len(parts), hbm=hbm, exact=bool(devices))
    if name in learners:
      mesh = sharding.make_mesh(**mesh_of(config, name), devices=devices)
      copied = part != mesh or config.sampling.dtype != 'float32'
      beside = sharding.bytes_a_device(_weights(shape, config.sampling.dtype, part)) if copied else 0
      found.append(_training(config, name, shape, mesh, beside=beside, hbm=hbm if devices else 0.0))
  return sorted(found, key=lambda step: step.name == 'train')


def _weights(shape: Decoder, dtype: Any, mesh: Mesh) -> Any:
  params = shape.shapes(dtype)
  return _placed(params, sharding.for_params(params, mesh))


def _placed(tree: Any, shardings: Any) -> Any:
  """Shapes with their shardings, one for all leaves or a tree of them."""
  if isinstance(shardings, jax.sharding.Sharding):
    shardings = jax.tree.map(lambda _: shardings, tree)
  return jax.tree.map(lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), tree, shardings)


def _drawing(
  config: ConfigDict, name: str, shape: Decoder, mesh: Mesh, *, parts: int, hbm: float, exact: bool
) -> Iterator[Step]:
  """Prompts and chunks of tokens of a model, as the engine of one of so many parts would ask for them."""
  s, e = config.sampling, config.estimate
  dtype = jnp.dtype(s.dtype)
  count, problems = samples(config), math.ceil(config.task.train / parts)
  start = e.few_shot_tokens if s.few_shot else 0
  own = isinstance(shape, CachedDecoder)  # Its rows hold the prefix too, and each slot reads its prompt by itself.
  width = bucket(e.prompt_tokens + (start if own else 0))
  columns = decode.completion_columns(s.max_new_tokens, config.engine.steps, mesh)
  slots = config.engine.slots or capacity.choose_slots(
    shape, mesh, requests=count * problems, itemsize=dtype.itemsize,
    columns=(width if own else decode.place_columns(width, 1, mesh)) + columns,
    free=int(hbm - sharding.bytes_a_device(_weights(shape, dtype, mesh))), platform='tpu',
  )  # fmt: skip
  sharding.check_rows(slots, mesh, 'config.engine.slots')
  rule = Rule(s.temperature, s.top_k, s.top_p, forbidden=(0, 2))
  length, tokens = (width, own_cache.PROMPT_TOKENS) if own else (e.prompt_tokens, 0)
  block, places, at_once = share(
    problems, 1 if own else count, slots, ways=sharding.ways(mesh), prompt_length=length, tokens=tokens
  )
  ids = jax.ShapeDtypeStruct((at_once, width), jnp.int32)

  def state(layers: int, dtype: Any = dtype if exact else jnp.float32):
    c = shape.shortened(layers)
    params = _weights(c, dtype, mesh)
    if own:
      cache = jax.eval_shape(lambda: c.init_cache(slots, width + columns, dtype))
      return c, params, _placed(cache, own_cache.cache_sharding(cache, mesh))
    cache = jax.eval_shape(
      lambda: decode.empty(
        slots=slots, blocks=slots // block, places=places, prompt_columns=width, completion_columns=columns,
        dtype=dtype, config=c, mesh=mesh,
      )
    )  # fmt: skip
    shared = None
    if start:
      shared = _placed(decode.prefix_shapes(start, dtype, c), decode.prefix_sharding(c, mesh))
    return c, params, shared, _placed(cache, decode.kv_sharding(c, mesh))

  def sizes(layers: int) -> tuple[int, int]:
    return sharding.bytes_a_device(state(layers)[1:]), sharding.bytes_a_device(state(layers, dtype)[1:])

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
    key = jax.eval_shape(lambda: jax.random.key(0))
    rest = key, Stops(jax.ShapeDtypeStruct((1,), jnp.int32), None), *((np.int32(0),) if own else ())
    how = dict(steps=config.engine.steps, rule=rule, config=c)
    how |= {'prompt_columns': width} if own else {'kernels': config.engine.kernels}
    lowered = device.decode.lower(*arrays, rows, *rest, **how, **common)
    return lowered, max(slots + 1, config.engine.steps * slots // sharding.ways(mesh))

  about = functools.partial(Step, name, mesh=mesh, parts=parts, state=sizes, beside=0, **_sizes(shape, mesh))

  def prompts(layers: int) -> Work:
    c, *read, _ = state(layers)  # All but the cache that is written.
    tokens = at_once * e.prompt_tokens  # No logits are computed of them.
    return Work(tokens, flops_per_token(c.matrix_parameters) * tokens, sharding.bytes_a_device(read))

  def token(layers: int) -> Work:
    c, *arrays = state(layers)
    return Work(slots, flops_per_token(c.active_parameters) * slots, sharding.bytes_a_device(arrays))

  yield about('prefill', lower=prefill, work=prompts, loops=1)
  yield about('decode', lower=draw, work=token, loops=config.engine.steps)


def samples(config: ConfigDict) -> int:
  """Samples a problem, of the largest budget that is given by its samples."""
  counts = [n for b in config.budgets.values() for g, n in b.items() if g in config.generators]
  return max(map(int, counts), default=1)


def _sizes(shape: Decoder, mesh: Mesh) -> dict[str, Any]:
  """Fields of a step: its layers, and the sizes of the vocabulary and of what tables have a piece."""

  def rows(layers: int) -> list[list[set[int]]]:
    tables = [x.shape for x in jax.tree.leaves(shape.shortened(layers).shapes()) if shape.vocab_size in x.shape]
    return [[{n, n // mesh.shape['fsdp']} for n in table if n != shape.vocab_size] for table in tables]

  kinds = [dataclasses.replace(a, cached=True) for a in shape.attention]
  return {
    'layers': shape.layers,
    'period': next(n for n in range(1, shape.layers + 1) if kinds[n:] == kinds[: shape.layers - n]),
    'vocabulary': {shape.vocab_size, shape.vocab_size // mesh.shape['tensor']},
    'rows': rows,
  }


def _training(
  config: ConfigDict, name: str, shape: Decoder, mesh: Mesh, *, beside: int, hbm: float, runs: int = 0
) -> Step:
  """An update of a learner: a batch with one example that is as long as it may become, or of nothing but such.

  `hbm` is the memory of a slice's device, which decides how many trainings are side by side where `runs` is 0; 0:
  simulated devices.
  """
  t, e = config.train, config.estimate
  fields = settings(config, 'models', train__batches=0, train__steps=0, chat={}, implementations={})
  optimizer = fine_tuning.optimizer(fields, remat=t.remat, micro_batches=t.micro_batches)
  size = t.batches.get(name, t.batch)
  of_runs = functools.partial(_training, config, name, shape, mesh, beside=beside, hbm=hbm)
  runs = runs or t.side_by_side or (choose(shape, optimizer, mesh, memory=hbm, batch=size) if shape.side_by_side else 1)
  together = SideBySide(runs, mesh)
  prompt = min(e.prompt_tokens, t.row_length // 2)
  longest = min(t.row_length - prompt, config.sampling.max_new_tokens)
  usual = min(longest, e.completion_tokens) if hbm else longest
  multiple = sharding.ways(together.mesh) * t.micro_batches
  examples = [((0,) * (prompt + n), prompt) for n in (longest, *[usual] * (size - 1))]
  packer = Packer(
    examples, batch=len(examples), steps=1, seed=0, row_length=t.row_length, multiple_of=multiple
  )
  rows, _, targets = packer.shape
  several = () if runs == 1 else (runs,)
  batch = jax.tree.map(lambda x: jax.ShapeDtypeStruct((*several, *x.shape), x.dtype), packer.batch(0))

  def given(layers: int):
    c = shape.shortened(layers)
    params = _weights(c, 'float32', together.mesh)
    state = training_step.shapes(params, optimizer, together.mesh)
    if runs > 1:
      where = sharding.of_runs(jax.tree.map(lambda x: x.sharding, state))
      state = jax.tree.map(lambda x, s: jax.ShapeDtypeStruct((runs, *x.shape), x.dtype, sharding=s), state, where)
    return c, state, params if optimizer.lora else None

  def sizes(layers: int) -> tuple[int, int]:
    return (sharding.bytes_a_device(given(layers)[1:]),) * 2

  def train(layers: int):
    c, state, base = given(layers)
    rate = jax.ShapeDtypeStruct(several, jnp.float32)
    step = training_step.train_step if runs == 1 else train_steps
    lowered = step.lower(state, batch, rate, base, config=c, optimizer=optimizer, mesh=together.mesh)
    return lowered, max(rows * targets // multiple, targets_at_once(shape.vocab_size) + 1)

  def work(layers: int) -> Work:
    c, state, base = given(layers)
    tokens = runs * sum(len(ids) for ids, _ in examples)
    flops = training_flops_per_token(c.active_parameters) * tokens
    return Work(tokens, flops, sharding.bytes_a_device((base, state, state)))

  if runs > 1:  # One run's parameters are taken out of all, to be scored.
    beside += sharding.bytes_a_device(_weights(shape, 'float32', mesh))
  return Step(
    name, 'train', together.mesh, train, sizes, beside=beside, **_sizes(shape, mesh), work=work, loops=1, runs=runs,
    of_runs=lambda n: of_runs(runs=n),
  )  # fmt: skip
