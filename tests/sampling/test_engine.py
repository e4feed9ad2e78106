"""The engine: greedy text against the plain forward pass, how completions end, what is refused."""

from __future__ import annotations

import dataclasses
import functools
import logging

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sweb_jax.models import sharding
from sweb_jax.models.gemma import transformer
from sweb_jax.models.gemma.config import ModelConfig
from sweb_jax.models.source import open_model
from sweb_jax.sampling import Engine, Request, Rule, SamplingError, stops
from sweb_jax.tasks import get
from sweb_jax.tasks.rendering import Renderer

KEY = jax.random.key(0)

# Small, but all that can go wrong is there: caps that bite, a window shorter than prompt and prefix, grouped heads.
GEMMA1 = ModelConfig(97, 32, 64, 1, 2, 2, 16, post_norms=False, transpose_gating=False)
GEMMA2 = ModelConfig(
  97, 32, 64, 2, 4, 2, 16, pattern=('local', 'global'), window=6, attn_softcap=1.5, final_softcap=2.0
)
GEMMA3 = ModelConfig(
  97, 32, 64, 2, 4, 1, 16, pattern=('local', 'global'), window=5, qk_norm=True, rope_base=1e6, rope_scale=8.0
)


def random_params(config: ModelConfig) -> transformer.Params:
  """Norms that are not 1, and layers that outweigh the embedding: else each token repeats."""
  rng = np.random.default_rng(1)

  def one(x):
    x = rng.standard_normal(x.shape, np.float32) * (0.5 if x.ndim == 1 else x.shape[-1] ** -0.5)
    return x + 2 if x.ndim == 1 else x

  return sharding.place(jax.tree.map(one, transformer.shapes(config)), sharding.make_mesh())


@functools.cache
def wc():
  """The smallest embedded model, its parameters on one device, and its renderer."""
  model = open_model('embedded:wc')
  return model.config, model.load(sharding.make_mesh()), Renderer(model.tokenizer)


def make_engine(config: ModelConfig, rule: Rule = Rule(0.0), **changes) -> Engine:  # noqa: B008 (frozen)
  settings = dict(stop_ids=(1,), prompt_length=24, max_new_tokens=16, prefix=(), slots=4, steps=3)
  return Engine(config, sharding.make_mesh(), rule, **settings | changes)


def problems(count: int) -> list[Request]:
  """Prompts of the embedded task."""
  task, renderer = get('arithmetic'), wc()[2]
  return [Request(p.id, 0, renderer.prompt(task.prompt(p))) for p in task.problems('test', count, 0)]


def check_greedy(config, params, prefix, requests, completions, *, forbidden=(), max_new=16):
  """Each drawn token is the argmax of the plain forward pass over all ids before it, and ends where it should."""
  assert sorted(c.problem_id for c in completions) == sorted(r.problem_id for r in requests)
  prompts = {r.problem_id: (*prefix, *r.prompt) for r in requests}
  width = max(len(prompts[c.problem_id]) + len(c.tokens) for c in completions)
  rows = [(*prompts[c.problem_id], *c.tokens) for c in completions]
  padded = np.asarray([[*row, *[0] * (width - len(row))] for row in rows])
  logits = np.array(jax.jit(transformer.forward, static_argnums=1)(params, config, padded))
  logits[..., list(forbidden)] = -np.inf
  logprobs = np.asarray(jax.nn.log_softmax(logits))
  for c, row_logits, row_logprobs in zip(completions, logits, logprobs, strict=True):
    start = len(prompts[c.problem_id])
    at = np.arange(start - 1, start - 1 + len(c.tokens))
    assert c.tokens == tuple(row_logits[at].argmax(-1).tolist())
    assert c.logprob == pytest.approx(row_logprobs[at, list(c.tokens)].sum(), rel=1e-4, abs=1e-4)
    assert 1 not in c.tokens[:-1]
    assert c.finish == ('stop' if c.tokens[-1] == 1 else 'length')
    assert (len(c.tokens) == max_new) or c.finish == 'stop'


