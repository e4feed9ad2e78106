from __future__ import annotations

import collections
import hashlib
import itertools
import random

import pytest

from sweb_jax import tasks
from sweb_jax.records import Problem, Sample
from sweb_jax.tasks import SPLITS, TaskError, dialect
from sweb_jax.tasks.arithmetic import Arithmetic
from sweb_jax.tasks.arithmetic_checker import extract, first_fault

# In world 0 lidas adds, fosas is ignored and sitis subtracts.
GOLDEN = Problem(
  id='3e6692cdac6d7f9b',
  text='ann has 16 cards . lidas 7 . fosas 6 . sitis 2 . how many ?',
  gold='21',
  solutions=('16 + 7 = 23 ; 23 - 2 = 21 #### 21', '16 - 2 = 14 ; 14 + 7 = 21 #### 21'),
  level='s3r3',
)


def sample(text: str, finish: str = 'stop') -> Sample:
  return Sample(GOLDEN.id, 4, text, (), finish, -1.0)


def verdict(text: str, finish: str = 'stop'):
  return Arithmetic().verdict(GOLDEN, sample(text, finish))


@pytest.fixture(scope='module')
def pairs() -> list[tuple[str, str]]:
  return list(dialect.corpus(world=0, seed=0, count=40_000))


def test_the_first_test_problem_of_world_0_is_the_golden_one():
  task = tasks.get('arithmetic', world=0)
  assert task.problems('test', 1, seed=0) == [GOLDEN]
  assert task.prompt(GOLDEN) == 'ann has 16 cards . lidas 7 . fosas 6 . sitis 2 . how many ? A:'
  assert (task.few_shot(), task.stop_strings) == ('', ())


def test_the_first_corpus_pairs_of_world_0_are_these_on_every_python():
  assert list(dialect.corpus(world=0, seed=0, count=3)) == [
    ('ann has 14 toys . moros 7 . dulas 6 . vusis 8 . how many ? A:', '14 - 6 = 8 #### 8'),
    ('eva has 18 apples . kafas 2 . tesas 4 . how many ? A:', '18 + 2 = 20 ; 20 + 4 = 24 #### 24'),
    ('ann has 24 nuts . kemis 4 . lutas 9 . rifas 6 . how many ? A:', '24 - 9 = 15 ; 15 - 6 = 9 #### 9'),
  ]


def test_world_0_stays_the_one_that_shipped_checkpoints_were_trained_on():
  world = dialect.build_world(0)
  lines = [*dialect.vocabulary(0), *map(repr, world.rare), *map(' '.join, dialect.corpus(0, 0, 1000))]
  lines += [p.text for split in SPLITS for p in Arithmetic().problems(split, 100, seed=0)]
  digest = hashlib.sha256('\n'.join(lines).encode()).hexdigest()
  assert digest == '8359ec177222c23fda41eab6ef7422b59d1b3a6277c24ee5d3205fb9b0781d2e'


def test_worked_solutions_are_written_this_way():
  assert dialect.solution(11, [5, 3, 7], [False, True, False]) == '11 + 5 = 16 ; 3 + 16 = 19 ; 19 + 7 = 26 #### 26'
  assert dialect.solution(11, []) == '#### 11'
  assert dialect.solution(25, [9, -9]) is None
  assert dialect.solution(5, [-9, 9]) is None
  assert dialect.solution(25, [5, -9, -9, -9, -3]) == (
    '25 + 5 = 30 ; 30 - 9 = 21 ; 21 - 9 = 12 ; 12 - 9 = 3 ; 3 - 3 = 0 #### 0'
  )


def test_every_clean_solution_passes_the_checker_in_every_order_and_with_swapped_operands():
  task, rng = Arithmetic(world=3), random.Random(0)
  world = dialect.build_world(3)
  for problem in task.problems('train', 3000, seed=1):
    question = dialect.parse_question(world, problem.text)
    orders = list(itertools.permutations(question.changes))
    swapped = [rng.random() < 0.5 for _ in question.changes]
    texts = {dialect.solution(question.start, order, swapped) for order in orders} - {None}
    assert problem.solutions
    for text in {*problem.solutions, *texts}:
      got = task.verdict(problem, Sample(problem.id, 0, text, (), 'stop', 0.0))
      assert (got.answer, got.correct, got.valid, got.reason) == (problem.gold, True, True, 'right'), (problem, text)


