"""The sampling engine: requests in, finished completions out, in any order. It knows token ids only.

A fixed number of slots decodes together. After every `steps` tokens the finished rows are taken out and new requests
put in, so no row waits for the longest one; which request goes where is `slots`' concern. What is computed is that of
`decode` for a decoder that leaves attention to its caller, and of `own_cache` for one that does not.

Same text however it is cut up: shapes are fixed, each row is computed by itself, and the random key of a token is a
function of (seed, model, problem id, sample index, position) alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence

import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Int, Key

from sweb_jax.models import sharding
from sweb_jax.models.decoder import CachedDecoder, Decoder, Params
from sweb_jax.sampling.batch import Batch
from sweb_jax.sampling.capacity import choose_slots
from sweb_jax.sampling.chunk import Stops
from sweb_jax.sampling.decode import completion_columns, place_columns
from sweb_jax.sampling.own_cache import PROMPT_TOKENS, OwnCache
from sweb_jax.sampling.request import Completion, Request, SamplingError
from sweb_jax.sampling.rule import Rule
from sweb_jax.sampling.shared_cache import SharedCache
from sweb_jax.sampling.slots import Slots, share


class Engine:
  """Draws completions from one model; parameters are given to each run, so that a changed model compiles nothing.

  Args:
    config: the decoder; a `CachedDecoder` reads the prefix anew for every prompt.
    mesh: slots are split over its `data` and `fsdp` axes.
    rule: how a token is drawn.
    stop_ids: tokens that end a completion.
    stop_table: of `stops.table`: a completion also ends where a stop string does.
    prompt_length: the longest prompt to expect, without the prefix.
    max_new_tokens: a completion is cut there.
    prefix: ids that come before every prompt, BOS first; may be empty.
    slots: rows decoded together; 0: as many as are of use and fit into the device's memory.
    steps: tokens a row draws between two looks at the batch.
    kernels: whether TPUs draw with the kernels of this package; else as XLA does it by itself.
  """

  def __init__(
    self,
    config: Decoder,
    mesh: Mesh,
    rule: Rule,
    *,
    stop_ids: Sequence[int],
    stop_table: Int[np.ndarray, 'Q V'] | None = None,
    prompt_length: int,
    max_new_tokens: int,
    prefix: Sequence[int] = (),
    slots: int = 0,
    steps: int = 16,
    kernels: bool = True,
  ):
    if slots:
      sharding.check_rows(slots, mesh, 'slots')
    self._config, self._mesh, self._rule = config, mesh, rule
    everywhere = sharding.replicated(mesh)
    self._stops = Stops(
      sharding.put(np.asarray(tuple(stop_ids), np.int32), everywhere),
      None if stop_table is None else sharding.put(stop_table, everywhere),
    )
    self._prompt_length = prompt_length
    self._max_new = max_new_tokens
    self._prefix = tuple(prefix)
    self._slots = slots
    self._steps = steps
    self._kernels = kernels
    self._own_cache = isinstance(config, CachedDecoder)

  def run(
    self, params: Params, requests: Iterable[Request], *, key: Key[Array, '']
  ) -> Iterator[Completion]:
    """Draws every request.

    Args:
      params: parameters, on the engine's mesh.
      requests: what to draw. The samples of one problem share the work on their prompt.
      key: of the run: a function of the seed and the model.

    Yields:
      Completions, in the order in which they finish. What the caller does with them runs beside the device.

    Raises:
      SamplingError: an empty or too long prompt, an id outside the vocabulary, or logits that are not numbers.
    """
    requests = list(requests)
    for r in {id(r.prompt): r for r in reversed(requests)}.values():  # Samples of one problem share a prompt.
      self._check_prompt(r)
    for r in requests:
      if r.limit is not None and not 1 <= r.limit <= self._max_new:
        raise SamplingError(
          f'problem {r.problem_id!r}, sample {r.index}: its limit of {r.limit} tokens is not from 1 to '
          f'max_new_tokens={self._max_new}'
        )
    if not requests:
      return
    prefix = self._prefix
    if self._own_cache:
      requests = [dataclasses.replace(r, prompt=prefix + r.prompt) for r in requests]
      prefix = ()
    width = bucket(self._prompt_length + len(self._prefix) - len(prefix))
    columns = completion_columns(self._max_new, self._steps, self._mesh)
    count = self._slots or choose_slots(
      self._config,
      self._mesh,
      requests=len(requests),
      columns=(width if self._own_cache else place_columns(width, 1, self._mesh)) + columns,
      itemsize=jax.tree.leaves(params)[0].dtype.itemsize,
    )
    prompts = len({r.prompt for r in requests})
    samples = 1 if self._own_cache else len(requests) // prompts  # In its own cache each slot reads its prompt.
    length, tokens = (width, PROMPT_TOKENS) if self._own_cache else (self._prompt_length, 0)
    block, places, prompts_at_once = share(
      prompts, samples, count, ways=sharding.ways(self._mesh), prompt_length=length, tokens=tokens
    )
    slots = Slots(
      requests,
      slots=count,
      block=block,
      places=places,
      at_least=prompts_at_once,
      limit=self._max_new,
    )
    common = dict(slots=count, prompt_columns=width, completion_columns=columns)
    if self._own_cache:
      cache = OwnCache(params, self._config, self._mesh, **common)
    else:
      ids = np.asarray(prefix, np.int32)
      common |= dict(block=block, places=places, kernels=self._kernels)
      cache = SharedCache(params, self._config, self._mesh, prefix_ids=ids, **common)
    batch = Batch(count, columns, self._steps)
    finished: list[Completion] = []
    while True:
      # The last id of a prompt is not computed here but fed to the first decode step, which then draws.
      begun = [(prompt[:-1], place) for prompt, place in slots.assign() if len(prompt) > 1]
      for slot in slots.filled:
        batch.begin(slot, slots.rows[slot])
      for i in range(0, len(begun), prompts_at_once):
        cache.prefill(params, *_padded(begun[i : i + prompts_at_once], prompts_at_once))
      if not slots.live:
        break
      drawn = cache.decode(params, batch.rows(), key, self._stops, steps=self._steps, rule=self._rule)
      yield from finished  # The device works while the caller does.
      ended = batch.take(jax.device_get(drawn))
      finished = [batch.completion(slot, slots.rows[slot].request) for slot in ended]
      for slot in ended:
        slots.release(slot)
    yield from finished

  def _check_prompt(self, r: Request) -> None:
    where = f'problem {r.problem_id!r}, sample {r.index}'
    if not r.prompt:
      raise SamplingError(f'{where}: the prompt is empty')
    if len(r.prompt) > self._prompt_length:
      raise SamplingError(
        f'{where}: the prompt has {len(r.prompt)} tokens, the engine was built for {self._prompt_length}'
      )
    top = self._config.vocab_size
    if min(r.prompt) < 0 or max(r.prompt) >= top:
      raise SamplingError(f'{where}: the prompt has ids outside the vocabulary of {top}; is it the right tokenizer?')


def _padded(
  prompts: Sequence[tuple[tuple[int, ...], int]], count: int
) -> tuple[Int[np.ndarray, 'R L'], Int[np.ndarray, R]]:
  """Prompts and their places as arrays of `count` rows; the first is repeated where there are fewer."""
  tokens = np.zeros((count, bucket(max(len(ids) for ids, _ in prompts))), np.int32)
  targets = np.full(count, prompts[0][1], np.int32)
  tokens[:, : len(prompts[0][0])] = prompts[0][0]
  for row, (ids, place) in enumerate(prompts):
    tokens[row] = 0
    tokens[row, : len(ids)], targets[row] = ids, place
  return tokens, targets


def bucket(length: int) -> int:
  """The padded length of a prompt: 16, 24, 32, 48, 64, 96, ...: few shapes to compile, at most a third of padding."""
  size = 16
  while size < length:
    size = size * 3 // 2 if size & (size - 1) == 0 else size // 3 * 4
  return size
