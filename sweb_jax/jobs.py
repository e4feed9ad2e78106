"""What each job of a study does: it reads files of the workdir and writes files under its own folder.

    problems -> samples -> grades -> evaluate

The functions here turn fields of the config into arguments of the libraries. `drawing` has the models; `allocation` and
`fine_tuning` are jobs of their own, over these; which job runs when is `study`'s.
"""

from __future__ import annotations

import copy
import functools
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence

import jax
from etils import epath
from ml_collections import ConfigDict

from sweb_jax import budget, examples, records, tasks
from sweb_jax.budget import Arm, Ledger, Prompts
from sweb_jax.config import ConfigError, rules_of
from sweb_jax.drawing import Drawing
from sweb_jax.models import sharding
from sweb_jax.models.decoder import Params
from sweb_jax.models.source import read_params
from sweb_jax.records import Problem, Sample, Verdict
from sweb_jax.runtime import files
from sweb_jax.runtime.hosts import DistributedError, Hosts
from sweb_jax.runtime.progress import Meter
from sweb_jax.sampling import Request, Store
from sweb_jax.tasks import grading
from sweb_jax.tasks.rendering import Renderer

BASE = 'base'
"""Source of a learner before fine-tuning."""


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
    self.drawing = Drawing(config, self.hosts)
    self.models = self.drawing.models
    priced = (*config.generators, *((config.judge.model,) if 'judge' in filters.values() else ()))
    self.costs = budget.costs(
      config.cost.name,
      {g: self.models[g].config for g in priced},
      prices=dict(config.cost.prices),
      seconds=dict(config.cost.seconds),
    )
    for split in tasks.SPLITS:  # Before any compute: raises TaskError where the task has not that many.
      self._choose(split, 0)

  def asking(self, task: tasks.Task) -> Jobs:
    """The same models, asked the problems of another task."""
    other = copy.copy(self)
    other.task = task
    return other

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
    ledger = self.ledger(folder, generator, problems, few_shot)
    if self.hosts.leads:
      ledger.settle()
    begun = time.monotonic()
    try:
      self._draw(folder, generator, None, problems, samples, question_set, meter, few_shot=few_shot)
    finally:
      if self.hosts.leads:
        ledger.settle(seconds=(time.monotonic() - begun) * self.drawing.train_mesh.size)

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
      dtype = jax.numpy.dtype(self.config.sampling.dtype)
      params = read_params(path, self.models[learner].config, self.drawing.mesh, dtype)
    few_shot = self.config.sampling.few_shot and source == BASE
    for name, count in (('greedy', 1), ('drawn', drawn)):
      if not count:
        continue
      greedy = name == 'greedy'
      store = self._draw(
        folder / name, learner, params, problems, count, question_set, meter, few_shot=few_shot, greedy=greedy
      )
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
    question_set: int,
    meter: Meter,
    *,
    few_shot: bool,
    greedy: bool = False,
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
      for sample in self.drawing.completions(
        model, question_set, renderer, requests, params=params, greedy=greedy, stop_strings=stop_strings
      ):
        if self.hosts.speaks:
          store.add(sample)
        meter.add(tokens=len(sample.tokens))
    finally:
      store.flush()  # Also what was finished before an error.
    self.hosts.barrier(f'drawn {self.job_name(folder)}')
    if self.hosts.count > 1 and (lack := count * len(problems) - sum(s.index < count for s in store.read())):
      raise DistributedError(f'{folder}: {lack} samples are missing; does an earlier run still write there?')
    return store

  def greedy(self, model: str, question_set: int, problems: Sequence[Problem], params: Params) -> list[Sample]:
    """Zero-shot completions of a fine-tuned model at temperature 0, one a problem."""
    renderer = self.renderer(model, few_shot=False)
    params = jax.tree.map(lambda x: x.astype(self.config.sampling.dtype), params)  # As it will be evaluated.
    params = sharding.to_sample_with(params, self.drawing.train_mesh)
    requests = [Request(p.id, 0, renderer.prompt(self.task.prompt(p))) for p in problems]
    return list(self.drawing.completions(model, question_set, renderer, requests, params=params, greedy=True))

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
    yield from self.drawing.completions(
      model, question_set, renderer, requests, greedy=True, stop_strings=stop_strings, max_new_tokens=max_new_tokens
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
    stop_strings = self._stop_strings(few_shot)
    yield from self.drawing.completions(
      generator, question_set, renderer, requests, stop_strings=stop_strings, prompt_length=prompt_length
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

  @functools.cache  # noqa: B019 (lives as long as the run)
  def renderer(self, model: str, few_shot: bool) -> Renderer:
    chat = model in self.config.chat
    return Renderer(self.models[model].tokenizer, self.task.few_shot() if few_shot else '', chat)


def in_order(problems: Sequence[Problem], samples: Iterable[Sample]) -> list[Sample]:
  """Samples by problem and index, whatever order they finished in."""
  place = {p.id: i for i, p in enumerate(problems)}
  samples = list(samples)
  if unknown := next((s.problem_id for s in samples if s.problem_id not in place), None):
    raise records.RecordError(f'a stored sample is of problem {unknown!r}, which is not asked; name another --workdir')
  return sorted(samples, key=lambda s: (place[s.problem_id], s.index))
