"""Invariant 1: a sample is the same text however the work is cut up."""

from __future__ import annotations

import functools
import json
import pathlib
import random

import jax
import pytest

from sweb_jax.models import sharding
from sweb_jax.models.source import open_model
from sweb_jax.sampling import Engine, Request, Rule
from sweb_jax.tasks import get
from sweb_jax.tasks.rendering import Renderer
from tests import forked

KEY = jax.random.key(7)
PROBLEMS, SAMPLES = 5, 3
RULE = Rule(1.0, forbidden=(0, 2))

Texts = dict[tuple[str, int], tuple[int, ...]]


@functools.cache
def wc():
  model = open_model('embedded:wc')
  return model.config, model.load(sharding.make_mesh()), Renderer(model.tokenizer)


@functools.cache
def requests() -> tuple[Request, ...]:
  task, renderer = get('arithmetic'), wc()[2]
  problems = task.problems('test', PROBLEMS, 0)
  return tuple(Request(p.id, i, renderer.prompt(task.prompt(p))) for p in problems for i in range(SAMPLES))


def texts(asked, *, key=KEY, slots=4, steps=3, prefix=(), prompt_length=24) -> Texts:
  config, params, _ = wc()
  engine = Engine(
    config, sharding.make_mesh(), RULE, stop_ids=(1,), prompt_length=prompt_length, max_new_tokens=16, prefix=prefix,
    slots=slots, steps=steps,
  )
  return {(c.problem_id, c.index): c.tokens for c in engine.run(params, asked, key=key)}


@functools.cache
def reference() -> Texts:
  return texts(requests())


def test_the_reference_is_no_trivial_text():
  assert len(reference()) == PROBLEMS * SAMPLES
  assert len(set(reference().values())) > PROBLEMS
  assert len({len(t) for t in reference().values()}) > 2  # Rows end at different times.


@pytest.mark.parametrize(('slots', 'steps'), [(16, 3), (4, 8)])
def test_invariant_1_slots_and_steps_per_call_change_no_text(slots, steps):
  assert texts(requests(), slots=slots, steps=steps) == reference()


def test_invariant_1_the_order_of_requests_changes_no_text():
  shuffled = list(requests())
  random.Random(0).shuffle(shuffled)
  assert texts(shuffled) == texts(requests()[::-1]) == reference()


@pytest.mark.parametrize('done', [1, 7, 14])
def test_invariant_1_a_resumed_run_draws_what_is_missing_as_an_undisturbed_one_would(done):
  """The first part, in whatever order it finished; then, in a new engine, what is not there."""
  first = dict(list(texts(requests()).items())[:done])
  rest = [r for r in requests() if (r.problem_id, r.index) not in first]
  assert len(rest) == len(requests()) - done
  assert first | texts(rest) == reference()


def test_invariant_1_the_low_budget_is_a_prefix_of_the_high_one():
  low = texts([r for r in requests() if r.index < 1])
  assert low == {k: t for k, t in reference().items() if k[1] < 1}


def test_invariant_1_a_token_key_depends_on_seed_model_problem_index_and_position_alone():
  """One prompt under other problem ids, indices and run keys (a function of seed and model) gives other draws."""
  prompt = requests()[0].prompt
  drawn = texts([Request(p, i, prompt) for p in 'abcd' for i in range(4)])
  assert len(set(drawn.values())) > 8  # The model is sure of many tokens, so a few of the 16 texts may agree.
  alone = texts([Request('c', 2, prompt)])
  assert alone == {('c', 2): drawn['c', 2]}
  other = texts([Request(p, i, prompt) for p in 'abcd' for i in range(4)], key=jax.random.key(8))
  assert sum(drawn[k] != other[k] for k in drawn) > 8


def test_invariant_1_a_prefix_gives_the_same_text_shared_or_within_the_prompt():
  """Ids of a worked example, cached once for all rows or given in every prompt."""
  task, (_, _, renderer) = get('arithmetic'), wc()
  worked = task.problems('train', 1, 0)[0]
  prefix = renderer.prompt(f'{task.prompt(worked)} {worked.solutions[0]}')
  asked = [Request(r.problem_id, r.index, r.prompt[1:]) for r in requests()]
  whole = [Request(r.problem_id, r.index, prefix + r.prompt) for r in asked]
  split = texts(asked, prefix=prefix)
  assert split == texts(whole, prompt_length=len(prefix) + 24)
  assert split != reference()  # The prefix is seen.


@pytest.mark.slow
def test_invariant_1_the_devices_change_no_text():
  """1, 2 and 8 simulated devices: data=2, fsdp=2, data=4 x tensor=2 draw what one device draws."""
  done = forked.run(pathlib.Path(__file__).with_name('on_eight_devices.py'))
  assert done.returncode == 0, done.stderr
  found = json.loads(done.stdout)
  assert found['devices'] == 8
  one, *others, greedy, split = found['texts']
  assert greedy == split != one
  assert len(one) == 12 and len({tuple(tokens) for _, _, tokens in one}) > 8
  assert others == [one] * 3
