"""What each job of a study does: it reads files of the workdir and writes files under its own folder.

    problems -> samples -> grades -> evaluate

The functions here turn fields of the config into arguments of the libraries. `allocation` and `fine_tuning` are jobs of
their own, over these; which job runs when is `study`'s.
"""

from __future__ import annotations

import copy
import functools
import threading
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence

import jax
import numpy as np
from etils import epath
from jax.sharding import Mesh
from ml_collections import ConfigDict

from sweb_jax import budget, examples, records, tasks
from sweb_jax.budget import Arm, Ledger, Prompts
from sweb_jax.config import ConfigError, rules_of
from sweb_jax.models import checkpoint, sharding
from sweb_jax.models.source import Model, open_model, read_params
from sweb_jax.models.transformer import Params
from sweb_jax.records import Problem, Sample, Verdict
from sweb_jax.runtime import files
from sweb_jax.runtime.hosts import DistributedError, Hosts, Interrupted
from sweb_jax.runtime.progress import Meter
from sweb_jax.sampling import Engine, Request, Rule, Store, stops
from sweb_jax.tasks import grading
from sweb_jax.tasks.rendering import Renderer

BASE = 'base'
"""Source of a learner before fine-tuning."""


_TURNS = 16
"""Completions after which processes that draw together ask each other whether to stop."""


