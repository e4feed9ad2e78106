"""Reads a finished workdir into plain arrays.

    plan/plan.json  problems/  samples/  grades/  train/*/selection.json  evaluate/

Rows are reduced to arrays while they are read, so that a study of millions of tokens fits in memory.
"""

from __future__ import annotations

import collections
import dataclasses
import json
from collections.abc import Iterable
from typing import Any

import numpy as np
from etils import epath

from sweb_jax import budget, records
from sweb_jax.analysis import metrics
from sweb_jax.analysis.draws import Draws
from sweb_jax.analysis.held import Held, read_held
from sweb_jax.budget import Arm, Comparison
from sweb_jax.records import Problem, Sample, Verdict

BASE = 'base'
"""The source of a learner that was not fine-tuned."""


class AnalysisError(ValueError):
  """The workdir does not hold what a report needs; the message names the file and the stage to run."""


@dataclasses.dataclass(frozen=True)
class Plan:
  """plan/plan.json."""

  name: str
  made_world: bool
  """The problems come from a generated world and say nothing of real models."""
  question_sets: tuple[int, ...]
  generators: tuple[str, ...]
  learners: tuple[str, ...]
  parameters: dict[str, int]
  """Parameters of each model."""
  arms: tuple[Arm, ...]
  comparisons: tuple[Comparison, ...]
  maj_k: tuple[int, ...]
  jobs: tuple[dict[str, Any], ...]
  """Rows of `budget.PlannedJob`."""
  cost: str = 'paper'
  """What counts as equal cost, of `budget.UNITS`."""
  costs: dict[str, dict[str, float]] = dataclasses.field(default_factory=dict)
  """Arm -> definition of cost -> what the arm is expected to cost on a set."""

  def arm(self, name: str) -> Arm:
    return next(arm for arm in self.arms if arm.name == name)

  @property
  def sources(self) -> tuple[str, ...]:
    """'base' and every arm."""
    return (BASE, *(arm.name for arm in self.arms))


@dataclasses.dataclass(frozen=True)
class Selection:
  """What fine-tuning chose on validation problems, and the size of its data set."""

  learning_rate: float
  step: int
  examples: int


@dataclasses.dataclass(frozen=True)
class Excerpt:
  """A training problem and the first samples of each generator, to be looked at."""

  problem: Problem
  samples: dict[str, tuple[tuple[Sample, Verdict], ...]]


@dataclasses.dataclass(frozen=True, eq=False)
class Results:
  """Everything a report is made from. `s` question set, `g` generator, `l` learner, `a` source."""

  plan: Plan
  config: dict[str, Any]
  drawn: dict[tuple[int, str], Draws]
  """(s, g): samples for the training problems."""
  selections: dict[tuple[int, str, str], Selection]
  """(s, l, a), without 'base'."""
  greedy: dict[tuple[int, str, str], Draws]
  """(s, l, a): one greedy sample a test problem."""
  sampled: dict[tuple[int, str, str], Draws]
  """(s, l, a): samples at temperature for the test problems; empty where the plan has no `maj_k`."""
  excerpts: tuple[Excerpt, ...]
  held: dict[tuple[int, str], Held]
  """(s, a): what an arm holds and was charged; arms of drawn samples only."""
  charged: dict[tuple[str, str, str], int]
  """(stage's folder, model, kind): tokens in the ledgers."""

  @property
  def generators(self) -> tuple[str, ...]:
    """Those of which every problem has samples."""
    return tuple(g for g in self.plan.generators if (self.plan.question_sets[0], g) in self.drawn)


