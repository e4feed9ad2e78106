"""Budgets become the paper's arms: WC 3 against SE 1, WC 30 against SE 10."""

import pytest

from sweb_jax import budget
from sweb_jax.budget import Arm, BudgetError, Comparison, comparisons, match_arms, matched_samples

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
