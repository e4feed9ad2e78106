"""Budgets become the paper's arms: WC 3 against SE 1, WC 30 against SE 10."""

import pytest

from sweb_jax import budget
from sweb_jax.budget import (
  Arm,
  BudgetError,
  Comparison,
  Cost,
  Prompts,
  Typical,
  comparisons,
  match_arms,
  matched_samples,
  planned_samples,
  policies,
  typical,
)
from sweb_jax.models.gemma.config import SIZES

B27, B9, B2 = 27_227_718_144, 9_242_164_736, 2_614_636_800
PAPER = {'low': {'se': 1}, 'high': {'se': 10}}
GEMMA2 = {'se': B27, 'wc': B9}


@pytest.mark.parametrize(
  ('anchor', 'samples', 'other', 'expected'),
  [
    (B27, 1, B9, 3),  # 2.946 -> 3
    (B27, 10, B9, 30),  # 3 * 10, not round(29.46) = 29.
    (B9, 1, B2, 4),  # 3.535 -> 4
    (B9, 10, B2, 40),
    (B27, 1, B2, 10),  # 10.41 -> 10
    (B9, 30, B27, 10),
    (B9, 31, B27, 10),
    (B9, 2, B27, 0),
    (B9, 5, B9, 5),
  ],
)
def test_matched_samples_by_hand(anchor, samples, other, expected):
  assert matched_samples(anchor, samples, other) == expected


def test_the_arms_of_the_paper():
  assert match_arms(PAPER, GEMMA2, number_matched=True, gold=True) == [
    Arm('wc_low', 'wc', 3, 'low', 'compute'),
    Arm('se_low', 'se', 1, 'low', 'compute'),
    Arm('wc_high', 'wc', 30, 'high', 'compute'),
    Arm('se_high', 'se', 10, 'high', 'compute'),
    Arm('wc_low_n', 'wc', 1, 'low', 'number'),
    Arm('wc_high_n', 'wc', 10, 'high', 'number'),
    Arm('gold', None, None, None, None),
  ]


def test_controls_and_gold_come_only_when_asked():
  names = [a.name for a in match_arms(PAPER, GEMMA2, number_matched=False, gold=False)]
  assert names == ['wc_low', 'se_low', 'wc_high', 'se_high']


def test_the_comparisons_of_the_paper():
  assert comparisons(match_arms(PAPER, GEMMA2, number_matched=True, gold=True)) == [
    Comparison('low budget', 'wc_low', 'se_low'),
    Comparison('high budget', 'wc_high', 'se_high'),
    Comparison('low budget, number-matched', 'wc_low_n', 'se_low'),
    Comparison('high budget, number-matched', 'wc_high_n', 'se_high'),
  ]


def test_without_controls_there_are_only_compute_matched_comparisons():
  found = comparisons(match_arms(PAPER, GEMMA2, number_matched=False, gold=True))
  assert [c.name for c in found] == ['low budget', 'high budget']


def test_the_cheaper_generator_is_a_also_where_it_is_the_anchor():
  arms = match_arms({'low': {'wc': 3}}, GEMMA2, number_matched=True, gold=False)
  assert [(a.name, a.samples) for a in arms] == [('wc_low', 3), ('se_low', 1), ('se_low_n', 3)]
  assert comparisons(arms) == [
    Comparison('low budget', 'wc_low', 'se_low'),
    Comparison('low budget, number-matched', 'wc_low', 'se_low_n'),
  ]


def test_three_generators_are_compared_in_pairs_with_names_apart():
  sizes = {'l': B27, 'm': B9, 's': B2}
  arms = match_arms({'low': {'m': 6}}, sizes, number_matched=True, gold=False)
  assert [(a.name, a.samples) for a in arms] == [
    ('s_low', 24), ('m_low', 6), ('l_low', 2), ('s_low_n', 6), ('l_low_n', 6)
  ]
  assert comparisons(arms) == [
    Comparison('low budget: s against m', 's_low', 'm_low'),
    Comparison('low budget: s against l', 's_low', 'l_low'),
    Comparison('low budget: m against l', 'm_low', 'l_low'),
    Comparison('low budget, number-matched: s against m', 's_low_n', 'm_low'),
    Comparison('low budget, number-matched: s against l', 's_low_n', 'l_low_n'),
    Comparison('low budget, number-matched: m against l', 'm_low', 'l_low_n'),
  ]


def test_arms_that_coincide_stay_apart_by_name():
  arms = match_arms({'low': {'se': 1}}, {'se': 100, 'wc': 90}, number_matched=True, gold=False)
  assert [(a.name, a.samples) for a in arms] == [('wc_low', 1), ('se_low', 1), ('wc_low_n', 1)]


def test_every_comparison_names_arms_of_one_budget_and_two_generators():
  sizes = {'l': B27, 'm': B9, 's': B2}
  arms = match_arms({'low': {'l': 1}, 'high': {'l': 10}}, sizes, number_matched=True, gold=True)
  by_name = {a.name: a for a in arms}
  found = comparisons(arms)
  assert len(found) == len({c.name for c in found}) == 2 * 2 * 3
  for c in found:
    a, b = by_name[c.a], by_name[c.b]
    assert a.budget == b.budget
    assert sizes[a.generator] < sizes[b.generator]
    assert ('number' in c.name) == (a.matched == 'number' or b.matched == 'number')
    if 'number' in c.name:
      assert a.samples == b.samples


