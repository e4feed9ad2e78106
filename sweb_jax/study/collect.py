"""How models are asked, and how what they write is kept: the one way for samples, policies, judges and scores."""

from __future__ import annotations

import dataclasses
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import jax
from etils import epath

from sweb_jax import layout
from sweb_jax.budget import Ledger, Prompts
from sweb_jax.models import sharding
from sweb_jax.models.decoder import Params
from sweb_jax.records import Sample
from sweb_jax.runtime import files
from sweb_jax.runtime.by_problem import ByProblem
from sweb_jax.runtime.hosts import DistributedError, Interrupted
from sweb_jax.sampling import Engine, Request, Rule, Store
from sweb_jax.study.context import Context
from sweb_jax.tasks.rendering import Renderer

_TURNS = 16
"""Completions after which processes that draw together ask each other whether to stop."""


@dataclasses.dataclass(frozen=True)
class Asked:
  """Who is asked, and how."""

  model: str
  """Name in `config.models`."""
  name: str
  """Under which it draws: it decides on the random keys."""
  question_set: int
  """Decides on the model's variant."""
  seed: int
  """Of the question set."""
  renderer: Renderer
  max_new_tokens: int
  dtype: str
  """Of weights and caches."""
  temperature: float = 0.0
  """0: the likeliest token always."""
  top_k: int = 0
  top_p: float = 1.0
  stop_strings: tuple[str, ...] = ()
  """End a completion, and are cut off."""


@dataclasses.dataclass(frozen=True)
class Kept:
  """Where completions are kept, and how they are charged."""

  folder: epath.Path
  read: Mapping[str, Prompts]
  """Problem id -> what is read before its samples."""
  kind: str = 'completion'
  """Of the drawn tokens, of `budget.KINDS`."""
  first: int = 0
  """The lowest index that is drawn here: with it a problem's prompt is charged."""
  counted: bool = True
  """A completion moves the stage's meter."""


def complete(
  context: Context,
  asked: Asked,
  requests: Sequence[Request],
  params: Params | None,
  prompt_length: int = 0,
) -> Iterator[Sample]:
  """Draws every request, in the order in which they finish.

  Args:
    context: the models, and where they lie.
    asked: who is asked.
    requests: what to draw.
    params: of the model, on its `context.mesh`; None where there is no request.
    prompt_length: the longest prompt to expect; with the same one, later calls compile nothing; 0: the longest here.

  Raises:
    Interrupted: the run was asked to stop.
  """
  if not requests:
    return
  # The key of a run is that of the model and question set; the engine folds in problem, sample and position.
  key = jax.random.fold_in(jax.random.key(asked.seed), zlib.crc32(asked.name.encode()))
  engine = _engine(context, asked, prompt_length or max(len(r.prompt) for r in requests))
  for n, c in enumerate(engine.run(params, requests, key=key)):
    _check_together(context, asked.model, n)
    context.hosts.progressed()
    text = asked.renderer.text(c.tokens, asked.stop_strings)
    yield Sample(c.problem_id, c.index, text, c.tokens, c.finish, round(c.logprob, 4))


def collect(
  context: Context,
  asked: Asked,
  kept: Kept,
  prompts: Mapping[str, tuple[int, ...]],
  wanted: Iterable[tuple[str, int]],
  *,
  params: Params | None = None,
  prompt_length: int = 0,
) -> ByProblem[Sample]:
  """Draws what is missing of the wanted samples, stores and charges it; returns all that are in the store.

  Processes that draw as one draw for the same problems, and each writes what is drawn for its own. What was finished
  before an error is stored and charged.

  Args:
    context: the models, and where they lie.
    asked: who is asked.
    kept: where samples are stored.
    prompts: problem id -> ids after the shared prefix.
    wanted: (problem id, index) of each sample.
    params: of the model, on its `context.mesh`; None: as they are before fine-tuning.
    prompt_length: as in `complete`.

  Raises:
    Interrupted: the run was asked to stop.
    DistributedError: samples of other processes are not there.
  """

  def drawn(missing: Sequence[tuple[str, int]]) -> Iterator[list[Sample]]:
    # Reading weights is a meeting of all processes: one for whose problems nothing is missing must come to it too.
    read = context.params(asked.model, asked.question_set, asked.dtype) if params is None else params
    requests = [Request(p, i, prompts[p]) for p, i in missing]
    for sample in complete(context, asked, requests, read, prompt_length):
      yield [sample]

  return keep(context, kept, asked.name, wanted, drawn)


