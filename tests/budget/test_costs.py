"""What a sample costs under each definition, by hand."""

import pytest

from sweb_jax import budget
from sweb_jax.budget import BudgetError, Cost, Prompts
from sweb_jax.budget.flops import draw_flops, read_flops
from sweb_jax.models.decoder import Opaque
from sweb_jax.models.gemma.config import SIZES

SHAPES = {'wc': SIZES['gemma2_9b'], 'se': SIZES['gemma2_27b']}
PRICES = {'wc': (0.075, 0.3), 'se': (3.5, 10.5)}
SECONDS = {'wc': 0.001, 'se': 0.004}
SHARED, ALONE = Prompts(600, 100), Prompts(600, 100, shared=False)


def cost(name, **tables):
  return Cost(name, SHAPES, **{'prices': PRICES, 'seconds': SECONDS} | tables)


def test_the_papers_cost_is_2p_a_drawn_token_and_reading_is_free():
  assert cost('paper').completion('wc', SHARED, 200) == 200 * 2 * 9_242_164_736
  assert cost('paper').prompt('wc', SHARED) == cost('paper').prefix('wc', SHARED) == 0


def test_tokens_cost_one_each_whoever_draws_them():
  assert cost('tokens').completion('wc', SHARED, 200) == cost('tokens').completion('se', SHARED, 200) == 200
  assert cost('tokens').prompt('se', ALONE) == 0


def test_flops_read_the_worked_examples_once_and_the_prompt_once_a_problem():
  flops, shape = cost('flops'), SHAPES['wc']
  assert flops.prefix('wc', SHARED) == read_flops(shape, 0, 600)
  # The prompt's last token is fed by the first decode step of every sample.
  assert flops.prompt('wc', SHARED) == read_flops(shape, 600, 99)
  assert flops.completion('wc', SHARED, 200) == draw_flops(shape, 700, 200)


def test_without_a_shared_prefix_every_problem_reads_the_worked_examples():
  flops, shape = cost('flops'), SHAPES['wc']
  assert flops.prefix('wc', ALONE) == 0
  assert flops.prompt('wc', ALONE) == read_flops(shape, 0, 699)
  assert flops.completion('wc', ALONE, 200) == flops.completion('wc', SHARED, 200)


def test_a_price_is_a_million_tokens():
  price = cost('price')
  assert price.completion('se', SHARED, 200) == pytest.approx(200 * 10.5e-6)
  assert price.prompt('se', SHARED) == pytest.approx(100 * 3.5e-6)
  assert price.prompt('se', ALONE) == pytest.approx(700 * 3.5e-6)
  assert price.prefix('se', SHARED) == pytest.approx(600 * 3.5e-6)


def test_seconds_are_what_was_measured():
  assert cost('seconds').completion('se', SHARED, 200) == pytest.approx(0.8)
  assert cost('seconds').prompt('se', SHARED) == 0


def test_an_arm_is_charged_prefix_prompts_and_samples():
  flops, shape = cost('flops'), SHAPES['wc']
  prompts = {'a': Prompts(600, 100), 'b': Prompts(600, 50), 'c': Prompts(600, 10)}
  spent = budget.charged(flops, 'wc', prompts, {'a': [200, 30], 'b': [40], 'c': []})
  assert spent == (
    read_flops(shape, 0, 600)
    + read_flops(shape, 600, 99) + draw_flops(shape, 700, 200) + draw_flops(shape, 700, 30)
    + read_flops(shape, 600, 49) + draw_flops(shape, 650, 40)
  )  # fmt: skip
  assert budget.charged(flops, 'wc', prompts, {}) == 0


@pytest.mark.parametrize(('each', 'readings'), [(0, 1), (1, 5), (2, 3), (5, 1), (8, 1)])
def test_a_service_reads_the_prompt_again_with_every_request(each, readings):
  price, prompts = cost('price'), Prompts(0, 100, each=each)
  spent = budget.charged(price, 'se', {'a': prompts, 'b': prompts}, {'a': [20] * 5, 'b': []})
  assert spent == pytest.approx((readings * 100 * 3.5 + 5 * 20 * 10.5) * 1e-6)


def test_what_a_request_reads_is_part_of_what_its_samples_are_expected_to_cost():
  once, again = (budget.typical(cost('price'), ('se',), Prompts(0, 100, each=n), 20, 10)['se'] for n in (0, 4))
  assert again.draw == pytest.approx(once.draw + once.read / 4) and again.read == 0
  spent = budget.charged(cost('price'), 'se', {'a': Prompts(0, 100, each=4)}, {'a': [20] * 8})
  assert 8 * again.draw == pytest.approx(spent)


def test_a_size_that_is_not_known_is_charged_by_price_and_tokens_only():
  unknown = {'wc': Opaque(), 'se': SIZES['gemma2_27b']}
  assert set(budget.costs('price', unknown, prices=PRICES, seconds={})) == {'price', 'tokens'}
  with pytest.raises(BudgetError, match=r"'wc' is not known, so 'flops'.*config\.recorded\.wc\.parameters"):
    budget.costs('flops', unknown, prices=PRICES, seconds={})
  assert Cost('flops', {'api': Opaque(7)}).completion('api', SHARED, 10) == 10 * 2 * 7


@pytest.mark.parametrize(
  ('name', 'tables', 'message'),
  [
    ('dollars', {}, "cost 'dollars' is not known; costs are paper, flops, price, seconds, tokens"),
    ('price', {'prices': {'wc': (1, 2)}}, "no price for 'se', found None"),
    ('price', {'prices': PRICES | {'se': 10.5}}, "no price for 'se', found 10.5"),
    ('price', {'prices': PRICES | {'se': (1, -2)}}, "no price for 'se'"),
    ('price', {'prices': PRICES | {'se': (1, 0)}}, "output token of 'se' costs nothing, so no budget ends"),
    ('seconds', {'seconds': {'wc': 1}}, "no time for 'se', found None"),
    ('seconds', {'seconds': SECONDS | {'se': 0}}, "no time for 'se', found 0"),
  ],
)
def test_what_cannot_be_priced_is_named(name, tables, message):
  with pytest.raises(BudgetError, match=message):
    cost(name, **tables).check(('wc', 'se'))


def test_an_unknown_model_is_named():
  with pytest.raises(BudgetError, match="'llama' is not a model; models are se, wc"):
    cost('paper').check(('llama',))


def test_costs_are_those_that_can_price_every_model():
  assert list(budget.costs('paper', SHAPES, prices={}, seconds={})) == ['paper', 'flops', 'tokens']
  assert list(budget.costs('price', SHAPES, prices=PRICES, seconds=SECONDS)) == list(budget.UNITS)
  with pytest.raises(BudgetError, match="no price for 'wc'"):
    budget.costs('price', SHAPES, prices={}, seconds={})
  with pytest.raises(BudgetError, match="no price for 'se'"):
    budget.costs('paper', SHAPES, prices={'wc': (1, 2)}, seconds={})
