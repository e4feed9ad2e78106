"""The sampling engine: requests in, finished completions out, in any order. It knows token ids only.

A fixed number of slots decodes together. After every `steps` tokens the finished rows are taken out and new requests
put in, so no row waits for the longest one. Keys and values come in two segments: the prefix that all prompts share
(worked examples), computed once a run and stored without a batch dimension, and each slot's own prompt and completion.

Same text however it is cut up: shapes are fixed, each row is computed by itself, and the random key of a token is a
function of (seed, model, problem id, sample index, position) alone.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Key

from sweb_jax.models import sharding, transformer
from sweb_jax.models.config import ModelConfig
from sweb_jax.sampling import decode
from sweb_jax.sampling.rule import Rule


class SamplingError(ValueError):
  """A request the engine cannot serve, or logits that are not numbers; the message names the row."""


@dataclasses.dataclass(frozen=True)
class Request:
  """One completion to draw."""

  problem_id: str
  index: int
  prompt: tuple[int, ...]
  """Ids after the shared prefix; with an empty prefix they start with BOS."""


@dataclasses.dataclass(frozen=True)
class Completion:
  """One finished draw."""

  problem_id: str
  index: int
  tokens: tuple[int, ...]
  """Ids drawn, the stop token included."""
  finish: str
  """'stop' or 'length'."""
  logprob: float
  """Sum of the drawn tokens' log-probabilities at temperature 1."""


