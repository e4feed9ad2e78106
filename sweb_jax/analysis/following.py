"""Of tests with checkable instructions: how many instructions are followed, beside how many prompts wholly."""

from __future__ import annotations

from etils import epath

from sweb_jax import layout
from sweb_jax.analysis import cells, intervals, transfer
from sweb_jax.analysis.results import Results
from sweb_jax.analysis.table import Table
from sweb_jax.answers import instructions
from sweb_jax.records import Problem, Verdict

NAME = 'following'
FIGURES = ('prompt, strict', 'instruction, strict', 'prompt, loose', 'instruction, loose')


def build(results: Results, workdir: epath.PathLike) -> list[Table]:
  """The table, or none where no test has instructions."""
  study, config = results.study, results.config
  sections = {layout.TEST: config.get('task', {}), **config.get('transfer', {})}
  tests = [name for name, said in sections.items() if said.get('answer') == 'instructions']
  if not tests:
    return []
  scores, _ = transfer.read(workdir, results, tests, _counts)
  rows = []
  for name in tests:
    for learner in study.learners:
      for source in study.sources:
        if not (sets := results.sets(scores, (name, learner, source))):
          continue
        found = [scores[s, name, learner, source] for s in sets]
        # Columns of `_counts`: followed strictly and loosely, of how many, and whether that is all of them.
        terms = [[x[..., [i, of]] for x in found] for i, of in ((3, 5), (0, 2), (4, 5), (1, 2))]
        figures = cells.cells([intervals.estimate(t) for t in terms])
        count = sum(int(x[0, :, 2].sum()) for x in found)
        rows.append((name, learner, source, *figures, len(sets), sum(x.shape[1] for x in found), count))
  table = Table(
    NAME,
    'Instructions that are followed',
    ('test set', 'learner', 'source', *cells.with_bounds(FIGURES), 'sets', 'n', 'instructions'),
    tuple(rows),
    'Greedy. prompt: share of prompts of which every instruction is followed; instruction: share of instructions; '
    'strict: by the text as it is, loose: also where first line, last line or asterisks were not there (IFEval). A '
    'response that was cut, or could not be graded, follows none. n: prompts over all sets; instructions: theirs. '
    + cells.interval_note(study),
  )
  return [table]


def _counts(problem: Problem, verdict: Verdict) -> tuple[float, ...]:
  of = len(instructions.read(problem.gold))
  strict, loose = instructions.count(verdict.answer), instructions.count(verdict.lenient)
  return strict, loose, of, strict == of, loose == of, 1
