"""A model in both implementations, side by side: logits, greedy texts, a training step, and how long each takes."""

from __future__ import annotations

import dataclasses
import functools
import math
import time
from collections.abc import Callable
from typing import TypeVar

import jax
import numpy as np
import optax
from jax.sharding import Mesh

from sweb_jax.models import conversion, decoder, families, sharding
from sweb_jax.models.checkpoint import CheckpointError
from sweb_jax.models.decoder import Decoder, Params
from sweb_jax.models.source import open_model
from sweb_jax.sampling import Engine, Request, Rule
from sweb_jax.training import Packer
from sweb_jax.training.step import mean_loss

TOLERANCE = 1e-4
"""Largest difference that passes in float32, of a logit as a share of the largest logit, of the loss as a share of it.

Sums in another order make a tenth of it; a soft cap of attention that is missing makes a hundred times it.
"""
SAMPLES, NEW_TOKENS, ROWS, ROW = 8, 32, 4, 256
"""Of the drawing: samples of each fixed prompt and their length. Of the training step: rows and their length."""


T = TypeVar('T')


@dataclasses.dataclass(frozen=True)
class Side:
  """What one implementation does."""

  logits: np.ndarray
  """[N, V], of every position of the fixed prompts."""
  texts: dict[tuple[str, int], tuple[int, ...]]
  """(Prompt, sample) -> the greedy text's ids."""
  loss: float
  """Mean over the targets of a batch, in nats."""
  gradient_norm: float
  draw_seconds: float
  """Of the drawing, everything compiled."""
  step_seconds: float
  """Of loss and gradients, everything compiled."""


@dataclasses.dataclass(frozen=True)
class Compared:
  """Both implementations of a model."""

  native: Side
  gemma: Side
  drawn: int
  """Tokens that each drew."""
  trained: int
  """Tokens of the batch."""

  @property
  def logits(self) -> conversion.Comparison:
    return conversion.compare(self.gemma.logits, self.native.logits)

  @property
  def equal_texts(self) -> int:
    return sum(self.native.texts[name] == text for name, text in self.gemma.texts.items())

  @property
  def largest_logit(self) -> float:
    return float(np.abs(self.gemma.logits).max())

  @property
  def agree(self) -> bool:
    """Logits and loss are within the tolerance, and all greedy texts are equal."""
    near = (  # A NaN is near nothing.
      self.logits.largest <= TOLERANCE * self.largest_logit,
      abs(self.native.loss - self.gemma.loss) <= TOLERANCE * abs(self.gemma.loss),
    )
    return all(near) and self.equal_texts == len(self.gemma.texts)


def compare(source: str) -> Compared:
  """Runs a model in both implementations in float32, one after the other, on all devices there are.

  Args:
    source: as `open_model` takes it.

  Raises:
    CheckpointError: the model cannot be opened, or has no weights.
    DecoderError: the gemma library is not there, or cannot compute this model.
  """
  model = open_model(source)
  if model.tokenizer is None:
    raise CheckpointError(f'{source!r} is a shape without weights; give a model that has them')
  sides = [families.implement(model.config, name) for name in decoder.IMPLEMENTATIONS]  # Before anything is read.
  mesh = sharding.make_mesh(fsdp=len(jax.devices()))
  prompts = conversion.prompts(model.config, model.tokenizer)
  batch = Packer(
    [((*ids, model.tokenizer.eos_id), 1) for ids in prompts], batch=ROWS * ROW // math.ceil(_mean(prompts)), steps=1,
    seed=0, row_length=ROW, multiple_of=sharding.ways(mesh),
  ).batch(0)  # fmt: skip
  forbidden = model.tokenizer.pad_id, model.tokenizer.bos_id
  with jax.default_matmul_precision('highest'):
    params = model.load(mesh)
    native, gemma = (_side(side, params, mesh, prompts, batch, forbidden) for side in sides)
  return Compared(native, gemma, sum(map(len, gemma.texts.values())), int((batch.segment_ids > 0).sum()))


def _mean(prompts: list[list[int]]) -> float:
  return sum(map(len, prompts)) / len(prompts)


def _side(config: Decoder, params: Params, mesh: Mesh, prompts: list[list[int]], batch, forbidden) -> Side:
  forward = jax.jit(lambda params, ids: config.forward(params, ids[None])[0])
  logits = np.concatenate([np.asarray(forward(params, np.asarray(ids)), np.float64) for ids in prompts])
  requests = [Request(str(i), j, tuple(ids)) for i, ids in enumerate(prompts) for j in range(SAMPLES)]
  engine = Engine(
    config, mesh, Rule(0.0, forbidden=forbidden), stop_ids=(), prompt_length=max(map(len, prompts)),
    max_new_tokens=NEW_TOKENS,
  )  # fmt: skip
  run = functools.partial(engine.run, params, requests, key=jax.random.key(0))
  texts, draw_seconds = _timed(lambda: {(c.problem_id, c.index): c.tokens for c in run()})

  @jax.jit
  def step(params, batch):
    loss, gradients = jax.value_and_grad(mean_loss)(params, batch, config)
    return loss, optax.global_norm(gradients)

  (loss, norm), step_seconds = _timed(lambda: jax.device_get(step(params, batch)))
  return Side(logits, texts, float(loss), float(norm), draw_seconds, step_seconds)


def _timed(function: Callable[[], T]) -> tuple[T, float]:
  """What a function gives, and the seconds of its second call."""
  function()
  begun = time.monotonic()
  return function(), time.monotonic() - begun