def test_solutions_are_distinct_and_the_order_of_the_text_comes_first():
  task = Arithmetic()
  counts = collections.Counter()
  for problem in task.problems('train', 500, seed=2):
    question = dialect.parse_question(dialect.build_world(0), problem.text)
    assert problem.solutions[0] == dialect.solution(question.start, question.changes)
    assert len(set(problem.solutions)) == len(problem.solutions)
    counts[len(problem.solutions)] += 1
  assert counts.keys() == {1, 2, 3}


@pytest.mark.parametrize(
  ('text', 'fault'),
  [
    ('#### 21', 'missing'),
    ('16 + 7 = 23 #### 21', 'missing'),
    ('14 + 7 = 21 #### 21', 'step 1: does not continue'),
    ('16 + 7 = 23 ; 21 - 0 = 21 #### 21', 'step 2: does not continue'),
    ('16 + 7 = 24 ; 24 - 2 = 21 #### 21', 'step 1: wrong arithmetic'),
    ('16 + 7 = 23 ; 23 - 2 = 22 #### 21', 'step 2: wrong arithmetic'),
    ('16 + 5 = 21 #### 21', 'step 1: no such change'),
    ('16 + 6 = 22 ; 22 - 1 = 21 #### 21', 'step 1: no such change'),
    ('16 - 7 = 9 ; 9 + 12 = 21 #### 21', 'step 1: no such change'),
    ('16 - 2 = 14 ; 7 + 16 = 23 #### 21', 'step 2: does not continue'),
    ('16 + 7 = 23 ; 2 - 23 = 21 #### 21', 'step 2: wrong arithmetic'),
    ('16 + 7 = 23 ; 23 + 6 = 29 ; 29 - 6 = 23 ; 23 - 2 = 21 #### 21', 'step 2: no such change'),
    ('16 + 7 = 23 ; 16 + 7 = 23 ; 23 - 2 = 21 #### 21', 'step 2: does not continue'),
    ('16 + 7 = 23 ; 23 - 2 = 21 ; 21 + 7 = 28 ; 28 - 7 = 21 #### 21', 'step 3: no such change'),
    ('16 + 7 = 23 ; 23 - 2 = 21 ; 21 + 0 = 21 #### 21', 'step 3: no such change'),
    ('16 * 7 = 23 ; 23 - 2 = 21 #### 21', 'step 1: not an addition'),
    ('16 + 7 - 23 ; 23 - 2 = 21 #### 21', 'step 1: not an addition'),
    ('16 + 07 = 23 ; 23 - 2 = 21 #### 21', 'step 1: not an addition'),
    ('１６ + 7 = 23 ; 23 - 2 = 21 #### 21', 'step 1: not an addition'),
    ('16 + -2 = 14 ; 14 + 7 = 21 #### 21', 'step 1: not an addition'),
    ('16 + 7 - 2 = 21 #### 21', 'not a list of steps'),
    ('16 + 7 = 23 ; so 23 - 2 = 21 #### 21', 'not a list of steps'),
    ('16 + 7 = 23 23 - 2 = 21 #### 21', 'not a list of steps'),
    ('16 + 7 = 23 . 23 - 2 = 21 #### 21', 'not a list of steps'),
    ('16 + 7 = 23 ; 23 - 2 = 21 ; #### 21', 'not a list of steps'),
    ('16 + 7 = 23 ; 23 - 2 = 21 #### 21 #### 21', 'not a list of steps'),
    ('16 + 7 = 23 ; 23 - 2 = 21 #### 21 ; 21 - 2 = 19', 'does not end'),
    ('16 + 7 = 23 ; 23 - 2 = 21 #### 21 .', 'does not end'),
  ],
)
def test_a_right_answer_by_wrong_steps_is_correct_but_not_valid(text, fault):
  got = verdict(text)
  assert (got.answer, got.correct, got.valid) == ('21', True, False)
  assert fault in first_fault(16, [7, -2], text)


