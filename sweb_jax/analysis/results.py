"""Reads a workdir into plain arrays.

Folders are those of `layout`; which steps there are says `study.Study`.

Rows are reduced to arrays while they are read, so that a study of millions of tokens fits in memory. What is not done
yet is left out and said in `Results.missing`; what is done must be whole.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from etils import epath
from jaxtyping import Bool

from sweb_jax import budget, layout, records
from sweb_jax.analysis import metrics
from sweb_jax.analysis.draws import Draws
from sweb_jax.analysis.held import Held, cost_of_samples, read_held
from sweb_jax.analysis.study import Study, damaged, done, missing, nothing, read_json, read_study
from sweb_jax.layout import BASE
from sweb_jax.records import Problem, Sample, Verdict
from sweb_jax.runtime import files


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
  """Everything a report is made from. `s` question set, `g` generator, `l` learner, `a` source.

  What is not done yet has no key; of a source whose seeds are not all done, the tuples hold those that are.
  """

  study: Study
  config: dict[str, Any]
  drawn: dict[tuple[int, str], Draws]
  """(s, g): samples for the training problems."""
  selections: dict[tuple[int, str, str], tuple[Selection, ...]]
  """(s, l, a), without 'base': one a seed of fine-tuning, as in the two below."""
  greedy: dict[tuple[int, str, str], tuple[Draws, ...]]
  """(s, l, a): one greedy sample a test problem."""
  sampled: dict[tuple[int, str, str], tuple[Draws, ...]]
  """(s, l, a): samples at temperature for the test problems; empty where the plan has no `maj_k`."""
  levels: dict[tuple[int, str], tuple[str, ...]]
  """(s, 'train' or 'test'): `Problem.level` of each problem."""
  excerpts: tuple[Excerpt, ...]
  held: dict[tuple[int, str], Held]
  """(s, a): what an arm holds and was charged; arms of drawn samples only."""
  sample_costs: dict[tuple[int, str], tuple[float, float]]
  """(s, g): what is read for a problem, and one sample, in what counts as cost; means."""
  charged: dict[tuple[str, str, str], int]
  """(kind of step, model, kind): tokens in the ledgers."""
  missing: tuple[str, ...] = ()
  """What is not done yet, a line a stage; empty for a finished study."""
  nothing: tuple[str, ...] = ()
  """What has no result, or could not be graded, and why, a line each."""

  @property
  def generators(self) -> tuple[str, ...]:
    """Those of which every problem has samples."""
    return tuple(g for g in self.study.generators if all((s, g) in self.drawn for s in self.study.question_sets))

  def sets(self, found: Mapping[tuple, Any], *keys: tuple) -> tuple[int, ...]:
    """The question sets for which one of the dictionaries above has (set, *key) for every one of `keys`."""
    return tuple(s for s in self.study.question_sets if all((s, *key) in found for key in keys))


def read(
  workdir: epath.PathLike, excerpts: int = 3, shown: int = 3, progressed: Callable[[], None] = lambda: None
) -> Results:
  """Reads `workdir`; keeps the first `shown` samples of the first `excerpts` problems for show.

  `progressed` is called after each folder of samples: who waits for a report may have little patience.
  Raises AnalysisError where there is no study, or a file of a step that is done is missing, torn or does not fit it.
  """
  root = epath.Path(workdir)
  study = read_study(root)
  finished = done(root, study)
  of = {step.folder: step for step in study.steps}
  drawn, sample_costs, selections, greedy, sampled, held, levels = {}, {}, {}, {}, {}, {}, {}
  pages: tuple[Excerpt, ...] = ()

  def ready(folder: str) -> bool:
    """Whether a step is done and has a result."""
    return folder in of and finished.get(folder) == ''

  for s in study.question_sets:
    asked = {split: layout.problems(s, split) for split in ('train', 'test')}
    problems = {
      split: asked_problems(root, folder, of[folder].extent['problems'])
      for split, folder in asked.items()
      if ready(folder)
    }
    levels |= {(s, split): tuple(p.level for p in found.shown) for split, found in problems.items()}
    wanted = set()
    if 'train' in problems and not pages:
      wanted = {(p.id, i) for p in problems['train'].shown[:excerpts] for i in range(shown)}
    seen = {}
    for g in study.generators if 'train' in problems else ():
      samples, verdicts = layout.samples(s, g), layout.verdicts(s, g)
      if ready(samples) and ready(verdicts):
        drawn[s, g], seen[g] = _draws(
          root / samples, root / verdicts, problems['train'], of[verdicts].extent['samples'], wanted,
          stop_ids=study.stop_ids.get(g, ()),
        )  # fmt: skip
        what, ids = f'the samples of {g!r} of set {s}', problems['train'].ids
        sample_costs[s, g] = _priced(what, cost_of_samples, root, study, s, g, ids, drawn[s, g])
        progressed()
    if wanted:
      pages = tuple(
        Excerpt(p, {g: tuple(seen[g][p.id, i] for i in range(shown) if (p.id, i) in seen[g]) for g in seen})
        for p in problems['train'].shown[:excerpts]
      )
    for arm in (a for a in study.arms if a.budget):
      if ready(layout.allocation(s, arm.name)) if arm.policy else (s, arm.generator) in drawn:
        what, ids = f'what arm {arm.name!r} of set {s} holds', problems['train'].ids
        held[s, arm.name] = _priced(what, read_held, root, study, s, arm, ids, drawn.get((s, arm.generator)))
    for learner in study.learners if 'test' in problems else ():
      for source in study.sources:
        runs = [(layout.model(s, learner, r), layout.scores(layout.TEST, s, learner, r)) for r in study.runs(source)]
        if source != BASE and (made := [_selection(root / m / layout.SELECTION) for m, _ in runs if ready(m)]):
          selections[s, learner, source] = tuple(made)
        for name, into in ((layout.GREEDY, greedy), (layout.DRAWN, sampled)):
          found = []
          for model, scores in runs:
            count = 1 if name == layout.GREEDY else of[scores].extent['votes'] if scores in of else 0
            if count and ready(scores):
              folder = root / scores / checkpoint(root, source, model) / name
              ends = study.stop_ids.get(learner, ())
              found.append(_tested(folder, problems['test'], name, count, ends))
              progressed()
          if found:
            into[s, learner, source] = tuple(found)
  charged: collections.Counter[tuple[str, str, str]] = collections.Counter()
  for entry in budget.read(root):
    for kind, tokens in entry.tokens.items():
      charged[layout.kind_of(entry.job), entry.model, kind] += tokens
  config = read_json(root / layout.CONFIG)
  ended = _ended(study, held)
  said = missing(study, finished), (*nothing(study, finished), *ended, *_ungraded(drawn, greedy, sampled))
  found = drawn, selections, greedy, sampled, levels, pages, held, sample_costs, dict(charged)
  return Results(study, config, *found, *said)


def _ended(study: Study, held: Mapping[tuple[int, str], Held]) -> Iterator[str]:
  """A line an arm for which no more samples were recorded than it holds."""
  for arm in study.arms:
    mine = [h for (_, name), h in held.items() if name == arm.name]
    if short := [h for h in mine if h.ended == 'record']:
      count = sum(sum(h.samples.values()) for h in mine)
      wanted = f' of {sum(h.budget for h in mine):.0f}' if arm.samples else ''
      yield (
        f'{arm.name}: holds {count}{wanted} samples, as no more were recorded for {len(short)} of {len(mine)} sets; '
        'it cost less than what it stands beside'
      )


def _ungraded(drawn: Mapping, greedy: Mapping, sampled: Mapping) -> Iterator[str]:
  """A line where the grader failed on samples; none is the rule."""
  evaluations = (d for found in (greedy, sampled) for seeds in found.values() for d in seeds)
  for what, draws in (('training problems', drawn.values()), ('test problems', evaluations)):
    draws = list(draws)
    if count := sum(int(d.ungraded.sum()) for d in draws):
      total = sum(d.ungraded.size for d in draws)
      yield f'{count} of {total} samples of {what} {records.UNGRADED} and count as wrong; verdicts have the reason'


def checkpoint(root: epath.Path, source: str, model: str) -> str:
  """The name of a source's checkpoint below its scores: of the learning rate that was chosen."""
  return BASE if source == BASE else layout.rate(_selection(root / model / layout.SELECTION).learning_rate)