def read(workdir: epath.PathLike, excerpts: int = 3, shown: int = 3) -> Results:
  """Reads `workdir`; keeps the first `shown` samples of the first `excerpts` problems for show.

  Raises AnalysisError where a file is missing, torn or does not fit the plan.
  """
  root = epath.Path(workdir)
  plan = read_plan(root / 'plan/plan.json')
  drawn, selections, greedy, sampled, held = {}, {}, {}, {}, {}
  pages: tuple[Excerpt, ...] = ()
  for s in plan.question_sets:
    train = _problems(root / f'problems/set{s}/train.jsonl')
    test = tuple(p.id for p in _problems(root / f'problems/set{s}/test.jsonl'))
    wanted = {(p.id, i) for p in train[:excerpts] for i in range(shown)} if not pages else set()
    seen = {}
    for g in plan.generators:
      if not (count := max((arm.whole for arm in plan.arms if arm.generator == g), default=0)):
        continue
      folder = root / f'samples/set{s}/{g}'
      chunks = sorted(folder.glob('chunk-*.jsonl')) if folder.exists() else []
      if not chunks:
        raise _missing(folder / 'chunk-*.jsonl', 'sample')
      grades = root / f'grades/set{s}/{g}.jsonl'
      drawn[s, g], seen[g] = _draws([p.id for p in train], chunks, grades, 'sample', 'grade', count, wanted)
    if wanted:
      pages = tuple(
        Excerpt(p, {g: tuple(seen[g][p.id, i] for i in range(shown) if (p.id, i) in seen[g]) for g in seen})
        for p in train[:excerpts]
      )
    for arm in plan.arms:
      if arm.budget and (found := read_held(root, s, arm, [p.id for p in train], drawn.get((s, arm.generator)))):
        held[s, arm.name] = found
    for learner in plan.learners:
      for source in plan.sources:
        key, folder = (s, learner, source), root / f'evaluate/set{s}/{learner}/{source}'
        if source != BASE:
          selections[key] = _selection(root / f'train/set{s}/{learner}/{source}/selection.json')
        for name, into, count in [('greedy', greedy, 1), ('drawn', sampled, max(plan.maj_k, default=0))]:
          if count:
            paths = folder / f'{name}.jsonl', folder / f'{name}.verdicts.jsonl'
            voting = into is sampled
            into[key], _ = _draws(test, [paths[0]], paths[1], 'evaluate', 'evaluate', count, voting=voting)
  charged: collections.Counter[tuple[str, str, str]] = collections.Counter()
  for entry in budget.read(root):
    for kind, tokens in entry.tokens.items():
      charged[entry.job.split('/')[0], entry.model, kind] += tokens
  config = _json(root / 'config.json', 'plan')
  return Results(plan, config, drawn, selections, greedy, sampled, pages, held, dict(charged))


def read_plan(path: epath.PathLike) -> Plan:
  """Reads plan.json. Raises AnalysisError, which names the field at fault."""
  path = epath.Path(path)
  row = _json(path, 'plan')
  try:
    plan = Plan(
      name=row['name'],
      made_world=row['made_world'],
      question_sets=tuple(row['question_sets']),
      generators=tuple(row['generators']),
      learners=tuple(row['learners']),
      parameters={name: model['parameters'] for name, model in row['models'].items()},
      arms=tuple(Arm(**{'policy': None, **arm}) for arm in row['arms']),
      comparisons=tuple(Comparison(c['name'], c['a'], c['b']) for c in row['comparisons']),
      maj_k=tuple(row['maj_k']),
      jobs=tuple(row['jobs']),
      cost=row.get('cost', {'name': 'paper'})['name'],
      costs=row.get('costs', {}),
    )
  except (KeyError, TypeError, AttributeError) as e:
    raise AnalysisError(f'{path}: the field {e} is missing or of the wrong kind; run the stage plan again') from e
  names = {arm.name for arm in plan.arms}
  for field, used, known in [
    ('comparisons', {x for c in plan.comparisons for x in (c.a, c.b)}, names),
    ('arms.generator', {arm.generator for arm in plan.arms if arm.generator}, set(plan.generators)),
    ('models', {*plan.generators, *plan.learners}, set(plan.parameters)),
  ]:
    if used - known:
      raise AnalysisError(f'{path}: {field} names {sorted(used - known)}, known are {sorted(known)}; plan again')
  if not plan.question_sets:
    raise AnalysisError(f'{path}: question_sets is empty; a study needs at least one')
  return plan