def random_requests(config: ModelConfig, count: int, longest: int) -> list[Request]:
  """Prompts of every length up to `longest`, in random order."""
  rng = np.random.default_rng(3)
  lengths = rng.permutation([1 + i % longest for i in range(count)])
  return [Request(f'p{i}', 0, tuple(rng.integers(3, config.vocab_size, n).tolist())) for i, n in enumerate(lengths)]


@functools.cache
def wc_greedy():
  config, params, _ = wc()
  return list(make_engine(config).run(params, problems(10), key=KEY))


def test_greedy_text_of_the_embedded_model_is_the_argmax_of_the_plain_forward_pass():
  """More requests than slots; the window of 32 is shorter than prompt and completion."""
  config, params, _ = wc()
  completions = wc_greedy()
  assert max(len(r.prompt) for r in problems(10)) + max(len(c.tokens) for c in completions) > config.window + 2
  assert {c.finish for c in completions} == {'stop', 'length'}
  check_greedy(config, params, (), problems(10), completions)


@pytest.mark.parametrize(
  ('config', 'prefix'),
  [(GEMMA2, (2, *range(5, 14))), (GEMMA3, (2, *range(5, 14)))],
  ids=['soft caps and grouped heads', 'query norms and one KV head'],
)
def test_greedy_text_is_the_argmax_of_the_plain_forward_pass(config, prefix):
  """Ragged prompts, slots refilled, a window shorter than the prompt, after a shared prefix."""
  params, requests = random_params(config), random_requests(config, 11, 16)
  engine = make_engine(config, Rule(0.0, forbidden=(0, 2)), prompt_length=16, prefix=prefix)
  completions = list(engine.run(params, requests, key=KEY))
  assert len({t for c in completions for t in c.tokens}) > 10  # No trivial text.
  check_greedy(config, params, prefix, requests, completions, forbidden=(0, 2))


def test_prompts_of_one_problem_are_shared_and_prompts_of_all_buckets_fit():
  """Neighbouring requests of a problem, and lengths on both sides of a padded length."""
  config, params, _ = wc()
  longer = [dataclasses.replace(r, problem_id=f'{r.problem_id}+', prompt=r.prompt[:n]) for r, n in
            zip(problems(5), (1, 15, 16, 17, 19), strict=True)]
  requests = [*longer, *problems(3)]
  completions = list(make_engine(config).run(params, requests, key=KEY))
  check_greedy(config, params, (), requests, completions)
  twice = [dataclasses.replace(r, index=i) for r in problems(3) for i in range(3)]
  texts = {(c.problem_id, c.index): c.tokens for c in make_engine(config).run(params, twice, key=KEY)}
  once = {c.problem_id: c.tokens for c in completions}
  assert texts == {(r.problem_id, r.index): once[r.problem_id] for r in twice}


def test_a_stop_id_ends_a_completion_and_is_part_of_it():
  config, params, _ = wc()
  before = {c.problem_id: c.tokens for c in wc_greedy()}
  stop = before[problems(1)[0].problem_id][3]
  for c in make_engine(config, stop_ids=(stop,)).run(params, problems(10), key=KEY):
    full = before[c.problem_id]
    if stop in full:
      assert (c.tokens, c.finish) == (full[: full.index(stop) + 1], 'stop')
    else:
      assert c.tokens[: len(full)] == full


def test_a_completion_ends_with_the_token_that_completes_a_stop_string():
  """Both words of the string are drawn in different chunks or in one."""
  config, params, renderer = wc()
  before = {c.problem_id: c for c in wc_greedy()}
  pieces = renderer.tokenizer.pieces()
  for first in range(2, 5):
    words = before[problems(1)[0].problem_id].tokens[first : first + 2]
    stop = b''.join(pieces[t] for t in words).decode()
    pad = [b''] * (config.vocab_size - len(pieces))
    engine = make_engine(config, stop_table=stops.table([*pieces, *pad], (stop,)))
    ended = 0
    for c in engine.run(params, problems(10), key=KEY):
      full = before[c.problem_id]
      ends = [i + 2 for i in range(len(full.tokens)) if full.tokens[i : i + 2] == words]
      if ends:
        assert (c.tokens, c.finish) == (full.tokens[: ends[0]], 'stop')
        ended += 1
      else:
        assert c == full
    assert ended


