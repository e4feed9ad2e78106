"""2P to draw a token, 6P to train on it."""

import pytest

from sweb_jax import budget

GEMMA2_27B = 27_227_718_144
GEMMA2_9B = 9_242_164_736
GEMMA2_2B = 2_614_636_800


def test_a_token_costs_twice_the_parameters_to_draw_and_six_times_to_train_on():
  assert budget.flops_per_token(GEMMA2_9B) == 18_484_329_472
  assert budget.training_flops_per_token(GEMMA2_9B) == 55_452_988_416


def test_the_ratio_of_gemma_2_sizes():
  assert budget.ratio(GEMMA2_27B, GEMMA2_9B) == pytest.approx(2.946, abs=5e-4)
  assert budget.ratio(GEMMA2_9B, GEMMA2_2B) == pytest.approx(3.535, abs=5e-4)


@pytest.mark.parametrize('parameters', [0, -5])
def test_a_model_without_parameters_has_no_cost(parameters):
  with pytest.raises(budget.BudgetError, match=f'{parameters} parameters'):
    budget.flops_per_token(parameters)
  with pytest.raises(budget.BudgetError):
    budget.ratio(GEMMA2_9B, parameters)