def _draws(
  ids: Iterable[str],
  sample_paths: list[epath.Path],
  verdict_path: epath.Path,
  sample_stage: str,
  verdict_stage: str,
  count: int,
  wanted: set[tuple[str, int]] = frozenset(),
  voting: bool = False,
) -> tuple[Draws, dict[tuple[str, int], tuple[Sample, Verdict]]]:
  """Samples and verdicts of `ids`, at least `count` a problem, and the rows `wanted` as they are.

  With `voting`, every answer must have a vote.
  """
  row_of = {problem_id: p for p, problem_id in enumerate(ids)}
  rows: dict[tuple[int, int], tuple[int, bool, int]] = {}
  kept: dict[tuple[str, int], Sample] = {}
  for path in sample_paths:
    for sample in _rows(Sample, path, sample_stage):
      place = _place(sample, row_of, path, sample_stage)
      # A sample drawn twice, around a restart, is the same text: the first stands.
      if place not in rows:
        rows[place] = metrics.text_key(sample.text), sample.finish == 'length', len(sample.tokens)
        if (sample.problem_id, sample.index) in wanted:
          kept[sample.problem_id, sample.index] = sample
  m = max(count, 1 + max((i for _, i in rows), default=-1))
  where = sample_paths[0] if len(sample_paths) == 1 else sample_paths[0].parent
  _complete(rows.keys(), row_of, m, where, sample_stage)

  shape = len(row_of), m
  keys, truncated, tokens = np.zeros(shape, np.int64), np.zeros(shape, bool), np.zeros(shape, np.int64)
  for place, row in rows.items():
    keys[place], truncated[place], tokens[place] = row
  correct, answered, asked = (np.zeros(shape, bool) for _ in range(3))
  valid, lenient, second = (np.full(shape, np.nan) for _ in range(3))
  votes = np.full(shape, -1)
  judged, pages = set(), {}
  for verdict in _rows(Verdict, verdict_path, verdict_stage):
    place = _place(verdict, row_of, verdict_path, verdict_stage)
    if place not in rows:
      raise AnalysisError(
        f'{verdict_path}: problem {verdict.problem_id!r}, index {verdict.index} has a verdict and no sample; '
        f'run the stage {verdict_stage} again'
      )
    judged.add(place)
    correct[place], answered[place] = verdict.correct, verdict.answer is not None
    asked[place] = bool(verdict.second_reason)
    votes[place] = -1 if verdict.vote is None else verdict.vote
    for array, value in ((valid, verdict.valid), (lenient, verdict.lenient_correct), (second, verdict.second_opinion)):
      array[place] = np.nan if value is None else value
    if (seen := (verdict.problem_id, verdict.index)) in kept:
      pages[seen] = kept[seen], verdict
  _complete(judged, row_of, m, verdict_path, verdict_stage)
  if voting and (answered & (votes < 0)).any():
    raise AnalysisError(f'{verdict_path}: answers have no vote for maj@k to count; run the stage {verdict_stage} again')
  draws = Draws(correct, keys, valid, truncated, tokens, votes, answered, lenient, second, asked)
  return draws, pages


def _place(row: Sample | Verdict, row_of: dict[str, int], path: epath.Path, stage: str) -> tuple[int, int]:
  if row.problem_id not in row_of:
    raise AnalysisError(f'{path}: problem {row.problem_id!r} is not in this question set; run the stage {stage} again')
  return row_of[row.problem_id], row.index


def _complete(places: Iterable[tuple[int, int]], row_of: dict[str, int], m: int, path: epath.Path, stage: str) -> None:
  places = set(places)
  if len(places) < len(row_of) * m:
    ids = list(row_of)
    p, i = next((p, i) for p in range(len(ids)) for i in range(m) if (p, i) not in places)
    raise AnalysisError(
      f'{path}: {len(places)} of {len(row_of) * m} rows; problem {ids[p]!r} has no index {i}; run the stage {stage}'
    )


def _problems(path: epath.Path) -> tuple[Problem, ...]:
  problems = tuple(_rows(Problem, path, 'plan'))
  if not problems:
    raise AnalysisError(f'{path}: no problem in it; run the stage plan again')
  return problems


def _rows(cls: type, path: epath.Path, stage: str) -> Iterable:
  try:
    yield from records.read(cls, path)
  except FileNotFoundError:
    raise _missing(path, stage) from None
  except records.RecordError as e:
    raise AnalysisError(f'{e}; run the stage {stage} again') from e


def _selection(path: epath.Path) -> Selection:
  row = _json(path, 'train')
  try:
    return Selection(float(row['learning_rate']), int(row['step']), int(row['examples']))
  except (KeyError, TypeError, ValueError) as e:
    raise AnalysisError(f'{path}: the field {e} is missing or not a number; run the stage train again') from e


def _json(path: epath.Path, stage: str) -> dict[str, Any]:
  try:
    row = json.loads(path.read_text())
  except FileNotFoundError:
    raise _missing(path, stage) from None
  except ValueError as e:
    raise AnalysisError(f'{path}: not JSON: {e}; run the stage {stage} again') from e
  if not isinstance(row, dict):
    raise AnalysisError(f'{path}: expected a JSON object; run the stage {stage} again')
  return row


def _missing(path: epath.Path, stage: str) -> AnalysisError:
  return AnalysisError(f'{path} is missing: run the stage {stage} first')
