"""The job that spends a budget as a policy decides: rounds of draw, grade, decide.

What `samples/` holds already is taken from there; what a policy wants beyond it is drawn into stores of its own. Every
decision follows from the samples alone, so a run that was killed goes the same way again and finds its samples there.
"""

from __future__ import annotations

import collections
import dataclasses
import json
import time
from collections.abc import Iterable, Mapping, Sequence

from absl import logging
from etils import epath

from sweb_jax import budget, records
from sweb_jax.budget import Arm, Ask, Outcome, Policy, Prompts
from sweb_jax.jobs import Jobs, in_order
from sweb_jax.records import Example, Problem, Sample, Verdict
from sweb_jax.runtime import files
from sweb_jax.runtime.progress import Meter
from sweb_jax.sampling import Store
from sweb_jax.tasks import grading
from sweb_jax.training import select

Graded = tuple[Sample, Verdict]


def run(
  folder: epath.Path,
  jobs: Jobs,
  question_set: int,
  arm: Arm,
  policy: Policy,
  amount: float | str,
  whole: Mapping[str, int],
  meter: Meter,
) -> None:
  """Spends an arm's budget, and writes what the arm holds, what it keeps and what it was charged.

  Args:
    folder: of the job.
    jobs: draws and grades.
    question_set: number of the set.
    arm: the arm.
    policy: its policy.
    amount: the budget, in samples where the arm has a number of them; or a file below the workdir with what another
      arm was charged, to spend the same.
    whole: generator -> samples of every problem in `samples/`.
    meter: moved by one.
  """
  problems = jobs.problems(question_set, 'train')
  config, few_shot = jobs.config, jobs.config.sampling.few_shot
  cost = None if arm.samples is not None else jobs.costs[config.cost.name]
  if isinstance(amount, str):
    amount = json.loads((jobs.workdir / amount).read_text())['spent'][cost.name]
  prompts = {g: jobs.prompts(g, problems, few_shot) for g in policy.generators}
  drawn = {
    g: _Drawn(jobs, folder / g, g, question_set, problems, prompts[g], whole.get(g, 0), meter)
    for g in policy.generators
  }

  def draw(asks: Sequence[Ask]) -> list[Outcome]:
    for g, d in drawn.items():
      d.complete([(a.problem, a.index) for a in asks if a.generator == g])
    found = [drawn[a.generator].have[a.problem, a.index] for a in asks]
    return [Outcome(len(s.tokens), v.correct) for s, v in found]

  spent = budget.allocate(
    policy,
    [p.id for p in problems],
    budget=amount,
    cost=cost,
    prompts=prompts,
    tokens=dict.fromkeys(policy.generators, config.estimate.completion_tokens),
    seed=config.seed + question_set,
    draw=draw,
  )
  if not jobs.hosts.leads:
    return
  held = {g: [drawn[g].have[a.problem, a.index] for a in spent.samples if a.generator == g] for g in policy.generators}
  for g, rows in held.items():
    samples = in_order(problems, (s for s, _ in rows))
    verdicts = {(v.problem_id, v.index): v for _, v in rows}
    files.write_text(folder / f'{g}.jsonl', records.dumps(samples))
    files.write_text(folder / f'{g}.verdicts.jsonl', records.dumps(verdicts[s.problem_id, s.index] for s in samples))
  examples, counts = _examples(jobs, problems, held)
  files.write_text(folder / 'examples.jsonl', records.dumps(examples))
  files.write_json(folder / 'rules.json', counts)
  unit = cost.unit if cost else 'samples'
  said = {'budget': amount, 'unit': unit, 'charged': spent.total, 'overshoot': spent.overshoot, 'rounds': spent.rounds}
  said |= budget.charges(jobs.costs, {g: [s for s, _ in rows] for g, rows in held.items()}, prompts)
  files.write_json(folder / 'charge.json', said)
  logging.info(
    '%s, question set %d: spent %.5g of %.5g %s in %d rounds, %.2g too much',
    arm.name, question_set, spent.total, amount, unit, spent.rounds, spent.overshoot,
  )  # fmt: skip
  meter.add()


