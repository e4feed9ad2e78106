"""Drawing with the gemma library's own cache: the texts, and all that ends them, are those of the native engine."""

from __future__ import annotations

import dataclasses
import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sweb_jax.models import families, sharding
from sweb_jax.models.gemma.config import ModelConfig
from sweb_jax.sampling import Engine, Request, Rule, SamplingError, stops

KEY = jax.random.key(7)

# Caps that bite, a window shorter than prompt and prefix, grouped heads; then norms of queries and keys, one KV head.
GEMMA2 = ModelConfig(
  97, 32, 64, 2, 4, 2, 16, pattern=('local', 'global'), window=6, attn_softcap=1.5, final_softcap=2.0
)
GEMMA3 = ModelConfig(
  97, 32, 64, 3, 4, 1, 16, pattern=('local', 'local', 'global'), window=5, qk_norm=True, rope_base=1e6, rope_scale=8.0
)
GREEDY, DRAWN = Rule(0.0, forbidden=(0, 2)), Rule(1.0, top_k=20, top_p=0.9, forbidden=(0, 2))


@functools.cache
def library(config: ModelConfig):
  pytest.importorskip('gemma')
  return families.implement(config, 'gemma')


@functools.cache
def params_of(config: ModelConfig):
  """Norms that are not 1, and layers that outweigh the embedding: else each token repeats."""
  rng = np.random.default_rng(1)

  def one(x):
    x = rng.standard_normal(x.shape, np.float32) * (0.5 if x.ndim == 1 else x.shape[-1] ** -0.5)
    return jnp.asarray(x + 2 if x.ndim == 1 else x)

  return sharding.place(jax.tree.map(one, config.shapes()), sharding.make_mesh())


def requests(samples: int = 1) -> list[Request]:
  """Ragged prompts, and limits that free the slots one by one."""
  rng = np.random.default_rng(3)
  lengths = (5, 1, 16, 9, 2, 13, 11)
  prompts = [tuple(rng.integers(3, 97, n).tolist()) for n in lengths]
  return [Request(f'p{i}', j, p, limit=16 - (3 * i + j) % 12) for i, p in enumerate(prompts) for j in range(samples)]


def engine(config, rule: Rule, **changes) -> Engine:
  settings = dict(stop_ids=(1,), prompt_length=16, max_new_tokens=16, prefix=(2, 5, 9, 14, 3, 8), slots=4, steps=3)
  return Engine(config, sharding.make_mesh(), rule, **settings | changes)


def assert_same(found, wanted) -> None:
  """Completions in any order: equal, log-probabilities aside, which are near."""

  def by_name(completions):
    return {(c.problem_id, c.index): dataclasses.replace(c, logprob=0.0) for c in completions}

  assert by_name(found) == by_name(wanted) and len(found) == len(wanted)
  for c in wanted:
    other = next(o for o in found if (o.problem_id, o.index) == (c.problem_id, c.index))
    assert other.logprob == pytest.approx(c.logprob, rel=1e-4, abs=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize('config', [GEMMA2, GEMMA3], ids=['gemma2', 'gemma3'])
@pytest.mark.parametrize('rule', [GREEDY, DRAWN], ids=['greedy', 'drawn'])
def test_the_text_is_that_of_the_native_engine_token_for_token(config, rule):
  """21 rows in 4 slots: the ring of columns goes round several times while rows come and go."""
  found, wanted = (
    list(engine(c, rule).run(params_of(config), requests(3), key=KEY)) for c in (library(config), config)
  )
  assert_same(found, wanted)
  assert len({t for c in wanted for t in c.tokens}) > 10  # No trivial text.
  assert {c.finish for c in wanted} >= {'length'} and len({len(c.tokens) for c in wanted}) > 5


@pytest.mark.slow
def test_a_stop_id_a_stop_string_and_a_limit_end_a_completion_as_they_end_a_native_one():
  """Of what is drawn without stops, an id that is frequent, and two ids that come one after the other."""
  whole = list(engine(GEMMA2, DRAWN).run(params_of(GEMMA2), requests(2), key=KEY))
  drawn = [t for c in whole for t in c.tokens]
  frequent = max(drawn, key=drawn.count)
  longest = max(whole, key=lambda c: len(c.tokens)).tokens
  pair = next(p for p in itertools.pairwise(longest[3:]) if frequent not in p and p[0] != p[1])
  pieces = [f'{i} '.encode() for i in range(97)]
  how = dict(stop_ids=(1, frequent), stop_table=stops.table(pieces, ('{} {} '.format(*pair),)))
  found, wanted = (
    list(engine(c, DRAWN, **how).run(params_of(GEMMA2), requests(2), key=KEY)) for c in (library(GEMMA2), GEMMA2)
  )
  assert_same(found, wanted)
  ends = {'limit' if c.finish == 'length' else 'id' if c.tokens[-1] == frequent else 'string' for c in wanted}
  assert ends == {'limit', 'id', 'string'}


@pytest.mark.slow
def test_the_text_of_a_sample_is_a_function_of_its_name_and_not_of_its_neighbours():
  whole = list(engine(library(GEMMA2), DRAWN).run(params_of(GEMMA2), requests(3), key=KEY))
  for some, slots in ((requests(3)[4:11], 2), (requests(3)[::-1], 8)):
    names = {(r.problem_id, r.index) for r in some}
    again = list(engine(library(GEMMA2), DRAWN, slots=slots).run(params_of(GEMMA2), some, key=KEY))
    assert_same(again, [c for c in whole if (c.problem_id, c.index) in names])


@pytest.mark.slow
def test_the_slots_of_a_cache_of_its_own_are_chosen_with_room_for_the_prefix(caplog):
  """Rows of the library hold the shared prefix too, 6 ids of it and 16 of a prompt in 24 columns."""
  caplog.set_level('INFO', logger='absl')
  list(engine(library(GEMMA2), GREEDY, slots=0).run(params_of(GEMMA2), requests(), key=KEY))
  row = 2 * 2 * 2 * 16 * (24 + 18) * 4 + 3 * 4 * 97
  assert f'8 slots: 7 requests, {row / 1e6:.1f} MB a row' in caplog.text


@pytest.mark.slow
def test_logits_that_are_not_numbers_are_an_error_that_names_the_sample():
  params = jax.tree.map(lambda x: x * jnp.nan if x.ndim == 1 else x, params_of(GEMMA2))
  with pytest.raises(SamplingError, match=r"problem 'p', sample 7: .*not numbers"):
    list(engine(library(GEMMA2), GREEDY).run(params, [Request('p', 7, (5, 6, 7))], key=KEY))
