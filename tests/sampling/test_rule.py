"""The sampling rule, one token at a time."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from sweb_jax.sampling import Rule
from sweb_jax.sampling.rule import draw, row_keys

VOCAB = 8
COUNT = 20_000
drawn = jax.jit(draw, static_argnames='rule')
LOGITS = np.asarray([1.5, -0.3, 0.9, 2.1, -2.0, 0.2, 1.1, -1.0], np.float32)


def draws(rule: Rule, logits: np.ndarray = LOGITS) -> tuple[np.ndarray, np.ndarray]:
  """COUNT draws from the same logits, each with the key of another sample."""
  keys = row_keys(jax.random.key(0), jnp.zeros((COUNT, 2), jnp.uint32), jnp.arange(COUNT))
  rows = np.broadcast_to(logits, (COUNT, len(logits)))
  tokens, logprobs = drawn(rows, keys, np.full(COUNT, 7), rule=rule)
  return np.asarray(tokens), np.asarray(logprobs)


def probabilities(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
  p = np.exp(logits.astype(np.float64) / temperature)
  return p / p.sum()


def test_temperature_0_is_the_argmax_whatever_the_key():
  many = np.random.default_rng(0).standard_normal((50, VOCAB)).astype(np.float32)
  for seed in range(2):
    keys = jax.random.split(jax.random.key(seed), 50)
    tokens, _ = drawn(many, keys, jnp.arange(50), rule=Rule(0.0))
    np.testing.assert_array_equal(tokens, many.argmax(-1))


def test_top_k_1_equals_greedy():
  assert set(draws(Rule(1.7, top_k=1))[0]) == {int(LOGITS.argmax())}


@pytest.mark.parametrize('temperature', [0.5, 2.0])
def test_frequencies_are_the_softmax_at_the_temperature(temperature):
  seen = np.bincount(draws(Rule(temperature))[0], minlength=VOCAB)
  expected = COUNT * probabilities(LOGITS, temperature)
  assert scipy.stats.chisquare(seen, expected).pvalue > 1e-4
  wrong = COUNT * probabilities(LOGITS, temperature * 1.1)
  assert scipy.stats.chisquare(seen, wrong).pvalue < 1e-4  # What a temperature wrong by a tenth would look like.


def test_forbidden_ids_are_never_drawn_and_the_others_keep_their_proportions():
  forbidden = (0, 3, 7)
  seen = np.bincount(draws(Rule(1.0, forbidden=forbidden))[0], minlength=VOCAB)
  assert not seen[list(forbidden)].any()
  rest = np.delete(LOGITS, forbidden)
  assert scipy.stats.chisquare(np.delete(seen, forbidden), COUNT * probabilities(rest)).pvalue > 1e-4


@pytest.mark.parametrize('temperature', [0.0, 1.0])
def test_forbidden_ids_are_not_drawn_even_where_they_are_by_far_the_likeliest(temperature):
  logits = np.asarray([50.0, 0.0, 60.0, 0.5], np.float32)
  assert set(draws(Rule(temperature, forbidden=(0, 2)), logits)[0]) <= {1, 3}


def test_top_k_draws_stay_among_the_k_likeliest_in_their_proportions():
  seen = np.bincount(draws(Rule(1.0, top_k=3))[0], minlength=VOCAB)
  best = np.argsort(-LOGITS)[:3]
  assert seen[best].sum() == COUNT
  assert scipy.stats.chisquare(seen[best], COUNT * probabilities(LOGITS[best])).pvalue > 1e-4


@pytest.mark.parametrize('top_p', [0.3, 0.9])
def test_top_p_draws_stay_in_the_smallest_set_that_holds_p(top_p):
  order = np.argsort(-LOGITS)
  size = int((np.cumsum(probabilities(LOGITS)[order]) < top_p).sum()) + 1
  tokens, _ = draws(Rule(1.0, top_k=VOCAB, top_p=top_p))
  assert set(tokens) == set(order[:size])


def test_top_p_comes_after_temperature():
  # At temperature 4 the likeliest of the logits holds far less than at 1, so 0.3 takes more than one.
  assert len(set(draws(Rule(1.0, top_k=VOCAB, top_p=0.3))[0])) == 1
  assert len(set(draws(Rule(4.0, top_k=VOCAB, top_p=0.3))[0])) > 1


@pytest.mark.parametrize('rule', [Rule(0.0), Rule(0.4), Rule(2.0, top_k=3), Rule(1.0, top_k=5, top_p=0.7)])
def test_the_log_probability_is_the_models_at_temperature_1(rule):
  tokens, logprobs = draws(rule)
  np.testing.assert_allclose(logprobs, np.log(probabilities(LOGITS))[tokens], rtol=1e-5, atol=1e-6)


def test_a_position_and_a_sample_have_their_own_random_number():
  flat = np.zeros((64, 1000), np.float32)
  key = jax.random.key(0)
  problems, zeros = jnp.zeros((64, 2), jnp.uint32), jnp.zeros(64, jnp.int32)
  same_row = row_keys(key, problems, zeros)
  by_position, _ = drawn(flat, same_row, jnp.arange(64), rule=Rule(1.0))
  by_index, _ = drawn(flat, row_keys(key, problems, jnp.arange(64)), zeros, rule=Rule(1.0))
  halves = [problems.at[:, i].set(jnp.arange(64, dtype=jnp.uint32)) for i in range(2)]
  by_problem = [drawn(flat, row_keys(key, p, zeros), zeros, rule=Rule(1.0))[0] for p in halves]
  for tokens in (by_position, by_index, *by_problem):
    assert len(set(np.asarray(tokens).tolist())) > 50  # Of 64 draws from 1000, about 62 differ.


def test_no_random_number_draws_a_forbidden_id(monkeypatch):
  """Also where a long cumulative sum, rounded, steps up at such an id."""
  rng = np.random.default_rng(0)
  logits = 3 * rng.standard_normal(4096).astype(np.float32)
  never = rng.random(4096) < 0.5
  weights = np.where(never, 0, np.exp(logits - logits[~never].max()))
  cdf = np.asarray(jnp.cumsum(weights))
  steps = cdf[:-1][never[1:] & (np.diff(cdf) > 0)]
  assert len(steps) > 5  # Else this shows nothing.
  levels = jnp.asarray([*(steps / cdf[-1]), 0.0, 1 - 2**-23], jnp.float32)
  count = len(levels)
  monkeypatch.setattr(jax.random, 'uniform', lambda key: levels[jax.random.key_data(key)[1]])
  keys = jax.random.wrap_key_data(jnp.stack([jnp.zeros(count, jnp.uint32), jnp.arange(count, dtype=jnp.uint32)], -1))
  monkeypatch.setattr(jax.random, 'fold_in', lambda key, position: key)
  rule = Rule(1.0, forbidden=tuple(np.flatnonzero(never).tolist()))
  tokens, _ = draw(np.broadcast_to(logits, (count, 4096)), keys, jnp.zeros(count, jnp.int32), rule)
  assert not never[np.asarray(tokens)].any()


@pytest.mark.parametrize(
  'wrong',
  [{'temperature': -0.1}, {'top_k': -1}, {'top_k': 5, 'top_p': 0.0}, {'top_k': 5, 'top_p': 1.1}, {'top_p': 0.9}],
)
def test_a_rule_that_means_nothing_is_refused(wrong):
  with pytest.raises(ValueError, match=list(wrong)[-1]):
    Rule(**wrong)