class Jobs:
  """The bodies of a study's jobs, and the models they share."""

  def __init__(self, config: ConfigDict, workdir: epath.PathLike, hosts: Hosts | None = None):
    self.config = config
    self.workdir = epath.Path(workdir)
    self.hosts = hosts or Hosts()
    self.task = tasks.get(config.task.name, data_dir=config.data_dir, world=config.task.world)
    if config.evaluate.maj_k and self.task.same is None:
      why = f'answers of {config.task.name} are programs, which are not counted as votes; leave it empty'
      raise ConfigError(f'config.evaluate.maj_k={config.evaluate.maj_k!r}: {why}')
    filters = {variant: rules_of(config, variant)['filter'] for variant in (None, *config.variants)}
    if 'majority' in filters.values() and self.task.same is None:
      field = next(f'variants.{v}' if v else 'data' for v, name in filters.items() if name == 'majority')
      why = f'answers of {config.task.name} are programs, which are not counted as votes; name another filter'
      raise ConfigError(f"config.{field}.filter='majority': {why}")
    self._variants = {name: _open_alike(name, source) for name, source in config.models.items()}
    self.models: dict[str, Model] = {name: variants[0] for name, variants in self._variants.items()}
    priced = (*config.generators, *((config.judge.model,) if 'judge' in filters.values() else ()))
    self.costs = budget.costs(
      config.cost.name,
      {g: self.models[g].config for g in priced},
      prices=dict(config.cost.prices),
      seconds=dict(config.cost.seconds),
    )
    self.identities = {name: [v.identity for v in variants] for name, variants in self._variants.items()}
    for name in config.chat:
      if self.models[name].tokenizer:
        self.models[name].tokenizer.turn_ids()  # Raises TokenizerError where there are none.
    for split in tasks.SPLITS:  # Before any compute: raises TaskError where the task has not that many.
      self._choose(split, 0)
    self.stop = self.hosts.stop
    self._loading = threading.Lock()
    self._params = functools.cache(self._load)  # Of this run; `asking` shares it.

  def asking(self, task: tasks.Task) -> Jobs:
    """The same models, asked the problems of another task."""
    other = copy.copy(self)
    other.task = task
    return other

  @functools.cached_property
  def train_mesh(self) -> Mesh:
    """Over the devices of all processes."""
    return sharding.make_mesh(**self.config.mesh)

  @functools.cached_property
  def mesh(self) -> Mesh:
    """What is drawn on: each process samples by itself, or with those that hold the rest of the model."""
    return sharding.sampling_mesh(self.train_mesh)

  def check_machine(self) -> None:
    """What a run needs and a plan does not: weights, and devices. Raises CheckpointError and MeshError."""
    for name, model in self.models.items():
      if model.tokenizer is None:
        raise checkpoint.CheckpointError(
          f'config.models.{name}={self.config.models[name]!r} is a shape without weights, which can only be '
          f'planned; give a folder with --config.models.{name}=DIR'
        )
    self.hosts.together = sharding.processes_a_copy(self.train_mesh)
    sharding.check_rows(self.config.engine.slots, self.mesh, 'config.engine.slots')

  # Problems, grades ---------------------------------------------------------------------------------------------------

  def write_problems(self, folder: epath.Path, question_set: int) -> None:
    """Chooses the problems of a question set."""
    for split in tasks.SPLITS:
      files.write_text(folder / f'{split}.jsonl', records.dumps(self._choose(split, question_set)))

  def _choose(self, split: str, question_set: int) -> list[Problem]:
    task = self.config.task
    return self.task.problems(split, task[split], self.config.seed + question_set, task.levels)

  def problems(self, question_set: int, split: str) -> list[Problem]:
    return list(records.read(Problem, self.workdir / f'problems/set{question_set}/{split}.jsonl'))

  def grade(self, problems: Sequence[Problem], samples: Iterable[Sample]) -> list[Verdict]:
    """Verdicts in the order of the samples."""
    by_id = {p.id: p for p in problems}
    return tasks.verdicts(self.task, ((by_id[s.problem_id], s) for s in samples))

  def _grade_for_report(self, problems: Sequence[Problem], samples: Iterable[Sample]) -> list[Verdict]:
    """The same, with second opinions where the config and the task have them."""
    verdicts = self.grade(problems, samples)
    if self.config.grading.second_opinion and self.task.second_opinion:
      verdicts = grading.add_second_opinions(problems, verdicts)
    return verdicts

  def _grade_together(self, file: epath.Path, problems: Sequence[Problem], samples: Sequence[Sample]) -> list[Verdict]:
    """The same on all processes, each its problems; process 0 has the verdicts, and is to write them to `file`."""
    if self.hosts.count == 1:
      return self._grade_for_report(problems, samples)
    mine = self._grade_for_report(problems, [s for s in samples if self.hosts.mine(s.problem_id)])
    lines = self.hosts.exchange(file, records.dumps(mine)).encode().splitlines()
    found = {(v.problem_id, v.index): v for v in (records.from_json(Verdict, line) for line in lines)}
    return [found[s.problem_id, s.index] for s in samples] if self.hosts.leads else []

  def write_grades(self, folder: epath.Path, question_set: int, generator: str, arms: Sequence[Arm]) -> None:
    """Verdicts on a generator's samples, and the examples that each of its arms keeps."""
    problems = self.problems(question_set, 'train')
    samples = in_order(problems, Store(self.workdir / f'samples/set{question_set}/{generator}').read())
    verdicts = self._grade_together(folder.parent / f'{generator}.jsonl', problems, samples)
    if not self.hosts.leads:
      return
    if self.task.same is not None:
      verdicts = grading.add_votes(self.task.same, problems, verdicts)
    files.write_text(folder.parent / f'{generator}.jsonl', records.dumps(verdicts))
    examples.write(folder, self, generator, arms, problems, samples, verdicts)

  # Sampling -----------------------------------------------------------------------------------------------------------

  def draw(
    self, folder: epath.Path, question_set: int, generator: str, samples: int, meter: Meter
  ) -> None:
    """Draws a generator's samples for the training problems; what the folder has is not drawn again."""
    problems = self.problems(question_set, 'train')
    few_shot = self.config.sampling.few_shot
    rule = self._rule(generator)
    ledger = self.ledger(folder, generator, problems, few_shot)
    if self.hosts.leads:
      ledger.settle()
    begun = time.monotonic()
    try:
      self._draw(folder, generator, None, problems, samples, rule, question_set, meter, few_shot)
    finally:
      if self.hosts.leads:
        ledger.settle(seconds=(time.monotonic() - begun) * self.train_mesh.size)

  def evaluate(
    self, folder: epath.Path, question_set: int, learner: str, source: str, meter: Meter
  ) -> None:
    """Greedy and drawn completions of the test problems, with their verdicts."""
    self.answer(folder, question_set, learner, source, meter, 'test', max(self.config.evaluate.maj_k, default=0))

  def answer(
    self, folder: epath.Path, question_set: int, learner: str, source: str, meter: Meter, split: str, drawn: int
  ) -> None:
    """The same for any problems of the question set, with `drawn` completions at temperature."""
    problems = self.problems(question_set, split)
    params = None
    if source != BASE:
      path = self.workdir / f'train/set{question_set}/{learner}/{source}/best'
      params = read_params(path, self.models[learner].config, self.mesh, jax.numpy.dtype(self.config.sampling.dtype))
    few_shot = self.config.sampling.few_shot and source == BASE
    for name, rule, count in (('greedy', self._rule(learner, 0.0), 1), ('drawn', self._rule(learner), drawn)):
      if not count:
        continue
      store = self._draw(folder / name, learner, params, problems, count, rule, question_set, meter, few_shot)
      samples = in_order(problems, store.read())
      verdicts = self._grade_together(folder / f'{name}.verdicts.jsonl', problems, samples)
      if not self.hosts.leads:
        continue
      files.write_text(folder / f'{name}.jsonl', records.dumps(samples))
      self.ledger(folder, learner, problems, few_shot, kind='evaluation').settle(f'{name}.jsonl')
      if name == 'drawn':
        verdicts = grading.add_votes(self.task.same, problems, verdicts)
      files.write_text(folder / f'{name}.verdicts.jsonl', records.dumps(verdicts))
    for name in ('greedy', 'drawn'):  # The chunks, now that their samples stand in one file each.
      if self.hosts.leads and (folder / name).exists():
        (folder / name).rmtree()

  def _draw(
    self,
    folder: epath.Path,
    model: str,
    params: Params | None,
    problems: Sequence[Problem],
    count: int,
    rule: Rule,
    question_set: int,
    meter: Meter,
    few_shot: bool,
  ) -> Store:
    """Draws what is missing of `count` samples a problem into the folder's store; each process draws its problems."""
    store = Store(folder, self.hosts.prefix)
    have = {(s.problem_id, s.index) for s in store.read()}
    self.hosts.meet(f'read {self.job_name(folder)}')
    meter.skip(sum(self.hosts.mine(p) for p, _ in have))
    renderer = self.renderer(model, few_shot)
    requests = [
      Request(p.id, i, renderer.prompt(self.task.prompt(p)))
      for p in problems
      for i in range(count)
      if self.hosts.mine(p.id) and (p.id, i) not in have
    ]
    stop_strings = self._stop_strings(few_shot) if params is None else ()  # A fine-tuned model ends by itself.
    try:
      for sample in self._completions(model, params, renderer, requests, rule, question_set, stop_strings):
        if self.hosts.speaks:
          store.add(sample)
        meter.add(tokens=len(sample.tokens))
    finally:
      store.flush()  # Also what was finished before an error.
    self.hosts.barrier(f'drawn {self.job_name(folder)}')
    if self.hosts.count > 1 and (lack := count * len(problems) - sum(s.index < count for s in store.read())):
      raise DistributedError(f'{folder}: {lack} samples are missing; does an earlier run still write there?')
    return store

  def _completions(
    self, model, params, renderer, requests, rule, question_set, stop_strings=(), prompt_length=0, max_new_tokens=0
  ) -> Iterable[Sample]:
    params = self.params(model, question_set, self.config.sampling.dtype) if params is None else params
    # The key of a run is that of the model and question set; the engine folds in problem, sample and position.
    key = jax.random.fold_in(jax.random.key(self.config.seed + question_set), zlib.crc32(model.encode()))
    prompt_length = prompt_length or max((len(r.prompt) for r in requests), default=1)
    engine = self.engine(model, renderer, rule, prompt_length, stop_strings, max_new_tokens)
    for n, c in enumerate(engine.run(params, requests, key=key)):
      self._check_together(n)
      self.hosts.progressed()
      text = renderer.text(c.tokens, stop_strings)
      yield Sample(c.problem_id, c.index, text, c.tokens, c.finish, round(c.logprob, 4))

  def greedy(self, model: str, question_set: int, problems: Sequence[Problem], params: Params) -> list[Sample]:
    """Zero-shot completions of a fine-tuned model at temperature 0, one a problem."""
    renderer = self.renderer(model, few_shot=False)
    params = sharding.to_sample_with(params, self.train_mesh)
    params = jax.tree.map(lambda x: x.astype(self.config.sampling.dtype), params)  # As it will be evaluated.
    requests = [Request(p.id, 0, renderer.prompt(self.task.prompt(p))) for p in problems]
    return list(self._completions(model, params, renderer, requests, self._rule(model, 0.0), question_set))

  def reply(
    self,
    model: str,
    question_set: int,
    renderer: Renderer,
    requests: Sequence[Request],
    stop_strings: tuple[str, ...],
    max_new_tokens: int,
  ) -> Iterable[Sample]:
    """Completions at temperature 0 of any prompts, by a model that was not fine-tuned."""
    yield from self._completions(
      model, None, renderer, requests, self._rule(model, 0.0), question_set, stop_strings, max_new_tokens=max_new_tokens
    )

  def draw_round(
    self,
    generator: str,
    question_set: int,
    problems: Mapping[str, Problem],
    wanted: Sequence[tuple[str, int]],
    prompt_length: int,
  ) -> Iterator[Sample]:
    """Draws samples (problem id, index); with the same `prompt_length`, later rounds compile nothing."""
    few_shot = self.config.sampling.few_shot
    renderer = self.renderer(generator, few_shot)
    requests = [Request(p, i, renderer.prompt(self.task.prompt(problems[p]))) for p, i in wanted]
    stop_strings, rule = self._stop_strings(few_shot), self._rule(generator)
    yield from self._completions(
      generator, None, renderer, requests, rule, question_set, stop_strings, prompt_length
    )

  def _stop_strings(self, few_shot: bool) -> tuple[str, ...]:
    """What ends a completion of a model that was not fine-tuned."""
    return self.task.stop_strings if few_shot else self.task.zero_shot_stop_strings

  # What is charged ----------------------------------------------------------------------------------------------------

  def prompts(self, model: str, problems: Sequence[Problem], few_shot: bool) -> dict[str, Prompts]:
    """Tokens read before the samples of each problem."""
    renderer = self.renderer(model, few_shot)
    prefix, shared = len(renderer.prefix), self.config.cost.share_prefix
    return {p.id: Prompts(prefix, len(renderer.prompt(self.task.prompt(p))), shared) for p in problems}

  def ledger(
    self,
    folder: epath.Path,
    model: str,
    problems: Sequence[Problem],
    few_shot: bool,
    *,
    kind: str = 'completion',
    first: int = 0,
  ) -> Ledger:
    """The ledger of a job's folder; `first` is the lowest index that is drawn there."""
    prompts = self.prompts(model, problems, few_shot)
    return Ledger(folder, job=self.job_name(folder), model=model, prompts=prompts, kind=kind, first=first)

  def job_name(self, folder: epath.Path) -> str:
    """The folder's place in the workdir."""
    return str(folder.relative_to(self.workdir)) if folder.is_relative_to(self.workdir) else folder.name

  # What jobs share ----------------------------------------------------------------------------------------------------

  def check(self) -> None:
    """Raises Interrupted once the run was asked to stop."""
    if self.stop.is_set():
      raise Interrupted

  def _check_together(self, turn: int) -> None:
    """The same at the same turn on processes that draw together, as one cannot go on alone."""
    if self.hosts.together == 1:
      self.check()
    elif turn % _TURNS == 0 and sharding.least(not self.stop.is_set(), self.mesh) < 1:
      raise Interrupted

  def params(self, model: str, question_set: int, dtype: str = 'float32') -> Params:
    """A model's parameters before fine-tuning, read once; question sets take its variants in turn."""
    with self._loading:
      return self._params(model, question_set % len(self._variants[model]), dtype)

  def params_to_train(self, model: str, question_set: int) -> Params:
    """The same on the mesh of all processes."""
    if self.hosts.count == 1:
      return self.params(model, question_set)
    return self._variants[model][question_set % len(self._variants[model])].load(self.train_mesh)

  def _load(self, model: str, variant: int, dtype: str) -> Params:
    return self._variants[model][variant].load(self.mesh, jax.numpy.dtype(dtype))

  @functools.cache  # noqa: B019 (lives as long as the run)
  def renderer(self, model: str, few_shot: bool) -> Renderer:
    chat = model in self.config.chat
    return Renderer(self.models[model].tokenizer, self.task.few_shot() if few_shot else '', chat)

  def engine(
    self,
    model: str,
    renderer: Renderer,
    rule: Rule,
    prompt_length: int,
    stop_strings: tuple[str, ...] = (),
    max_new_tokens: int = 0,
  ) -> Engine:
    return Engine(
      self.models[model].config,
      self.mesh,
      rule,
      stop_ids=renderer.stop_ids,
      stop_table=self._stop_table(model, stop_strings) if stop_strings else None,
      prompt_length=prompt_length,
      max_new_tokens=max_new_tokens or self.config.sampling.max_new_tokens,
      prefix=renderer.prefix,
      slots=self.config.engine.slots,
      steps=self.config.engine.steps,
    )

  @functools.cache  # noqa: B019
  def _stop_table(self, model: str, stop_strings: tuple[str, ...]) -> np.ndarray:
    pieces = self.models[model].tokenizer.pieces()
    unused = [b''] * (self.models[model].config.vocab_size - len(pieces))
    return stops.table([*pieces, *unused], stop_strings)

  def _rule(self, model: str, temperature: float | None = None) -> Rule:
    """The config's sampling rule, or another temperature's. PAD, BOS and rows without a piece are never drawn."""
    s, tokenizer = self.config.sampling, self.models[model].tokenizer
    unused = range(tokenizer.vocab_size, self.models[model].config.vocab_size)
    forbidden = (tokenizer.pad_id, tokenizer.bos_id, *unused)
    if temperature is not None:
      return Rule(temperature, forbidden=forbidden)
    return Rule(s.temperature, s.top_k, s.top_p, forbidden)


def _open_alike(name: str, source: str | Sequence[str]) -> tuple[Model, ...]:
  """Opens a model's variants: the same architecture and tokenizer, other parameters. Raises CheckpointError."""
  sources = (source,) if isinstance(source, str) else tuple(source)
  variants = tuple(open_model(s) for s in sources)
  for s, v in zip(sources, variants, strict=True):
    if (v.config, v.tokenizer) != (variants[0].config, variants[0].tokenizer):
      raise checkpoint.CheckpointError(f'config.models.{name}: {s} has another shape or tokenizer than {sources[0]}')
  return variants


def in_order(problems: Sequence[Problem], samples: Iterable[Sample]) -> list[Sample]:
  """Samples by problem and index, whatever order they finished in."""
  place = {p.id: i for i, p in enumerate(problems)}
  samples = list(samples)
  if unknown := next((s.problem_id for s in samples if s.problem_id not in place), None):
    raise records.RecordError(f'a stored sample is of problem {unknown!r}, which is not asked; name another --workdir')
  return sorted(samples, key=lambda s: (place[s.problem_id], s.index))