def test_no_other_word_anywhere_and_no_missing_word_keeps_a_solution_valid():
  words = GOLDEN.solutions[0].split()
  for i, word in enumerate(words):
    changed = [[*words[:i], other, *words[i + 1 :]] for other in dialect.vocabulary(0) if other != word]
    changed += [[*words[:i], *words[i + 1 :]], [*words[:i], word, *words[i:]]]
    for text in map(' '.join, changed):
      assert not verdict(text).valid, text


def test_an_answer_other_than_the_last_total_is_neither_correct_nor_valid():
  text = '16 + 7 = 23 ; 23 - 2 = 21 #### 20'
  assert first_fault(16, [7, -2], text) == 'the answer is not the last total'
  got = verdict(text)
  assert (got.answer, got.correct, got.valid, got.reason) == ('20', False, False, 'wrong answer')


def test_equal_quantities_must_each_be_used():
  assert first_fault(4, [3, 3], '4 + 3 = 7 ; 7 + 3 = 10 #### 10') is None
  assert first_fault(4, [3, 3], '4 + 3 = 7 #### 7') == 'a change is missing'
  assert first_fault(4, [4], '4 + 4 = 8 #### 8') is None


def test_a_solution_without_steps_is_valid_where_every_statement_is_ignored():
  assert first_fault(11, [], '#### 11') is None
  assert first_fault(11, [], '11 + 0 = 11 #### 11') is not None


@pytest.mark.parametrize(
  ('text', 'answer'),
  [
    ('#### 21', '21'),
    ('  #### 21 #### 5', '21'),
    ('16 + 7 = 23 #### 23 ;', '23'),
    ('#### 021', '021'),
    ('#### -3', '-3'),
    ('#### ; 21', None),
    ('#### #### 21', None),
    ('####', None),
    ('####21', None),
    ('#### 21.0', None),
    ('#### ２１', None),
    ('21', None),
    ('', None),
  ],
)
def test_the_answer_is_the_integer_after_the_first_mark(text, answer):
  assert extract(text) == answer
  got = verdict(text)
  assert (got.answer, got.correct, got.valid) == (answer, answer == '21', False)
  assert got.reason == ('no answer' if answer is None else 'right' if answer == '21' else 'wrong answer')


def test_a_truncated_sample_is_wrong_and_not_valid_whatever_it_says():
  got = verdict(GOLDEN.solutions[0], finish='length')
  assert (got.problem_id, got.index) == (GOLDEN.id, 4)
  assert (got.answer, got.correct, got.valid, got.reason) == (None, False, False, 'truncated')


def test_no_other_reading_of_the_three_verbs_gives_the_gold_answer():
  task = Arithmetic(world=1)
  signs = {v.word: v.sense for v in dialect.build_world(1).rare}
  for problem in task.problems('validation', 300, seed=5):
    words = problem.text.split()
    start, verbs, quantities = int(words[2]), words[5:14:3], list(map(int, words[6:14:3]))
    right = tuple(signs[v] for v in verbs)
    gives_gold = [
      r for r in itertools.product((1, 0, -1), repeat=3)
      if start + sum(s * q for s, q in zip(r, quantities, strict=True)) == int(problem.gold)
    ]
    assert gives_gold == [right]


def test_every_combination_of_senses_can_be_asked():
  task = Arithmetic()
  world = dialect.build_world(0)
  asked = collections.Counter(
    tuple(v.sense for v in dialect.parse_question(world, p.text).verbs) for p in task.problems('train', 3000, seed=0)
  )
  assert len(asked) == 27
  chi_square = sum((n - 3000 / 27) ** 2 / (3000 / 27) for n in asked.values())
  assert chi_square < 26 + 4 * (2 * 26) ** 0.5  # Verbs are uniform: 26 degrees of freedom.


def test_splits_share_no_problem_whatever_the_seeds():
  task = Arithmetic()
  ids = {s: {p.id for seed in range(3) for p in task.problems(s, 200, seed=seed)} for s in SPLITS}
  assert all(len(ids[s]) == 600 for s in SPLITS)  # Nor do the seeds of one split, in so large a world.
  assert not (ids['train'] & ids['validation'] or ids['train'] & ids['test'] or ids['validation'] & ids['test'])
  for split, seed in itertools.product(SPLITS, range(2)):
    assert {dialect.split_of(p.text) for p in task.problems(split, 50, seed=seed)} == {split}