def keep(
  context: Context,
  kept: Kept,
  name: str,
  wanted: Iterable[tuple[str, int]],
  source: Callable[[Sequence[tuple[str, int]]], Iterable[list[Sample]]],
  *,
  all_there: bool = True,
  elsewhere: bool = False,
) -> ByProblem[Sample]:
  """Stores and charges what a source gives of the wanted samples that are missing; returns all that are in the store.

  Args:
    context: the processes.
    kept: where samples are stored.
    name: who is charged.
    wanted: (problem id, index) of each sample.
    source: of those that are missing of this process's own problems to the samples, some at a time.
    all_there: a sample that is missing in the end is an error.
    elsewhere: other machines drew them: what the source gives is on disk before it is asked for more, as it cannot be
      had again for nothing, and no time of this machine is charged.
  """
  hosts, wanted = context.hosts, list(wanted)
  place = str(kept.folder.relative_to(context.root))
  store = Store(kept.folder, hosts.prefix)
  ledger = Ledger(kept.folder, job=place, model=name, prompts=kept.read, kind=kept.kind, first=kept.first)
  if hosts.leads:
    ledger.settle()
    write_prompts(kept, name)
  have = store.by_problem()
  hosts.meet(f'read {place}')
  missing = _missing(have, wanted)
  problems = dict.fromkeys(p for p, _ in wanted)
  mine, ours = ({p: of(p) for p in problems} for of in (hosts.mine, hosts.ours))
  if kept.counted:
    context.meter.skip(sum(mine[p] for p, _ in wanted) - sum(mine[p] for p, _ in missing))
  begun = time.monotonic()
  try:
    for samples in source([sample for sample in missing if ours[sample[0]]]) if missing else ():
      for sample in samples:
        if mine[sample.problem_id]:
          store.add(sample)
          context.meter.add(int(kept.counted), tokens=len(sample.tokens))
      if elsewhere:
        store.flush()
    store.flush()
    hosts.barrier(f'drawn {place}')
  finally:
    store.flush()
    if hosts.leads and missing:
      ledger.settle(seconds=0.0 if elsewhere else (time.monotonic() - begun) * context.train_mesh().size)
  if missing:
    have = store.by_problem()
  if all_there and (lack := len(_missing(have, missing))):
    raise DistributedError(f'{kept.folder}: {lack} samples are missing; does an earlier run still write there?')
  return have


def _missing(have: ByProblem[Sample], wanted: Sequence[tuple[str, int]]) -> list[tuple[str, int]]:
  """Those of (problem id, index) that are not there."""
  there = {p: set(have.indices(p)) for p in dict.fromkeys(p for p, _ in wanted)}
  return [sample for sample in wanted if sample[1] not in there[sample[0]]]


def write_prompts(kept: Kept, model: str) -> None:
  """Leaves behind what was read, for who counts the cost; problems that were asked before stay in it."""
  path = kept.folder / layout.PROMPTS
  known = files.read_json(path).get('prompts', {}) if path.exists() else {}
  asked = {name: p.prompt for name, p in kept.read.items()}
  if asked.items() <= known.items():
    return
  like = next(iter(kept.read.values()))
  said = {'model': model, 'prefix': like.prefix, 'each': like.each, 'prompts': known | asked}
  files.write_json(path, said, indent=None)


def _engine(context: Context, asked: Asked, prompt_length: int) -> Engine:
  model = context.model(asked.model)
  return Engine(
    model.config,
    context.mesh(asked.model),
    _rule(context, asked),
    stop_ids=asked.renderer.stop_ids,
    stop_table=context.stop_table(asked.model, asked.stop_strings) if asked.stop_strings else None,
    prompt_length=prompt_length,
    max_new_tokens=asked.max_new_tokens,
    prefix=asked.renderer.prefix,
    slots=context.slots,
    steps=context.steps,
    kernels=context.kernels,
  )


def _rule(context: Context, asked: Asked) -> Rule:
  """PAD, BOS and rows without a piece are never drawn."""
  model = context.model(asked.model)
  unused = range(model.tokenizer.vocab_size, model.config.vocab_size)
  forbidden = (model.tokenizer.pad_id, model.tokenizer.bos_id, *unused)
  return Rule(asked.temperature, asked.top_k, asked.top_p, forbidden)


def _check_together(context: Context, model: str, turn: int) -> None:
  """Raises Interrupted once the run was asked to stop: at the same turn where processes draw together."""
  if context.hosts.together == 1:
    context.check()
  elif turn % _TURNS == 0 and sharding.least(not context.hosts.stop.is_set(), context.mesh(model)) < 1:
    raise Interrupted
