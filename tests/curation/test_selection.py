"""From graded samples to examples."""

from __future__ import annotations

import collections

from sweb_jax.curation import balance, select
from sweb_jax.records import Problem, Sample, Verdict

PROBLEMS = [Problem('b', 'two', '2'), Problem('a', 'one', '1')]
PROMPTS = {'a': 'Q: one A:', 'b': 'Q: two A:'}
TEXTS = {('a', 0): 'x', ('a', 1): 'bad', ('a', 2): ' x  ', ('a', 3): 'y', ('a', 4): 'z',
         ('b', 0): 'bad', ('b', 1): 'bad', ('b', 2): 'x', ('b', 3): 'bad', ('b', 4): 'bad'}  # fmt: skip
SAMPLES = [Sample(p, i, text, (1,), 'stop', 0.0) for (p, i), text in sorted(TEXTS.items(), reverse=True)]
VERDICTS = [Verdict(s.problem_id, s.index, None, s.text != 'bad', '') for s in SAMPLES]


def by_problem(samples: list[Sample], verdicts: list[Verdict], problems: list[Problem] = PROBLEMS) -> list[list]:
  pairs = list(zip(samples, verdicts, strict=True))
  return [[(s, v) for s, v in pairs if s.problem_id == p.id] for p in problems]


def chosen(*, first: int, max_per_problem: int = 0, dedupe: bool = False):
  counts, rules = collections.Counter(), dict(max_per_problem=max_per_problem, dedupe=dedupe)
  examples = list(select(PROBLEMS, PROMPTS, by_problem(SAMPLES, VERDICTS), counts, first=first, **rules))
  assert all(e.prompt == PROMPTS[e.problem_id] for e in examples)
  return [(e.problem_id, e.solution) for e in examples], counts


def test_correct_samples_are_kept_in_the_order_of_problems_and_indices():
  assert chosen(first=5) == (
    [('b', 'x'), ('a', 'x'), ('a', ' x  '), ('a', 'y'), ('a', 'z')], {'sampled': 10, 'wrong': 5, 'kept': 5}
  )


def test_a_smaller_budget_takes_the_first_samples_only():
  assert chosen(first=3) == ([('b', 'x'), ('a', 'x'), ('a', ' x  ')], {'sampled': 6, 'wrong': 3, 'kept': 3})
  assert chosen(first=1) == ([('a', 'x')], {'sampled': 2, 'wrong': 1, 'kept': 1})


def test_a_solution_a_problem_has_already_is_dropped_white_space_aside():
  kept, counts = chosen(first=5, dedupe=True)
  assert kept == [('b', 'x'), ('a', 'x'), ('a', 'y'), ('a', 'z')]  # 'x' of another problem is another example.
  assert counts == {'sampled': 10, 'wrong': 5, 'duplicate': 1, 'kept': 4}


def test_the_cap_keeps_the_lowest_indices_and_duplicates_do_not_use_it_up():
  kept, counts = chosen(first=5, max_per_problem=2, dedupe=True)
  assert kept == [('b', 'x'), ('a', 'x'), ('a', 'y')]
  assert counts == {'sampled': 10, 'wrong': 5, 'duplicate': 1, 'over the cap': 1, 'kept': 3}


def test_balance_keeps_no_more_of_a_problem_than_the_median_solved_one_has():
  verdicts = [Verdict(s.problem_id, s.index, None, (s.problem_id, s.index) != ('a', 1), '') for s in SAMPLES]
  how = dict(first=5, max_per_problem=0, dedupe=False)
  problems = [*PROBLEMS, Problem('c', 'three', '3')]
  one = [Sample('c', 0, 'x', (1,), 'stop', 0.0)]
  graded = by_problem([*SAMPLES, *one], [*verdicts, Verdict('c', 0, None, True, '')], problems)
  prompts, counts = PROMPTS | {'c': 'Q'}, collections.Counter()
  most = balance(select(problems, prompts, graded, collections.Counter(), **how))
  examples = list(select(problems, prompts, graded, counts, most=most, **how))
  assert [e.problem_id for e in examples] == ['b'] * 4 + ['a'] * 4 + ['c']  # Of 5, 4 and 1.
  assert counts == {'sampled': 11, 'wrong': 1, 'over the balance': 1, 'kept': 9}


def test_nothing_right_gives_no_examples_and_counts_0():
  wrong = [Verdict(s.problem_id, s.index, None, False, '') for s in SAMPLES]
  how = dict(first=5, max_per_problem=0, dedupe=True)
  counts = collections.Counter()
  assert not list(select(PROBLEMS, PROMPTS, by_problem(SAMPLES, wrong), counts, **how))
  assert dict(counts) == {'sampled': 10, 'wrong': 10, 'kept': 0}
  assert balance([]) == 0