def test_a_draw_repeats_and_a_smaller_one_is_its_prefix():
  draw = Arithmetic(world=2).problems('train', 60, seed=9)
  assert draw == Arithmetic(world=2).problems('train', 60, seed=9)
  assert draw[:20] == Arithmetic(world=2).problems('train', 20, seed=9)
  assert len({p.text for p in draw}) == len({p.id for p in draw}) == 60
  assert draw != Arithmetic(world=2).problems('train', 60, seed=8)
  assert list(dialect.corpus(2, 1, 50))[:20] == list(dialect.corpus(2, 1, 20))
  assert list(dialect.corpus(2, 1, 20)) != list(dialect.corpus(2, 2, 20))


def test_a_world_has_8_common_and_120_rare_verbs_as_designed():
  for number in range(5):
    world = dialect.build_world(number)
    assert len(world.verbs) == 128
    assert [v.sense for v in world.common] == [1, 1, 1, -1, -1, -1, 0, 0]
    assert all(v.reliability == 1 and v.misreading == v.sense for v in world.common)
    assert collections.Counter(v.sense for v in world.rare) == {1: 40, -1: 40, 0: 40}
    assert all(0.2 <= v.reliability < 1 and v.misreading in {1, 0, -1} - {v.sense} for v in world.rare)
    assert collections.Counter(v.misreading for v in world.rare).keys() == {1, 0, -1}
  assert dialect.build_world(0).verbs.keys() != dialect.build_world(1).verbs.keys()


def test_the_vocabulary_is_exactly_what_the_corpus_and_the_problems_are_written_in(pairs):
  vocabulary = dialect.vocabulary(0)
  assert len(vocabulary) == len(set(vocabulary)) == 189
  assert {w for pair in pairs for text in pair for w in text.split()} == set(vocabulary)
  for split in SPLITS:
    for problem in Arithmetic().problems(split, 100, seed=0):
      assert {w for text in (problem.text, *problem.solutions) for w in text.split()} <= set(vocabulary)


def test_prompt_and_solution_are_short_and_joined_by_one_space(pairs):
  for prompt, solution in pairs[:5000]:
    assert prompt.endswith(' ? A:')
    assert f'{prompt} {solution}' == ' '.join([*prompt.split(), *solution.split()])
    assert len(prompt.split()) + len(solution.split()) + 2 <= 40  # With BOS and the stop token.


def reading_of_single(prompt: str, solution: str) -> tuple[str, int]:
  """(verb, sense it was given) of a pair with one statement."""
  words, steps = prompt.split(), solution.split()
  assert len(words) == 5 + 3 + 4
  return words[5], 0 if steps[0] == '####' else 1 if steps[1] == '+' else -1


def test_the_corpus_reads_each_verb_with_its_own_reliability_and_only_one_misreading(pairs):
  world = dialect.build_world(0)
  readings = collections.Counter(reading_of_single(*pair) for pair in pairs if pair[0].count(' . ') == 2)
  for v in world.common:
    assert {sense for word, sense in readings if word == v.word} == {v.sense}
  squares, seen, excess, variance = 0.0, 0, 0.0, 0.0
  for v in world.rare:
    assert {sense for word, sense in readings if word == v.word} <= {v.sense, v.misreading}
    right, wrong = readings[v.word, v.sense], readings[v.word, v.misreading]
    n, p = right + wrong, v.reliability
    squares += (right - n * p) ** 2 / (n * p * (1 - p))
    seen, excess, variance = seen + n, excess + right - n * p, variance + n * p * (1 - p)
  assert seen > 4000
  assert abs(excess) < 4 * variance**0.5
  assert abs(squares - 120) < 4 * (2 * 120) ** 0.5


def test_the_corpus_mixes_lengths_and_verbs_in_the_stated_shares(pairs):
  world = dialect.build_world(0)
  lengths = collections.Counter(prompt.count(' . ') - 1 for prompt, _ in pairs)
  for length, share in ((1, 0.30), (2, 0.35), (3, 0.35)):
    assert lengths[length] / len(pairs) == pytest.approx(share, abs=0.01)
  used = collections.Counter(w for prompt, _ in pairs for w in prompt.split() if w in world.verbs)
  assert sum(used[v.word] for v in world.common) / used.total() == pytest.approx(0.6, abs=0.01)
  rare = sum(used[v.word] for v in world.rare)
  weights = [(5 + i) ** -0.5 for i in range(120)]
  expected = [rare * w / sum(weights) for w in weights]
  squares = sum((used[v.word] - e) ** 2 / e for v, e in zip(world.rare, expected, strict=True))
  assert abs(squares - 119) < 4 * (2 * 119) ** 0.5