def _examples(
  jobs: Jobs, problems: Sequence[Problem], held: Mapping[str, Sequence[Graded]]
) -> tuple[list[Example], dict[str, int]]:
  """What an arm keeps. Samples of several generators are numbered through, the first generator's first."""
  count: collections.Counter[str] = collections.Counter()
  samples, verdicts = [], []
  for rows in held.values():
    for s, v in sorted(rows, key=lambda row: row[0].index):
      samples.append(dataclasses.replace(s, index=count[s.problem_id]))
      verdicts.append(dataclasses.replace(v, index=count[s.problem_id]))
      count[s.problem_id] += 1
  keep = jobs.config.data.filter
  if keep == 'majority':
    verdicts = grading.add_votes(jobs.task.same, problems, verdicts)  # Over all that the arm holds of a problem.
  return select(
    problems,
    {p.id: jobs.task.prompt(p) for p in problems},
    samples,
    verdicts,
    first=len(samples),
    max_per_problem=jobs.config.data.max_per_problem,
    dedupe=jobs.config.data.dedupe,
    keep=keep,
  )


class _Drawn:
  """A generator's graded samples for one arm: the workdir's, and what the arm has drawn beyond them."""

  def __init__(
    self,
    jobs: Jobs,
    folder: epath.Path,
    generator: str,
    question_set: int,
    problems: Sequence[Problem],
    prompts: Mapping[str, Prompts],
    whole: int,
    meter: Meter,
  ):
    self._jobs, self._generator, self._set, self._meter = jobs, generator, question_set, meter
    self._problems = {p.id: p for p in problems}
    self._longest = max(p.prompt for p in prompts.values())
    self.have: dict[tuple[str, int], Graded] = {}
    """(problem id, index) to sample and verdict."""
    if whole:
      grades = records.read(Verdict, jobs.workdir / f'grades/set{question_set}/{generator}.jsonl')
      verdicts = {(v.problem_id, v.index): v for v in grades}
      for s in Store(jobs.workdir / f'samples/set{question_set}/{generator}').read():
        self.have[s.problem_id, s.index] = s, verdicts[s.problem_id, s.index]
    self._store = Store(folder, jobs.hosts.prefix)
    self._ledger = jobs.ledger(folder, generator, problems, jobs.config.sampling.few_shot, first=whole)
    if jobs.hosts.leads:
      self._ledger.settle()
    self._take(self._store.read())

  def complete(self, wanted: Sequence[tuple[str, int]]) -> None:
    """Draws and grades those of (problem id, index) that are not there."""
    missing = [w for w in wanted if w not in self.have]
    if not missing:
      return
    hosts, begun = self._jobs.hosts, time.monotonic()
    mine = [(p, i) for p, i in missing if hosts.mine(p)]
    hosts.meet(f'next round of {self._generator}')
    try:
      for s in self._jobs.draw_round(self._generator, self._set, self._problems, mine, self._longest):
        if hosts.speaks:
          self._store.add(s)
        self._meter.add(0, tokens=len(s.tokens))
      self._store.flush()
      hosts.barrier(f'round of {self._generator}')
    finally:
      self._store.flush()  # Also what was finished before an error.
      if hosts.leads:
        self._ledger.settle(seconds=(time.monotonic() - begun) * self._jobs.drawing.train_mesh.size)
    self._take(s for s in self._store.read() if (s.problem_id, s.index) not in self.have)

  def _take(self, samples: Iterable[Sample]) -> None:
    samples = list(samples)
    verdicts = self._jobs.grade(list(self._problems.values()), samples)
    self.have |= {(s.problem_id, s.index): (s, v) for s, v in zip(samples, verdicts, strict=True)}
