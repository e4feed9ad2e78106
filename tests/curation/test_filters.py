"""Which samples each filter accepts."""

from __future__ import annotations

import dataclasses

from sweb_jax.curation import FILTERS, accepted
from sweb_jax.records import Problem, Sample, Verdict
from sweb_jax.tasks.grading import add_votes


def drawn(answers: dict[str, str]) -> tuple[list[Sample], list[Verdict]]:
  """A character a sample: its answer, '.' for none, '!' for one that was cut. The gold answer is 'A'."""
  samples, verdicts = [], []
  for problem, row in answers.items():
    for i, answer in enumerate(row):
      said = None if answer in '.!' else answer
      samples.append(Sample(problem, i, f'text {i}', (5, 1), 'length' if answer == '!' else 'stop', -1.0))
      verdicts.append(Verdict(problem, i, said, said == 'A', 'why'))
  problems = [Problem(p, p, 'A') for p in answers]
  return samples, add_votes(lambda _, a, b: a == b, problems, verdicts)


def numbers(answers, name, first=99, **more):
  found = accepted(name, *drawn(answers), first=first, **more)
  return {p: [i for q, i in sorted(found) if q == p] for p in answers}


def test_right_answers_everything_whole_or_what_most_say():
  answers = {'p': 'ABB.!', 'q': '..AA!', 'r': '...!.'}
  assert numbers(answers, 'answer') == {'p': [0], 'q': [2, 3], 'r': []}
  assert numbers(answers, 'none') == {'p': [0, 1, 2, 3], 'q': [0, 1, 2, 3], 'r': [0, 1, 2, 4]}
  assert numbers(answers, 'majority') == {'p': [1, 2], 'q': [2, 3], 'r': []}


def test_only_the_first_samples_vote_and_a_tie_goes_to_the_answer_that_came_first():
  answers = {'p': 'BAABB'}
  assert [numbers(answers, 'majority', first=k)['p'] for k in range(1, 6)] == [
    [0], [0], [1, 2], [0, 3], [0, 3, 4],
  ]  # fmt: skip


def test_a_judge_accepts_what_it_says_is_right_and_no_opinion_is_no():
  opinions = {('p', 0): True, ('p', 1): False, ('p', 2): None}
  assert numbers({'p': 'BAA!'}, 'judge', opinions=opinions) == {'p': [0]}


def test_a_sample_that_was_cut_passes_no_filter():
  samples, verdicts = drawn({'p': 'AAA'})
  samples[1] = dataclasses.replace(samples[1], finish='length')
  for name in FILTERS:
    opinions = {('p', i): True for i in range(3)}
    assert ('p', 1) not in accepted(name, samples, verdicts, first=3, opinions=opinions)