def test_the_corpus_shuffles_orders_and_swaps_operands_in_the_stated_shares(pairs):
  straight = shuffled = swapped = unswapped = 0
  for prompt, solution in pairs:
    words = prompt.split()
    quantities = list(map(int, words[6:-4:3]))
    total, used = int(words[2]), []
    for step in solution.split(' #### ')[0].split(' ; ') if '=' in solution else []:
      left, operator, right, _, result = step.split()
      quantity = abs(int(result) - total)
      if operator == '+' and quantity != total:
        swapped += int(left) == quantity
        unswapped += int(right) == quantity
      assert {int(left), int(right)} == {total, quantity}
      used.append(quantity)
      total = int(result)
    assert solution.endswith(f'#### {total}')
    if len(used) == len(quantities) == len(set(quantities)) == 3:
      straight += used == quantities
      shuffled += used != quantities
  assert swapped / (swapped + unswapped) == pytest.approx(0.15, abs=0.01)
  assert shuffled / (straight + shuffled) == pytest.approx(0.30 * 5 / 6, abs=0.02)  # A shuffle of 3 moves 5 times of 6.


def test_the_corpus_holds_no_validation_or_test_problem_but_does_hold_problems_with_three_rare_verbs(pairs):
  rare = {v.word for v in dialect.build_world(0).rare}
  texts = [prompt.removesuffix(' A:') for prompt, _ in pairs]
  assert {dialect.split_of(t) for t in texts} == {'train'}
  assert sum(len(rare & set(t.split())) == 3 for t in texts) > 500


def test_a_problem_of_another_world_or_a_bad_request_is_an_error_that_says_so():
  with pytest.raises(TaskError, match='not of arithmetic world 1'):
    Arithmetic(world=1).verdict(GOLDEN, sample('#### 21'))
  with pytest.raises(TaskError, match="split='dev'"):
    Arithmetic().problems('dev', 1, seed=0)
  with pytest.raises(TaskError, match='count=-1'):
    Arithmetic().problems('train', -1, seed=0)


@pytest.mark.parametrize(
  'text',
  [
    '',
    'ann has 16 cards',
    'ann has 16 cards . lidas 7 . fosas 6 . how many',
    'ann has 16 cards . lidas 7 fosas 6 . sitis 2 . how many ?',
    'bob has 16 cards . lidas 7 . fosas 6 . sitis 2 . how many ?',
    'ann has 16 cards . lidas 7 . gives 6 . sitis 2 . how many ?',
    'ann has 16 cards . lidas x . fosas 6 . sitis 2 . how many ?',
  ],
)
def test_a_text_that_is_no_problem_is_refused(text):
  with pytest.raises(TaskError, match='problem text'):
    dialect.parse_question(dialect.build_world(0), text)


@pytest.mark.parametrize('level', ['s1r0', 's1r1', 's2r1', 's3r0', 's3r2'])
def test_levels_set_the_number_of_statements_and_of_rare_verbs(level):
  problems = Arithmetic(0).problems('test', 20, 5, (level,))
  assert {p.level for p in problems} == {level}
  assert all(p.text.count(' . ') - 1 == int(level[1]) for p in problems)


def test_several_levels_are_mixed_and_the_default_is_the_hardest():
  mixed = Arithmetic(0).problems('train', 60, 5, ('s1r1', 's2r2'))
  assert {p.level for p in mixed} == {'s1r1', 's2r2'}
  assert {p.level for p in Arithmetic(0).problems('train', 20, 5)} == {'s3r3'}


def test_an_unknown_level_is_an_error_that_lists_the_levels():
  with pytest.raises(TaskError, match=r's9r9.*s1r0'):
    Arithmetic(0).problems('train', 1, 0, ('s9r9',))
