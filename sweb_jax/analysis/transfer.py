"""Further test sets: what each learner does there, and which data carries over better."""

from __future__ import annotations

from collections.abc import Sequence

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
from sweb_jax.records import Verdict

NAMES = ('transfer', 'transfer_differences')

Scores = dict[tuple[int, str, str, str], Float[np.ndarray, 'R P']]
"""(question set, test set, learner, source) -> whether each seed's fine-tuning answers each problem right."""


def build(results: Results, workdir: epath.PathLike) -> list[Table]:
  """Both tables, or none where the config names no further test set."""
  tests = results.study.tests
  if not tests:
    return []
  scores, missing = read(workdir, results)
  note = f' Not there yet: {", ".join(missing)}.' if missing else ''
  compared = [_differences(results, scores, tests)] if results.study.comparisons else []
  return [_accuracy(results, scores, tests, note), *compared]


def read(workdir: epath.PathLike, results: Results) -> tuple[Scores, list[str]]:
  """What was scored, and what is not there, as the stages plan or evaluate are not finished.

  Raises AnalysisError for a file that is torn or not of the problems of its question set.
  """
  root, study, scores, missing = epath.Path(workdir), results.study, {}, []
  finished, of = done(root, study), {step.folder: step for step in study.steps}
  for name in study.tests:
    for s in study.question_sets:
      asked = layout.problems(s, layout.transfer(name))
      if finished.get(asked) != '':
        missing.append(asked)
        continue
      problems = asked_problems(root, asked, of[asked].extent['problems']).ids
      for learner in study.learners:
        for source in study.sources:
          right = []
          for run in study.runs(source):
            folder = layout.scores(name, s, learner, run)
            if finished.get(folder) == '':
              chosen = checkpoint(root, source, layout.model(s, learner, run))
              right.append(_right(root / folder / chosen / layout.GREEDY, problems))
            elif folder in of and folder not in finished:
              missing.append(folder)
          if right:
            scores[s, name, learner, source] = np.stack(right)
  return scores, missing


def _right(folder: epath.Path, problems: Sequence[str]) -> np.ndarray:
  """Whether each problem is answered right, in their order."""
  try:
    paths = sorted(folder.glob(layout.VERDICTS))
    found = {v.problem_id: v.correct for path in paths for v in records.read(Verdict, path)}
    return np.array([found[p] for p in problems], float)
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