@dataclasses.dataclass(frozen=True)
class Asked:
  """Problems of a question set."""

  shown: tuple[Problem, ...]
  """Those of the study."""
  known: frozenset[str]
  """Ids of those, and of others that were asked when the study was larger."""

  @property
  def ids(self) -> list[str]:
    return [p.id for p in self.shown]


def _draws(
  samples: epath.Path,
  verdicts: epath.Path,
  problems: Asked,
  count: int,
  wanted: set[tuple[str, int]] = frozenset(),
  voting: bool = False,
  test: bool = False,
  stop_ids: tuple[int, ...] = (),
) -> tuple[Draws, dict[tuple[str, int], tuple[Sample, Verdict]]]:
  """The first `count` samples of each problem with their verdicts, and the rows `wanted` as they are.

  With `voting`, every answer must have a vote. The equations of `test` problems are not read.
  """
  row_of = {problem_id: p for p, problem_id in enumerate(problems.ids)}
  shape = len(row_of), count
  keys, equations, tokens = (np.zeros(shape, np.int64) for _ in range(3))
  drawn, judged, truncated = (np.zeros(shape, bool) for _ in range(3))
  stopped = np.full(shape, 0.0 if stop_ids else np.nan)
  kept: dict[tuple[str, int], Sample] = {}
  for sample in _rows(Sample, *_files(samples, layout.CHUNKS)):
    place = _place(sample, row_of, problems.known, samples)
    # A sample drawn twice, around a restart, is the same text: the first stands.
    if place is None or place[1] >= count or drawn[place]:
      continue
    drawn[place] = True
    keys[place] = records.text_key(sample.text)
    equations[place] = 0 if test else metrics.equations_key(sample.text)
    truncated[place], tokens[place] = sample.finish == 'length', len(sample.tokens)
    if stop_ids:
      last = sample.tokens[-1] if len(sample.tokens) else None
      stopped[place] = np.nan if last == records.UNKNOWN else not truncated[place] and last in stop_ids
    if (sample.problem_id, sample.index) in wanted:
      kept[sample.problem_id, sample.index] = sample
  _complete(drawn, row_of, samples)

  correct, answered, asked, ungraded = (np.zeros(shape, bool) for _ in range(4))
  valid, lenient, second = (np.full(shape, np.nan) for _ in range(3))
  votes = np.full(shape, -1)
  pages = {}
  for verdict in _rows(Verdict, *_files(verdicts, layout.VERDICTS)):
    place = _place(verdict, row_of, problems.known, verdicts)
    if place is None or place[1] >= count:
      continue
    judged[place] = True
    correct[place], answered[place] = verdict.correct, verdict.answer is not None
    asked[place], ungraded[place] = bool(verdict.second_reason), verdict.reason.startswith(records.UNGRADED)
    votes[place] = -1 if verdict.vote is None else verdict.vote
    for array, value in (
      (valid, verdict.valid), (lenient, verdict.lenient_correct), (second, verdict.second_opinion)
    ):  # fmt: skip
      array[place] = np.nan if value is None else value
    if (seen := (verdict.problem_id, verdict.index)) in kept:
      pages[seen] = kept[seen], verdict
  _complete(judged, row_of, verdicts)
  if voting and (answered & (votes < 0)).any():
    raise damaged(f'{verdicts}: answers have no vote for maj@k to count')
  said = votes, answered, lenient, second, asked, ungraded
  draws = Draws(correct, keys, equations, valid, truncated, stopped, tokens, *said)
  return draws, pages


