"""The same solutions under either grader, and under the strict and the lenient reading of answers, side by side."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool

from sweb_jax.analysis import intervals, metrics, tables
from sweb_jax.analysis.draws import Draws
from sweb_jax.analysis.results import Results
from sweb_jax.analysis.table import Table

NAME = 'graders'
FIGURES = ('own, strict', 'own, lenient', 'math-verify, strict', 'math-verify, lenient')


def build(results: Results) -> list[Table]:
  """The table, or none where the task has one reading and one grader.

  For each arm its coverage, for each learner its greedy accuracy, with how many samples the graders differ on.
  """
  if all(np.isnan(d.lenient).all() for d in _every(results)):
    return []
  study = results.study
  cases = [
    (f'coverage@{a.samples}', a.generator, a.name, a.samples, [(results.drawn[s, a.generator],) for s in sets])
    for a in study.drawn_arms
    if (sets := results.sets(results.drawn, (a.generator,)))
  ]
  cases += [
    ('greedy pass@1', learner, source, 1, [results.greedy[s, learner, source] for s in sets])
    for learner in study.learners
    for source in study.sources
    if (sets := results.sets(results.greedy, (learner, source)))
  ]
  rows = []
  for figure, model, source, k, by_set in cases:
    draws = [d for seeds in by_set for d in seeds]
    asked = any(d.asked.any() for d in draws)
    estimates = []
    for right in (_own, _second) if asked else (_own,):
      for read in (lambda d, right=right: right(d) & d.answered, right):
        shares = [np.stack([metrics.coverage(read(d), k) for d in seeds]) for seeds in by_set]
        estimates.append(intervals.estimate([intervals.mean_terms(share) for share in shares]))
    firsts = [d.first(k) for d in draws]
    silent = [d.asked & np.isnan(d.second) for d in firsts]
    differ = [d.asked & ~s & (d.second != d.lenient) for d, s in zip(firsts, silent, strict=True)]
    counts = [sum(int(rows.sum()) for rows in c) for c in (differ, silent, [d.asked for d in firsts])]
    rows.append((
      *(figure, model, source, *tables.cells([*estimates, *[None] * (4 - len(estimates))])),
      *(counts if asked else [None] * 3),
      *(sum(d.correct.size for d in firsts), sum(len(seeds[0].correct) for seeds in by_set)),
    ))
  table = Table(
    NAME,
    'The same solutions under either grader',
    (
      *('figure', 'model', 'source', *tables.with_bounds(FIGURES)),
      *('differ', 'no opinion', 'asked', 'samples', 'n'),
    ),
    tuple(rows),
    '"own, strict" decides everywhere else: the answer in the form that the task asks for, compared by this project. '
    'lenient: where that form is missing, an answer in another form counts. math-verify: its opinion on the same '
    'answer; where it has none (it could not read one, or took too long) the answer is wrong. differ: samples whose '
    'leniently read answer the two graders judge differently, no opinion: on which it has none, asked: on which it was '
    'asked, all among the first k samples a problem. samples: those samples. n: problems over all sets. '
    + tables.interval_note(study),
  )
  return [table]


def _every(results: Results) -> list[Draws]:
  return [*results.drawn.values(), *(d for seeds in results.greedy.values() for d in seeds)]


def _own(d: Draws) -> Bool[np.ndarray, 'P M']:
  return d.correct | (d.lenient == 1)


def _second(d: Draws) -> Bool[np.ndarray, 'P M']:
  return d.second == 1