@pytest.mark.parametrize('samples', [1, 2, 7, 10])
def test_every_arm_of_a_budget_costs_the_same_up_to_the_rounding_of_the_ratio(samples):
  arms = match_arms({'x': {'l': samples}}, {'l': B27, 'm': B9, 's': B2}, number_matched=False, gold=False)
  sizes = {'l': B27, 'm': B9, 's': B2}
  anchor = samples * budget.flops_per_token(B27)
  for arm in arms:
    assert arm.samples * budget.flops_per_token(sizes[arm.generator]) == pytest.approx(anchor, rel=0.5 / 2.5)


@pytest.mark.parametrize(
  ('budgets', 'parameters', 'message'),
  [
    ({'low': {'se': 0}}, GEMMA2, "budget 'low': 0 samples of 'se'"),
    ({'low': {'se': -1}}, GEMMA2, "budget 'low': -1 samples"),
    ({'low': {'se': 1.5}}, GEMMA2, "budget 'low': 1.5 samples"),
    ({'low': {'se': True}}, GEMMA2, "budget 'low': True samples"),
    ({'low': {'llama': 1}}, GEMMA2, "budget 'low': 'llama' is not a generator; generators are se, wc"),
    ({'low': {'se': 1, 'wc': 3}}, GEMMA2, r"budget 'low' must name one anchor .* found \['se', 'wc'\]"),
    ({'low': {}}, GEMMA2, "budget 'low' must name one anchor"),
    ({}, GEMMA2, 'at least one generator'),
    ({'low': {'se': 1}}, {}, 'at least one generator'),
    ({'low': {'se': 1}}, {'se': 0, 'wc': 5}, "generator 'se': 0 is not a number of parameters"),
    ({'low': {'se': 1}}, {'se': 10, 'wc': None}, "generator 'wc': None is not a number of parameters"),
    ({'low': {'wc': 2}}, GEMMA2, "2 samples of 'wc' are too small for a single sample of 'se'"),
    ({'low': {'se': 1}, 'low_n': {'se': 1}}, GEMMA2, 'two arms are called wc_low_n'),
  ],
)
def test_a_bad_budget_is_named(budgets, parameters, message):
  with pytest.raises(BudgetError, match=message):
    match_arms(budgets, parameters, number_matched=True, gold=False)


# Exact ratios, amounts, other costs, policies -------------------------------------------------------------------------

SHAPES = {'se': SIZES['gemma2_27b'], 'wc': SIZES['gemma2_9b']}


def arms(budgets, cost='paper', prompts=Prompts(0, 100), problems=1000, prices=None, **kwargs):  # noqa: B008
  chosen = Cost(cost, SHAPES, prices or {})
  expected = typical(chosen, ('se', 'wc'), prompts, 200, problems)
  return match_arms(budgets, GEMMA2, **{
    'number_matched': False, 'gold': False, 'typical': expected, 'unit': chosen.unit, **kwargs
  })  # fmt: skip


def test_the_papers_cost_gives_the_papers_arms():
  assert arms(PAPER) == match_arms(PAPER, GEMMA2, number_matched=False, gold=False)


def test_an_exact_ratio_is_a_fraction_of_a_sample():
  (wc_low, se_low, *_) = arms(PAPER, exact=True)
  assert (wc_low.samples, wc_low.whole, wc_low.policy) == (pytest.approx(2.946, abs=5e-4), 2, 'uniform')
  assert (se_low.samples, se_low.policy) == (1, None)
  expected = typical(Cost('paper', SHAPES), ('se', 'wc'), Prompts(0, 100), 200, 1000)
  # 946 of a thousand problems get a third sample: what is left of the budget is less than a sample.
  assert planned_samples(wc_low, None, 0, expected, 1000) == {'wc': 2946}
  left = 1000 * expected['se'].draw - 2946 * expected['wc'].draw
  assert 0 <= left < expected['wc'].draw


def test_a_price_gives_35_of_flash_for_1_of_pro():
  prices = {'se': (0.0, 10.5), 'wc': (0.0, 0.3)}
  assert [(a.name, a.samples) for a in arms({'low': {'se': 1}}, 'price', prices=prices)] == [
    ('wc_low', 35), ('se_low', 1)
  ]  # fmt: skip


def test_an_exact_price_counts_the_prompt():
  # (1 * 200 * 10.5 + 100 * 3.5 - 100 * 0.075) / (200 * 0.3) = 40.70833
  prices = {'se': (3.5, 10.5), 'wc': (0.075, 0.3)}
  found = arms({'low': {'se': 1}}, 'price', prices=prices, exact=True)
  assert found[0].samples == pytest.approx(40.7083333)


