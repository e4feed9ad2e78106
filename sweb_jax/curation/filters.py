"""Which samples may become examples: by their final answer, by none, by the vote of the others, or by a judge."""

from __future__ import annotations

import collections
from collections.abc import Iterable, Mapping, Sequence

from sweb_jax.records import Sample, Verdict

FILTERS = ('answer', 'none', 'majority', 'judge')
"""The final answer is right (the default); all samples; the answer that most samples give; a judge says right."""


def accepted(
  name: str,
  samples: Iterable[Sample],
  verdicts: Sequence[Verdict],
  *,
  first: int,
  opinions: Mapping[tuple[str, int], bool | None] | None = None,
) -> set[tuple[str, int]]:
  """(problem id, index) of the samples with an index below `first` that pass a filter. One that was cut never does.

  Args:
    name: of `FILTERS`.
    samples: of any number of problems.
    verdicts: one for each sample; with votes (`tasks.grading.add_votes`) for 'majority'.
    first: samples a problem that count, also in the vote. A tie goes to the answer that came first; samples without an
      answer do not vote, and do not pass.
    opinions: of the judge on each sample that is whole, for 'judge'.
  """
  whole = {(s.problem_id, s.index) for s in samples if s.index < first and s.finish != 'length'}
  if name == 'none':
    return whole
  if name == 'judge':
    return {key for key in whole if opinions[key]}
  if name == 'answer':
    return {(v.problem_id, v.index) for v in verdicts if v.correct} & whole
  votes: dict[str, collections.Counter[int]] = collections.defaultdict(collections.Counter)
  for v in verdicts:
    if v.vote is not None and (v.problem_id, v.index) in whole:
      votes[v.problem_id][v.vote] += 1
  won = {p: min(count, key=lambda vote: (-count[vote], vote)) for p, count in votes.items()}
  return {(v.problem_id, v.index) for v in verdicts if v.vote is not None and won.get(v.problem_id) == v.vote} & whole
