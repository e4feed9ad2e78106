"""Each policy on problems whose answers are known, and the loop that spends a budget."""

import random

import pytest

from sweb_jax import budget
from sweb_jax.budget import BudgetError, Cost, Outcome, Prompts, allocate
from sweb_jax.budget.policies import ByDifficulty, Cascade, Known, Mixture, Uniform, UntilSolved, policy
from sweb_jax.models.gemma.config import SIZES

# 'p3': its samples are right from index 3 on.
PROBLEMS = tuple(f'p{i}' for i in range(8))
WC, SE = 'wc', 'se'
TOKENS = {WC: 10, SE: 10}
SHAPES = {WC: SIZES['gemma2_9b'], SE: SIZES['gemma2_27b']}
COST = Cost('tokens', SHAPES)


def right(ask) -> bool:
  return ask.index >= int(ask.problem[1:]) * (1 if ask.generator == WC else 0.5)


def spend(p, amount=200.0, cost=COST, draw=None, seed=0, problems=PROBLEMS):
  def look_up(asks):
    return [Outcome(10, right(a)) for a in asks]

  prompts = {g: dict.fromkeys(problems, Prompts(0, 5)) for g in TOKENS}
  return allocate(
    p, problems, budget=amount, cost=cost, prompts=prompts, tokens=TOKENS, seed=seed, draw=draw or look_up
  )


def counts(allocation, generator=WC):
  return {p: len(allocation.samples.get((generator, p), ())) for p in PROBLEMS}


POLICIES = [
  Uniform((WC,)),
  UntilSolved((WC,), 2),
  ByDifficulty((WC,)),
  Cascade((WC, SE), 2),
  Mixture(((SE, 0.5), (WC, 0.5))),
]


def test_uniform_gives_every_problem_as_many_and_the_rest_to_some():
  found = counts(spend(Uniform((WC,)), 190))
  assert sorted(found.values()) == [2] * 5 + [3] * 3  # 19 samples of 10 tokens.


def test_uniform_by_count_is_exact():
  assert spend(Uniform((WC,)), 19, cost=None).count == 19
  assert sorted(counts(spend(Uniform((WC,)), 16, cost=None)).values()) == [2] * 8


def test_until_solved_stops_at_the_wanted_number():
  found = counts(spend(UntilSolved((WC,), 2), 440))
  # 'p0' is right at once, so two samples; 'p3' at index 3, so five.
  assert [found[f'p{i}'] for i in range(8)] == [2, 3, 4, 5, 6, 7, 8, 9]


def test_when_all_are_solved_the_next_solution_is_the_goal():
  some = ('p0', 'p1')
  found = spend(UntilSolved((WC,)), 100, problems=some)
  assert found.total == 100
  assert found.count == 10


def test_more_samples_go_to_harder_problems():
  found = counts(spend(ByDifficulty((WC,), first=4), 2000))
  assert found['p7'] > found['p5'] > found['p0'] >= 4
  uniform = counts(spend(ByDifficulty((WC,), first=1, power=0), 800))
  assert max(uniform.values()) - min(uniform.values()) <= 1


def test_a_cascade_asks_the_strong_model_for_what_the_weak_one_left():
  found = spend(Cascade((WC, SE), 2), 370)
  assert set(counts(found, WC).values()) == {2}
  strong = counts(found, SE)
  assert strong['p0'] == strong['p1'] == 0  # Solved by the first two.
  assert [strong[f'p{i}'] for i in range(2, 8)] == [2, 3, 3, 4, 4, 5]  # Right at index 1, 2, 2, 3, 3, 4.


def test_a_mixture_holds_its_shares_where_the_budget_ends_in_the_first_round():
  problems, cost = [f'p{i}' for i in range(80)], {WC: 1, SE: 3}
  known, mixture = Known(tuple(problems)), Mixture(((SE, 0.5), (WC, 0.5)))
  while sum(known.spent.values()) < 240:  # One SE sample of every problem.
    for g, p in mixture.ask(known):
      known.drawn[g, p] = known.drawn.get((g, p), 0) + 1
      known.spent[g] = known.spent.get(g, 0) + cost[g]
  assert known.spent[SE] == pytest.approx(120, abs=30)


def test_a_mixture_spends_its_shares():
  found = spend(Mixture(((SE, 0.25), (WC, 0.75))), 800)
  assert found.spent == {SE: pytest.approx(200, abs=80), WC: pytest.approx(600, abs=80)}
  assert found.total == 800