def _tested(folder: epath.Path, problems: Asked, name: str, count: int, stop_ids: tuple[int, ...]) -> Draws:
  """An evaluation of test problems."""
  return _draws(folder, folder, problems, count, voting=name == layout.DRAWN, test=True, stop_ids=stop_ids)[0]


def _priced(what: str, read: Callable[..., Any], root: epath.Path, *arguments: Any) -> Any:
  """What `read` gives; an error in the files that price it is one of the workdir."""
  try:
    return read(root, *arguments)
  except (ValueError, KeyError, OSError) as e:
    raise damaged(f'{root}: {what} cannot be read: {e}') from e


def _files(folder: epath.Path, pattern: str) -> list[epath.Path]:
  found = sorted(folder.glob(pattern)) if folder.exists() else []
  if not found:
    raise damaged(f'{folder / pattern} is missing')
  return found


def _place(
  row: Sample | Verdict, row_of: dict[str, int], known: Collection[str], path: epath.Path
) -> tuple[int, int] | None:
  """Row and column of a sample; None where its problem is of a larger study than this."""
  if row.problem_id not in known:
    raise damaged(f'{path}: problem {row.problem_id!r} is not in this question set')
  return (row_of[row.problem_id], row.index) if row.problem_id in row_of else None


def _complete(there: Bool[np.ndarray, 'P M'], row_of: dict[str, int], path: epath.Path) -> None:
  if not there.all():
    p, i = np.argwhere(~there)[0]
    raise damaged(f'{path}: {there.sum()} of {there.size} rows; problem {list(row_of)[p]!r} has no index {i}')


def asked_problems(root: epath.Path, folder: str, count: int) -> Asked:
  """The first `count` problems of a step that is done. Raises AnalysisError where there are fewer."""
  path = root / folder / layout.PROBLEMS
  problems = tuple(_rows(Problem, path))
  if len(problems) < count:
    raise damaged(f'{path}: {len(problems)} of {count} problems')
  return Asked(problems[:count], frozenset(p.id for p in problems))


def _rows(cls: type, *paths: epath.Path) -> Iterable:
  try:
    yield from records.read(cls, *paths)
  except FileNotFoundError as e:
    raise damaged(f'{e.filename} is missing') from None
  except records.RecordError as e:
    raise damaged(e) from e


def _selection(path: epath.Path) -> Selection:
  try:
    row = files.read_json(path)
    return Selection(float(row['learning_rate']), int(row['step']), int(row['examples']))
  except (OSError, KeyError, TypeError, ValueError) as e:
    raise damaged(f'{path}: cannot be read, or a field is missing or not a number ({e})') from e
