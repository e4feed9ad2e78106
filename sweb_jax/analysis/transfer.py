"""Further test sets: what each learner does there, and which data carries over better."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from etils import epath
from jaxtyping import Float

from sweb_jax import layout, records
from sweb_jax.analysis import intervals
from sweb_jax.analysis.cells import cells, difference_note, interval_note, rounded, scope, setup, sides, with_bounds
from sweb_jax.analysis.intervals import Terms
from sweb_jax.analysis.results import Results, asked_problems, checkpoint
from sweb_jax.analysis.study import damaged, done
from sweb_jax.analysis.table import Table
from sweb_jax.records import Problem, Verdict

NAMES = ('transfer', 'transfer_differences')

Scores = dict[tuple[int, str, str, str], Float[np.ndarray, 'R P *C']]
"""(question set, test set, learner, source) -> what is measured of each seed's fine-tuning on each problem."""


def build(results: Results, workdir: epath.PathLike) -> list[Table]:
  """Both tables, or none where the config names no further test set."""
  tests = results.study.tests
  if not tests:
    return []
  scores, missing = read(workdir, results, tests, lambda _, verdict: verdict.correct)
  note = f' Not there yet: {", ".join(missing)}.' if missing else ''
  compared = [_differences(results, scores, tests)] if results.study.comparisons else []
  return [_accuracy(results, scores, tests, note), *compared]


def read(
  workdir: epath.PathLike,
  results: Results,
  tests: Iterable[str],
  measured: Callable[[Problem, Verdict], float | Sequence[float]],
) -> tuple[Scores, list[str]]:
  """What greedy answers to test sets score, and what is not there, as the stages plan or evaluate are not finished.

  `tests` are names of further ones, or `layout.TEST`; `measured` gives a number, or so many, of each answer. Raises
  AnalysisError for a file that is torn or not of the problems of its question set.
  """
  root, study, scores, missing = epath.Path(workdir), results.study, {}, []
  finished, of = done(root, study), {step.folder: step for step in study.steps}
  for name in tests:
    for s in study.question_sets:
      asked = layout.problems(s, 'test' if name == layout.TEST else layout.transfer(name))
      if finished.get(asked) != '':
        missing.append(asked)
        continue
      problems = asked_problems(root, asked, of[asked].extent['problems']).shown
      for learner in study.learners:
        for source in study.sources:
          found = []
          for run in study.runs(source):
            folder = layout.scores(name, s, learner, run)
            if finished.get(folder) == '':
              chosen = checkpoint(root, source, layout.model(s, learner, run))
              found.append(_measured(root / folder / chosen / layout.GREEDY, problems, measured))
            elif folder in of and folder not in finished:
              missing.append(folder)
          if found:
            scores[s, name, learner, source] = np.stack(found)
  return scores, missing


def _measured(
  folder: epath.Path, problems: Sequence[Problem], measured: Callable[[Problem, Verdict], float | Sequence[float]]
) -> np.ndarray:
  """What is measured of each problem, in their order."""
  try:
    paths = sorted(folder.glob(layout.VERDICTS))
    found = {v.problem_id: v for path in paths for v in records.read(Verdict, path)}
    return np.array([measured(p, found[p.id]) for p in problems], float)
  except (records.RecordError, KeyError) as e:
    raise damaged(f'{folder}: cannot be read, or a problem has no verdict ({e})') from e


def _terms(results: Results, scores: Scores, *keys: tuple[str, str, str]) -> list[Terms]:
  """The terms of each (test set, learner, source), on the question sets that all of them have."""
  sets = results.sets(scores, *keys)
  return [[intervals.mean_terms(scores[s, *key]) for s in sets] for key in keys]


def _accuracy(results: Results, scores: Scores, tests: dict[str, str], note: str) -> Table:
  study, rows = results.study, []
  for name, test in tests.items():
    for learner in study.learners:
      for source in study.sources:
        (terms,) = _terms(results, scores, (name, learner, source))
        if found := intervals.estimate(terms):
          names = name, test, learner, source, setup(study, learner, source)
          rows.append((*names, *cells([found]), len(terms), found.n))
  return Table(
    NAMES[0],
    'Accuracy on further test sets',
    ('test set', 'task', 'learner', 'source', 'setup', *with_bounds(['greedy pass@1']), 'sets', 'n'),
    tuple(rows),
    'Greedy, asked and graded as the task of the test set says. Nothing was chosen on these problems. n: problems over '
    'all sets. ' + interval_note(study) + note,
  )


def _differences(results: Results, scores: Scores, tests: dict) -> Table:
  study, rows = results.study, []
  for name in tests:
    for pair in study.comparisons:
      for learner in study.learners:
        a, b = _terms(results, scores, (name, learner, pair.a), (name, learner, pair.b))
        if found := intervals.compare(a, b):
          bounds = found.deciding
          figures = map(rounded, (found.a, found.b, found.value, bounds.low, bounds.high))
          verdict = intervals.verdict(bounds, *sides(study.arm(pair.a), study.arm(pair.b)))
          n = sum(t.shape[-2] for t in a)
          rows.append((name, pair.name, learner, pair.a, pair.b, *figures, verdict, scope(len(a)), n))
  return Table(
    NAMES[1],
    'Which data carries over better: greedy pass@1 on further test sets after A minus after B',
    (
      *('test set', 'comparison', 'learner', 'A', 'B', 'value A', 'value B'),
      *('difference', 'difference low', 'difference high', 'verdict', 'holds for', 'n'),
    ),
    tuple(rows),
    f'{len(rows)} comparisons, paired by problem, without a correction for their number. ' + difference_note(study),
  )