@pytest.mark.parametrize('p', POLICIES, ids=lambda p: type(p).__name__)
class TestEveryPolicy:
  def test_spends_the_budget_and_asks_for_prefixes(self, p):
    for amount in (100, 777, 3000):
      found = spend(p, amount)
      assert amount - 10 < found.total <= amount and found.overshoot == 0
      assert all(list(indices) == list(range(len(indices))) for indices in found.samples.values())

  def test_decides_by_the_recorded_samples_alone(self, p):
    record = {}

    def drawing(asks):
      # As an engine does: in any order, some of them drawn by an earlier process.
      for a in random.Random(len(record)).sample(asks, len(asks)):
        record.setdefault(a, Outcome(random.Random(str(a)).randrange(5, 15), right(a)))
      return [record[a] for a in asks]

    first = spend(p, 1500, draw=drawing)
    again = spend(p, 1500, draw=lambda asks: [record[a] for a in asks])
    assert first == again

  def test_goes_beyond_the_budget_by_no_more_than_the_samples_in_flight(self, p):
    last = []

    def longer(asks):
      last[:] = asks
      return [Outcome(40 if len(asks) < 8 else 10, right(a)) for a in asks]

    found = spend(p, 1000, draw=longer)
    assert found.total <= 1000 + 40 * len(last)
    assert found.overshoot == max(0, found.total - 1000)

  def test_ends_where_a_record_does(self, p):
    found = spend(p, 1e6, draw=lambda asks: [Outcome(10, right(a)) if a.index < 12 else None for a in asks])
    assert found.ended == 'record'
    assert found.count > 0 and max(map(max, found.samples.values())) == 11

  def test_a_dearer_prompt_is_charged_once_a_problem_and_generator(self, p):
    price = Cost('price', SHAPES, {WC: (1e5, 1e5), SE: (1e5, 1e5)})  # 0.1 dollar a token.
    found = spend(p, 150, cost=price)
    assert found.total == pytest.approx(0.1 * (10 * found.count + 5 * len(found.samples)))


@pytest.mark.parametrize('each', [0, 1, 3])
def test_what_is_spent_is_what_the_samples_are_charged_however_often_prompts_are_read(each):
  prompts = {WC: dict.fromkeys(PROBLEMS, Prompts(0, 50, each=each))}
  price = Cost('price', SHAPES, prices={WC: (1.0, 2.0)})
  spent = allocate(
    UntilSolved((WC,), 2), PROBLEMS, budget=3e-3, cost=price, prompts=prompts, tokens=TOKENS, seed=0,
    draw=lambda asks: [Outcome(10, right(a)) for a in asks],
  )  # fmt: skip
  lengths = {p: [10] * n for p, n in counts(spent).items()}
  assert spent.total == pytest.approx(budget.charged(price, WC, prompts[WC], lengths))


def test_the_order_in_which_problems_go_ahead_is_chosen_by_seed():
  chosen = [frozenset(p for p, n in counts(spend(Uniform((WC,)), 40, seed=s)).items() if n) for s in range(6)]
  assert len(set(chosen)) > 1
  assert chosen[0] == frozenset(p for p, n in counts(spend(Uniform((WC,)), 40, seed=0)).items() if n)


@pytest.mark.parametrize('amount', [0, -5, float('nan'), 'much'])
def test_a_budget_that_is_not_positive_is_refused(amount):
  with pytest.raises(BudgetError, match='pays for nothing'):
    spend(Uniform((WC,)), amount)


def test_a_budget_without_end_is_refused():
  with pytest.raises(BudgetError, match='never ends'):
    spend(UntilSolved((WC,)), float('inf'))


def test_a_budget_too_small_for_one_sample_is_refused():
  with pytest.raises(BudgetError, match="9 tokens is too small for a single sample of 'wc'"):
    spend(Uniform((WC,)), 9)


def test_a_policy_is_made_from_its_fields():
  assert policy('x', {'kind': 'cascade', 'generators': ['wc', 'se'], 'first': 3}, (WC, SE)) == Cascade((WC, SE), 3)
  assert policy('x', {'kind': 'mixture', 'shares': {'wc': 0.5, 'se': 0.5}}, (WC, SE)).generators == (WC, SE)
  each = budget.policies({'until_solved': {'kind': 'until_solved', 'correct': 2}}, (WC, SE))
  assert each == {'wc_until_solved': UntilSolved((WC,), 2), 'se_until_solved': UntilSolved((SE,), 2)}


@pytest.mark.parametrize(
  ('fields', 'message'),
  [
    ({}, "policy 'x': None is not a kind of policy; kinds are uniform, until_solved, by"),
    ({'kind': 'best'}, "'best' is not a kind"),
    ({'kind': 'uniform', 'generators': ['wc'], 'corect': 1}, 'no field .corect.; its fields are generators'),
    ({'kind': 'uniform', 'generators': ['llama']}, "'llama' is not a generator; generators are wc, se"),
    ({'kind': 'uniform', 'generators': ['wc', 'se']}, 'uniform takes 1 of the generators wc, se'),
    ({'kind': 'cascade', 'generators': ['wc']}, 'cascade takes 2 of the generators'),
    ({'kind': 'cascade', 'generators': ['wc', 'se'], 'first': 0}, 'first=0 must be a positive whole number'),
    ({'kind': 'until_solved', 'generators': ['wc'], 'correct': -1}, 'correct=-1 must be a positive whole number'),
    ({'kind': 'by_difficulty', 'generators': ['wc'], 'power': 'high'}, "power='high' must be a number"),
    ({'kind': 'mixture'}, 'shares=None; give'),
    ({'kind': 'mixture', 'shares': {'wc': 1.0, 'se': 0.0}}, 'every share positive'),
    ({'kind': 'mixture', 'shares': {'wc': 0.5, 'se': 0.4}}, 'add up to 0.9, not to 1'),
  ],
)
def test_a_policy_that_makes_no_sense_is_named(fields, message):
  with pytest.raises(BudgetError, match=message):
    policy('x', fields, (WC, SE))


def test_nothing_known_asks_for_every_problem_once():
  known = Known(PROBLEMS)
  for p in POLICIES:
    if not isinstance(p, Mixture):
      assert sorted(q for _, q in p.ask(known)) == sorted(PROBLEMS)