class Engine:
  """Draws completions from one model; parameters are given to each run, so that a changed model compiles nothing.

  Args:
    config: the architecture.
    mesh: slots are split over its `data` and `fsdp` axes.
    rule: how a token is drawn.
    stop_ids: tokens that end a completion.
    prompt_length: the longest prompt to expect, without the prefix.
    max_new_tokens: a completion is cut there.
    prefix: ids that come before every prompt, BOS first; may be empty.
    slots: rows decoded together.
    steps: tokens a row draws between two looks at the batch.
  """

  def __init__(
    self,
    config: ModelConfig,
    mesh: Mesh,
    rule: Rule,
    *,
    stop_ids: Sequence[int],
    prompt_length: int,
    max_new_tokens: int,
    prefix: Sequence[int] = (),
    slots: int = 64,
    steps: int = 16,
  ):
    sharding.check_rows(slots, mesh, 'slots')
    self._static = dict(start=len(prefix), config=config, mesh=mesh, rule=rule)
    self._stop_ids = jnp.asarray(tuple(stop_ids), jnp.int32)
    self._prompt_length = _bucket(prompt_length)
    self._max_new = max_new_tokens
    self._prefix = tuple(prefix)
    self._slots = slots
    self._steps = steps
    # Prompts computed in one call. A whole batch of slots at once would leave slots idle until that many are free.
    ways = mesh.shape['data'] * mesh.shape['fsdp']
    self._rows = max(ways, slots // 8 // ways * ways)

  def run(
    self,
    params: transformer.Params,
    requests: Iterable[Request],
    *,
    key: Key[Array, ''],
    cut: Callable[[Sequence[int]], int | None] | None = None,
  ) -> Iterator[Completion]:
    """Draws every request.

    Args:
      params: parameters, on the engine's mesh.
      requests: what to draw. Equal prompts next to each other are computed once.
      key: of the run: a function of the seed and the model.
      cut: given the ids drawn so far, how many of them belong to the completion if a stop string ends it, else None.
        It runs on the host once every `steps` tokens; what was drawn beyond is dropped.

    Yields:
      Completions, in the order in which they finish.

    Raises:
      SamplingError: an empty or too long prompt, an id outside the vocabulary, or logits that are not numbers.
    """
    waiting = collections.deque(requests)
    for r in waiting:
      self._check(r)
    if not waiting:
      return
    config, mesh = self._static['config'], self._static['mesh']
    prefix = decode.prefix(params, jnp.asarray(self._prefix, jnp.int32), config) if self._prefix else None
    state = decode.empty(
      key,
      slots=self._slots,
      prompt_length=self._prompt_length,
      max_new=self._max_new,
      steps=self._steps,
      dtype=params['embedder']['input_embedding'].dtype,
      config=config,
      mesh=mesh,
    )
    live: list[Request | None] = [None] * self._slots
    while waiting or any(live):
      free = [s for s, r in enumerate(live) if r is None]
      while waiting and (len(free) >= self._rows or len(free) == self._slots):
        state, free = self._admit(params, prefix, state, waiting, live, free, key)
      keep = np.asarray([r is not None for r in live])
      state = decode.decode(params, prefix, state, keep, self._stop_ids, steps=self._steps, **self._static)
      yield from self._harvest(state, live, cut)

  def _check(self, r: Request) -> None:
    where = f'problem {r.problem_id!r}, sample {r.index}'
    if not r.prompt:
      raise SamplingError(f'{where}: the prompt is empty')
    if len(r.prompt) > self._prompt_length:
      raise SamplingError(
        f'{where}: the prompt has {len(r.prompt)} tokens, the engine was built for {self._prompt_length}'
      )
    top = self._static['config'].vocab_size
    if min(r.prompt) < 0 or max(r.prompt) >= top:
      raise SamplingError(f'{where}: the prompt has ids outside the vocabulary of {top}; is it the right tokenizer?')

  def _admit(self, params, prefix, state, waiting, live, free, key):
    """Computes the next prompts and puts their requests into free slots; returns the state and what stays free."""
    prompts: dict[tuple[int, ...], int] = {}
    source = np.full(self._slots, -1, np.int32)
    problems = np.zeros((self._slots, 2), np.uint32)
    indices = np.zeros(self._slots, np.int32)
    free = collections.deque(free)
    while waiting and free:
      r = waiting[0]
      if r.prompt not in prompts:
        if len(prompts) == self._rows:
          break
        prompts[r.prompt] = len(prompts)
      slot = free.popleft()
      live[slot] = waiting.popleft()
      source[slot], problems[slot], indices[slot] = prompts[r.prompt], _problem_hash(r.problem_id), r.index
    tokens = np.zeros((self._rows, _bucket(max(map(len, prompts)))), np.int32)
    lengths = np.ones(self._rows, np.int32)
    for ids, row in prompts.items():
      tokens[row, : len(ids)], lengths[row] = ids, len(ids)
    state = decode.admit(
      params, prefix, state, tokens, lengths, source, problems, indices, key, self._stop_ids, **self._static
    )
    return state, list(free)

  def _harvest(self, state, live, cut) -> Iterator[Completion]:
    """Takes finished rows out of their slots."""
    active, drawn, tokens, logprobs = jax.device_get((state.active, state.drawn, state.tokens, state.logprobs))
    stops = set(np.asarray(self._stop_ids).tolist())
    for slot, r in enumerate(live):
      if r is None:
        continue
      ids = tokens[slot, : drawn[slot]].tolist()
      kept = cut(ids) if cut is not None else None
      if active[slot] and kept is None:
        continue
      ids = ids if kept is None else ids[:kept]
      logprob = float(logprobs[slot, : len(ids)].sum())
      if not np.isfinite(logprob):
        raise SamplingError(
          f'problem {r.problem_id!r}, sample {r.index}: the model gave logits that are not numbers; '
          'the weights are damaged or training diverged'
        )
      finish = 'stop' if kept is not None or (ids and ids[-1] in stops) else 'length'
      live[slot] = None
      yield Completion(r.problem_id, r.index, tuple(ids), finish, logprob)


def _bucket(length: int) -> int:
  """The padded length of a prompt: 16, 24, 32, 48, 64, 96, ...: few shapes to compile, at most a third of padding."""
  size = 16
  while size < length:
    size = size * 3 // 2 if size & (size - 1) == 0 else size // 3 * 4
  return size


@functools.cache
def _problem_hash(problem_id: str) -> tuple[int, int]:
  digest = hashlib.sha256(problem_id.encode()).digest()
  return int.from_bytes(digest[:4], 'little'), int.from_bytes(digest[4:8], 'little')