def test_an_amount_is_spent_by_every_generator_until_it_ends():
  found = arms({'low': {'flops': 1e18}})
  assert found == [
    Arm('wc_low', 'wc', None, 'low', 'compute', 'uniform'), Arm('se_low', 'se', None, 'low', 'compute', 'uniform')
  ]  # fmt: skip
  assert [c.name for c in comparisons(found)] == ['low budget']


def test_a_grid_of_overlapping_budgets_shares_its_samples():
  found = arms({'a': {'se': 1}, 'b': {'se': 3}, 'c': {'se': 9}})
  counts = {g: [a.whole for a in found if a.generator == g] for g in GEMMA2}
  assert counts == {'se': [1, 3, 9], 'wc': [3, 9, 27]}  # Prefixes of the last: 9 and 27 are drawn, in all.


def test_a_policy_has_an_arm_a_budget_beside_the_uniform_one():
  chosen = policies({
    'u': {'kind': 'uniform', 'generators': ['wc']},
    'hard': {'kind': 'until_solved', 'generators': ['wc']},
    'mixed': {'kind': 'mixture', 'shares': {'wc': 0.5, 'se': 0.5}},
  }, ('se', 'wc'))
  found = arms(PAPER, policies=chosen)
  assert [a.name for a in found if a.matched == 'spending'] == [
    'u_low', 'u_high', 'hard_low', 'hard_high', 'mixed_low', 'mixed_high'
  ]  # fmt: skip
  pairs = [(c.a, c.b) for c in comparisons(found, ['u'])][2:]
  assert pairs == [('hard_low', 'u_low'), ('hard_high', 'u_high'), ('mixed_low', 'u_low'), ('mixed_high', 'u_high')]
  without = [(c.a, c.b) for c in comparisons([a for a in found if a.policy != 'u'])][2:]
  assert without[0] == ('hard_low', 'wc_low') and ('mixed_high', 'se_high') in without


def test_a_variant_has_an_arm_beside_each_compute_matched_one_of_its_budgets():
  found = match_arms(PAPER, GEMMA2, number_matched=True, gold=True, variants={'one': ('high',), 'all': ('low', 'high')})
  assert found[6:10] == [
    Arm('wc_high_one', 'wc', 30, 'high', 'variant', None, 'one'),
    Arm('se_high_one', 'se', 10, 'high', 'variant', None, 'one'),
    Arm('wc_low_all', 'wc', 3, 'low', 'variant', None, 'all'),
    Arm('se_low_all', 'se', 1, 'low', 'variant', None, 'all'),
  ]
  names = {c.name: (c.a, c.b) for c in comparisons(found)}
  assert names['high budget, one'] == ('wc_high_one', 'se_high_one')
  assert names['low budget, all'] == ('wc_low_all', 'se_low_all')
  assert names['high budget: wc_high_one against wc_high'] == ('wc_high_one', 'wc_high')
  assert len(names) == 4 + 3 + 6 and 'low budget, one' not in names


def test_a_single_generator_is_compared_with_its_smaller_budgets():
  found = match_arms(
    {'one': {'wc': 1}, 'high': {'wc': 30}}, {'wc': B9}, number_matched=False, gold=True, variants={'kept': ('high',)}
  )
  assert [(c.a, c.b) for c in comparisons(found)] == [
    ('wc_high_kept', 'wc_high'), ('wc_high', 'wc_one'), ('wc_high_kept', 'wc_one')
  ]  # fmt: skip


def test_a_variant_of_samples_that_a_policy_shares_out_is_refused():
  with pytest.raises(BudgetError, match="variant 'one': arm 'wc_low' has not as many samples of every problem"):
    arms(PAPER, exact=True, variants={'one': ('low',)})


def test_what_policies_are_expected_to_hold():
  expected = {'wc': Typical(1.0, 0.5), 'se': Typical(3.0, 1.0)}
  cascade = policies({'c': {'kind': 'cascade', 'generators': ['wc', 'se'], 'first': 2}}, ('wc', 'se'))['c']
  mixture = policies({'m': {'kind': 'mixture', 'shares': {'wc': 0.5, 'se': 0.5}}}, ('wc', 'se'))['m']
  arm = Arm('x', None, None, 'low', 'spending', 'x')
  # 10 problems; 20 samples of wc and reading cost 25, reading with se 10: (100 - 25 - 10) / 3.
  assert planned_samples(arm, cascade, 100, expected, 10) == {'wc': 20, 'se': 21}
  assert planned_samples(arm, mixture, 100, expected, 10) == {'wc': 45, 'se': 13}


@pytest.mark.parametrize(
  ('amount', 'message'),
  [
    ({'flops': 0}, "budget 'low': 0 flops is not a positive, finite amount"),
    ({'flops': -1.0}, "budget 'low': -1.0 flops"),
    ({'flops': float('inf')}, 'not a positive, finite amount'),
    ({'flops': 1e9}, "1e.09 flops are too small for a single sample of '.*', about 1.09e"),
    ({'dollars': 5}, "budget 'low' is in dollars, and costs are in FLOPs"),
    ({'euros': 5}, "'euros' is not a generator; generators are se, wc"),
  ],
)
def test_an_amount_that_makes_no_sense_is_named(amount, message):
  with pytest.raises(BudgetError, match=message):
    arms({'low': amount})
