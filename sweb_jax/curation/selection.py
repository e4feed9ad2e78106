"""The examples of an arm: which of its samples are trained on, and how many each rule removed."""

from __future__ import annotations

import collections
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence

from sweb_jax.curation.filters import accepted
from sweb_jax.records import Example, Problem, Sample, Verdict

_REMOVED = {'answer': 'wrong', 'none': 'cut', 'majority': 'not the majority', 'judge': 'not judged right'}
"""What a filter calls the samples that it removes."""


def select(
  problems: Sequence[Problem],
  prompts: Mapping[str, str],
  graded: Iterable[Sequence[tuple[Sample, Verdict]]],
  counts: collections.Counter[str],
  *,
  first: int,
  max_per_problem: int,
  dedupe: bool,
  most: int = 0,
  keep: str = 'answer',
  opinions: Mapping[tuple[str, int], bool | None] | None = None,
) -> Iterator[Example]:
  """Yields the examples of one data source: samples that pass a filter among the `first` drawn of each problem.

  Args:
    problems: training problems, in the order of the examples.
    prompts: zero-shot prompt by problem id.
    graded: of each problem, in the same order, all samples of the generator with their verdicts, and with votes where
      the filter counts them; those with an index of `first` or more are not the source's. Read as it goes.
    counts: gets how many samples there were, how many each rule removed, and how many were kept.
    first: samples a problem the source's budget pays for.
    max_per_problem: keep at most so many a problem, lowest index first; 0 keeps all.
    dedupe: drop a solution whose text, white space aside, the problem has already.
    most: keep of what these rules leave at most so many a problem, lowest index first; 0 keeps all (`balance`).
    keep: the filter, of `curation.FILTERS`: by default correct samples.
    opinions: of the judge, for the filter 'judge'.
  """
  yielded = 0
  for problem, rows in zip(problems, graded, strict=True):
    samples = [s for s, _ in rows]
    passed = accepted(keep, samples, [v for _, v in rows], first=first, opinions=opinions)
    texts: set[str] = set()
    kept = 0
    for s in sorted((s for s in samples if s.index < first), key=lambda s: s.index):
      counts['sampled'] += 1
      if (s.problem_id, s.index) not in passed:
        counts[_REMOVED[keep]] += 1
        continue
      text = ' '.join(s.text.split())
      if dedupe and text in texts:
        counts['duplicate'] += 1
      elif max_per_problem and kept == max_per_problem:
        counts['over the cap'] += 1
      else:
        texts.add(text)
        kept += 1
        if most and kept > most:
          counts['over the balance'] += 1
        else:
          yielded += 1
          yield Example(problem.id, prompts[problem.id], s.text)
  counts['kept'] += yielded


def balance(examples: Iterable[Example]) -> int:
  """How many of a problem are kept so that none has more than the median solved problem has; 0 where none is solved."""
  by_id = collections.Counter(e.problem_id for e in examples)
  return statistics.median_high(by_id.values()) if by_id else 0
