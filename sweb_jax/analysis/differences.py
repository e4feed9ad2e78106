"""Tables of comparisons: side A minus side B, on the question sets that are done for both."""

from __future__ import annotations

from collections.abc import Sequence

from sweb_jax.analysis import budgets, intervals, terms
from sweb_jax.analysis.cells import difference_note, matched, rounded, scope, setup, sides
from sweb_jax.analysis.intervals import LEVEL, UNDECIDED, Difference
from sweb_jax.analysis.results import BASE, Results
from sweb_jax.analysis.table import Cell, Table

_COLUMNS = (
  *('value A', 'value B', 'difference', 'difference low', 'difference high', 'relative'),
  *('within sets low', 'within sets high', 'p', 'verdict', 'verdict, Holm', 'holds for', 'n'),
)
_Row = tuple[tuple[Cell, ...], Difference | None, tuple[str, str], int, int]
"""The first cells, the difference, the names of the sides, the number of question sets, n."""


def accuracy(results: Results) -> Table:
  """The comparisons of the plan: greedy accuracy after data A minus after data B."""
  study, rows = results.study, []
  for pair in study.comparisons:
    a, b = study.arm(pair.a), study.arm(pair.b)
    for learner in study.learners:
      if sets := results.sets(results.greedy, (learner, a.name), (learner, b.name)):
        found = [terms.greedy(results, learner, arm.name, sets) for arm in (a, b)]
        names = sides(a, b)
        first = (
          *(pair.name, matched(study, a, b), learner, names[0], a.name, setup(study, learner, a.name)),
          *(names[1], b.name, setup(study, learner, b.name)),
        )
        rows.append((first, intervals.compare(*found), names, len(sets), sum(t.shape[1] for t in found[0])))
  return Table(
    'differences',
    'Which data trains better: greedy pass@1 after A minus after B',
    ('comparison', 'matched', 'learner', 'side A', 'A', 'setup A', 'side B', 'B', 'setup B', *_COLUMNS),
    _rows(rows),
    f'Paired by test problem. {_number_note(rows)} {difference_note(study)}',
  )


def minus_base(results: Results) -> Table:
  """Every source minus the learner before fine-tuning."""
  study, rows = results.study, []
  for learner in study.learners:
    for source in study.sources[1:]:
      if sets := results.sets(results.greedy, (learner, source), (learner, BASE)):
        found = [terms.greedy(results, learner, of, sets) for of in (source, BASE)]
        first = learner, source, setup(study, learner, source)
        rows.append((first, intervals.compare(*found), (source, BASE), len(sets), sum(t.shape[1] for t in found[0])))
  return Table(
    'minus_base',
    'What fine-tuning adds: greedy pass@1 after (A) minus before (B)',
    ('learner', 'source', 'setup', *_COLUMNS),
    _rows(rows),
    f'Paired by test problem. {_number_note(rows)} {difference_note(study)}',
  )


def data(results: Results) -> Table:
  """Side A minus side B in the figures of the data; a variant's samples are those of the arm it comes from."""
  study, rows = results.study, []
  for pair in study.comparisons:
    a, b = study.arm(pair.a), study.arm(pair.b)
    if 'variant' in (a.matched, b.matched):
      continue
    if a.policy or b.policy:
      sets, measure = results.sets(results.held, (a.name,), (b.name,)), budgets.terms
    elif a.generator and b.generator:
      sets, measure = results.sets(results.drawn, (a.generator,), (b.generator,)), terms.data
    else:
      continue
    terms_a, terms_b = measure(results, a, sets), measure(results, b, sets)
    for figure in terms_a if sets else ():
      difference = intervals.compare(terms_a[figure], terms_b[figure])
      n = sum(len(t) for t in terms_a[figure])
      rows.append(((pair.name, matched(study, a, b), figure, a.name, b.name), difference, sides(a, b), len(sets), n))
  return Table(
    'data_differences',
    'The data compared: A minus B',
    ('comparison', 'matched', 'figure', 'A', 'B', *_COLUMNS),
    _rows(rows),
    'Paired by training problem; n of them. The verdict names the side with the higher figure, which for FPR and '
    f'truncated is the worse. {_number_note(rows)} {difference_note(study)}',
  )


def _rows(found: Sequence[_Row]) -> tuple[tuple[Cell, ...], ...]:
  """A table's rows, with verdicts that know how many comparisons there are."""
  adjusted = iter(intervals.holm([d.p for _, d, *_ in found if d]))
  rows = []
  for first, d, names, sets, n in found:
    if d is None:
      rows.append((*first, *[None] * 9, 'no data', 'no data', scope(sets), n))
      continue
    bounds = d.deciding
    verdict = intervals.verdict(bounds, *names)
    figures = d.a, d.b, d.value, bounds.low, bounds.high, d.relative, d.within.low, d.within.high, d.p
    strict = verdict if next(adjusted) <= 1 - LEVEL else UNDECIDED
    rows.append((*first, *map(rounded, figures), verdict, strict, scope(sets), n))
  return tuple(rows)


def _number_note(found: Sequence[_Row]) -> str:
  """How many comparisons there are, and what that means."""
  count = sum(d is not None for _, d, *_ in found)
  return (
    f'{count} comparisons: were no side better in any, about {(1 - LEVEL) * count:.1f} of {count} intervals would '
    'still leave 0 out by chance. "verdict" takes each by itself; "verdict, Holm" names a winner only where the p '
    'value stands after Holm\'s correction for their number.'
  )
