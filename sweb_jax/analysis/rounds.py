"""What rounds of drawing and training bring: each learner by round, with what the models of the round before drew."""

from __future__ import annotations

from sweb_jax.analysis import intervals, terms
from sweb_jax.analysis.cells import cells, interval_note, with_bounds
from sweb_jax.analysis.results import Results
from sweb_jax.analysis.table import Table
from sweb_jax.layout import BASE

NAME = 'rounds'
FIGURES = ('greedy pass@1', 'coverage@k', 'diversity@k (solved)', 'FPR')


def build(results: Results) -> list[Table]:
  """The table: a row a learner and round, round 0 before fine-tuning; none where the study has one round."""
  study = results.study
  if not study.rounds_from:
    return []
  rows = []
  for learner in study.learners:
    arms = [a for a in study.arms if a.name == study.rounds_from or (a.round > 1 and a.learner in (None, learner))]
    for number, source, arm in ((0, BASE, None), *((a.round, a.name, a) for a in arms)):
      if not (sets := results.sets(results.greedy, (learner, source))):
        continue
      accuracy = terms.greedy(results, learner, source, sets)
      drawn = results.sets(results.drawn, (arm.generator,)) if arm else ()
      data = terms.data(results, arm, drawn) if drawn else {}
      found = [intervals.estimate(accuracy), *(intervals.estimate(data[f]) if data else None for f in FIGURES[1:])]
      chosen = [c.examples for s in sets for c in results.selections.get((s, learner, source), ())]
      rows.append((
        *(learner, number, source, arm and arm.generator, arm and arm.samples, *cells(found)),
        *(sum(chosen) if arm else None, len(sets), sum(t.shape[1] for t in accuracy)),
      ))
  table = Table(
    NAME,
    'By round',
    ('learner', 'round', 'source', 'generator', 'k', *with_bounds(FIGURES), 'examples', 'sets', 'n'),
    tuple(rows),
    'Round 0: the learner before fine-tuning; round 1: an arm of the study; from round 2 on the generator is what was '
    'trained in the round before. Every training begins at the learner before fine-tuning. coverage, diversity and '
    'FPR are of the k samples a problem that the generator drew, as in the table of the data. n: test problems over '
    'all sets. ' + interval_note(study),
  )
  return [table] if rows else []