def test_a_request_s_own_limit_ends_its_completion():
  config, params, _ = wc()
  before = {c.problem_id: c for c in wc_greedy()}
  asked = [dataclasses.replace(r, limit=1 + 2 * i) for i, r in enumerate(problems(8))]
  drawn = {c.problem_id: c for c in make_engine(config).run(params, asked, key=KEY)}
  for r in asked:
    full = before[r.problem_id].tokens
    assert drawn[r.problem_id].tokens == full[: r.limit]
    assert drawn[r.problem_id].finish == ('stop' if drawn[r.problem_id].tokens[-1] == 1 else 'length')


def test_invariant_3_a_truncated_completions_tokens_are_all_counted():
  cut_off = [c for c in wc_greedy() if c.finish == 'length']
  assert cut_off and all(len(c.tokens) == 16 for c in cut_off)


def test_a_limit_of_one_token_draws_one_token():
  config, params = GEMMA1, random_params(GEMMA1)
  requests = random_requests(config, 5, 16)
  engine = make_engine(config, prompt_length=16, max_new_tokens=1)
  completions = list(engine.run(params, requests, key=KEY))
  check_greedy(config, params, (), requests, completions, max_new=1)


def test_no_requests_draw_nothing():
  config, params, _ = wc()
  assert list(make_engine(config).run(params, [], key=KEY)) == []


@pytest.mark.parametrize(
  ('prompt', 'message'),
  [
    ((), 'the prompt is empty'),
    ((5,) * 25, 'the prompt has 25 tokens, the engine was built for 24'),
    ((2, 193), 'ids outside the vocabulary of 193'),
    ((2, -1), 'ids outside the vocabulary of 193'),
  ],
  ids=['empty', 'too long', 'id too large', 'negative id'],
)
def test_a_prompt_that_cannot_be_served_is_named_before_anything_is_drawn(prompt, message):
  config, params, _ = wc()
  drawn = []
  with pytest.raises(SamplingError, match=rf"problem 'bad', sample 3: .*{message}"):
    drawn += make_engine(config).run(params, [*problems(2), Request('bad', 3, prompt)], key=KEY)
  assert not drawn


@pytest.mark.parametrize('rule', [Rule(0.0), Rule(1.0)], ids=['greedy', 'drawn'])
def test_logits_that_are_not_numbers_are_an_error_that_names_the_sample(rule):
  config, params, _ = wc()
  params = dict(params, final_norm={'scale': params['final_norm']['scale'].at[3].set(jnp.nan)})
  with pytest.raises(SamplingError, match=r"problem 'p', sample 7: .*not numbers"):
    list(make_engine(config, rule).run(params, [Request('p', 7, problems(1)[0].prompt)], key=KEY))


def test_more_requests_and_other_parameters_compile_nothing(caplog):
  config, params, _ = wc()
  list(make_engine(config).run(params, problems(2), key=KEY))

  def compiled() -> list[str]:
    return [r.getMessage() for r in caplog.records if 'Compiling' in r.getMessage()]

  changed = sharding.place(jax.tree.map(lambda x: 1.01 * x, params), sharding.make_mesh())
  requests = problems(12)
  jax.block_until_ready(changed)
  with jax.log_compiles(), caplog.at_level(logging.WARNING):
    first = list(make_engine(config).run(params, requests, key=jax.random.key(1)))
    second = list(make_engine(config).run(changed, requests, key=jax.random.key(2)))
    assert (len(first), len(second)) == (12, 12)
    assert compiled() == []
    jax.jit(lambda x: 3 * x + 2)(1.0)
    assert compiled()  # What a compilation would have looked like.
