"""The models of a study, where they lie, and what they write.

Fields of the config become arguments of the sampling engine here.
"""

from __future__ import annotations

import functools
import threading
import zlib
from collections.abc import Iterator, Sequence

import jax
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from sweb_jax.models import checkpoint, sharding
from sweb_jax.models.decoder import Params
from sweb_jax.models.source import Model, open_model
from sweb_jax.records import Sample
from sweb_jax.runtime.hosts import Hosts, Interrupted
from sweb_jax.sampling import Engine, Request, Rule, stops
from sweb_jax.tasks.rendering import Renderer

_TURNS = 16
"""Completions after which processes that draw together ask each other whether to stop."""


class Drawing:
  """The models of a config, each read once.

  Raises:
    CheckpointError: a model that cannot be opened, or variants that are not alike.
    TokenizerError: a model of `config.chat` without marks of turns.
  """

  def __init__(self, config: ConfigDict, hosts: Hosts):
    self._config, self._hosts = config, hosts
    self._variants = {name: _open_alike(name, source) for name, source in config.models.items()}
    self.models: dict[str, Model] = {name: variants[0] for name, variants in self._variants.items()}
    self.identities = {name: [v.identity for v in variants] for name, variants in self._variants.items()}
    for name in config.chat:
      if self.models[name].tokenizer:
        self.models[name].tokenizer.turn_ids()
    self._loading = threading.Lock()
    self._params = functools.cache(self._load)

  @functools.cached_property
  def train_mesh(self) -> Mesh:
    """Over the devices of all processes."""
    return sharding.make_mesh(**self._config.mesh)

  @functools.cached_property
  def mesh(self) -> Mesh:
    """What is drawn on: each process samples by itself, or with those that hold the rest of the model."""
    return sharding.sampling_mesh(self.train_mesh)

  def check_machine(self) -> None:
    """What a run needs and a plan does not: weights, devices, and which processes draw as one.

    Raises CheckpointError and MeshError.
    """
    for name, model in self.models.items():
      if model.tokenizer is None:
        raise checkpoint.CheckpointError(
          f'config.models.{name}={self._config.models[name]!r} is a shape without weights, which can only be '
          f'planned; give a folder with --config.models.{name}=DIR'
        )
    self._hosts.together = sharding.processes_a_copy(self.train_mesh)
    sharding.check_rows(self._config.engine.slots, self.mesh, 'config.engine.slots')

  def params(self, model: str, question_set: int, dtype: str = 'float32') -> Params:
    """A model's parameters before fine-tuning, read once; question sets take its variants in turn."""
    with self._loading:
      return self._params(model, question_set % len(self._variants[model]), dtype)

  def params_to_train(self, model: str, question_set: int) -> Params:
    """The same on the mesh of all processes."""
    if self._hosts.count == 1:
      return self.params(model, question_set)
    return self._variants[model][question_set % len(self._variants[model])].load(self.train_mesh)

  def _load(self, model: str, variant: int, dtype: str) -> Params:
    return self._variants[model][variant].load(self.mesh, jax.numpy.dtype(dtype))

  def _rule(self, model: str, greedy: bool) -> Rule:
    """The config's sampling rule, or temperature 0. PAD, BOS and rows without a piece are never drawn."""
    s, tokenizer = self._config.sampling, self.models[model].tokenizer
    unused = range(tokenizer.vocab_size, self.models[model].config.vocab_size)
    forbidden = (tokenizer.pad_id, tokenizer.bos_id, *unused)
    if greedy:
      return Rule(0.0, forbidden=forbidden)
    return Rule(s.temperature, s.top_k, s.top_p, forbidden)

  def completions(
    self,
    model: str,
    question_set: int,
    renderer: Renderer,
    requests: Sequence[Request],
    *,
    params: Params | None = None,
    greedy: bool = False,
    stop_strings: tuple[str, ...] = (),
    prompt_length: int = 0,
    max_new_tokens: int = 0,
  ) -> Iterator[Sample]:
    """Draws every request, in the order in which they finish.

    Args:
      model: its name in the config.
      question_set: of the problems; it decides on the random keys, and on the model's variant.
      renderer: ids to text, and the prefix of every prompt.
      requests: what to draw.
      params: of the model, on `mesh`; None: as they are before fine-tuning.
      greedy: the likeliest token always; else by `config.sampling`.
      stop_strings: end a completion, and are cut off.
      prompt_length: the longest prompt to expect; with the same one, later calls compile nothing; 0: the longest here.
      max_new_tokens: of a completion; 0: `config.sampling.max_new_tokens`.

    Raises:
      Interrupted: the run was asked to stop.
    """
    params = self.params(model, question_set, self._config.sampling.dtype) if params is None else params
    # The key of a run is that of the model and question set; the engine folds in problem, sample and position.
    key = jax.random.fold_in(jax.random.key(self._config.seed + question_set), zlib.crc32(model.encode()))
    prompt_length = prompt_length or max((len(r.prompt) for r in requests), default=1)
    engine = self._engine(model, renderer, self._rule(model, greedy), prompt_length, stop_strings, max_new_tokens)
    for n, c in enumerate(engine.run(params, requests, key=key)):
      self._check_together(n)
      self._hosts.progressed()
      text = renderer.text(c.tokens, stop_strings)
      yield Sample(c.problem_id, c.index, text, c.tokens, c.finish, round(c.logprob, 4))

  def check(self) -> None:
    """Raises Interrupted once the run was asked to stop."""
    if self._hosts.stop.is_set():
      raise Interrupted

  def _check_together(self, turn: int) -> None:
    """The same at the same turn on processes that draw together, as one cannot go on alone."""
    if self._hosts.together == 1:
      self.check()
    elif turn % _TURNS == 0 and sharding.least(not self._hosts.stop.is_set(), self.mesh) < 1:
      raise Interrupted

  def _engine(
    self,
    model: str,
    renderer: Renderer,
    rule: Rule,
    prompt_length: int,
    stop_strings: tuple[str, ...],
    max_new_tokens: int,
  ) -> Engine:
    return Engine(
      self.models[model].config,
      self.mesh,
      rule,
      stop_ids=renderer.stop_ids,
      stop_table=self._stop_table(model, stop_strings) if stop_strings else None,
      prompt_length=prompt_length,
      max_new_tokens=max_new_tokens or self._config.sampling.max_new_tokens,
      prefix=renderer.prefix,
      slots=self._config.engine.slots,
      steps=self._config.engine.steps,
    )

  @functools.cache  # noqa: B019
  def _stop_table(self, model: str, stop_strings: tuple[str, ...]) -> np.ndarray:
    pieces = self.models[model].tokenizer.pieces()
    unused = [b''] * (self.models[model].config.vocab_size - len(pieces))
    return stops.table([*pieces, *unused], stop_strings)


def _open_alike(name: str, source: str | Sequence[str]) -> tuple[Model, ...]:
  """Opens a model's variants: the same architecture and tokenizer, other parameters. Raises CheckpointError."""
  sources = (source,) if isinstance(source, str) else tuple(source)
  variants = tuple(open_model(s) for s in sources)
  for s, v in zip(sources, variants, strict=True):
    if (v.config, v.tokenizer) != (variants[0].config, variants[0].tokenizer):
      raise checkpoint.CheckpointError(f'config.models.{name}: {s} has another shape or tokenizer than {sources[0]}')
  return variants
