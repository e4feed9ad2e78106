"""From examples to packed rows."""

from __future__ import annotations

import collections

import numpy as np
import pytest

from sweb_jax.models.source import open_model
from sweb_jax.records import Example
from sweb_jax.tasks import get
from sweb_jax.tasks.rendering import Renderer
from sweb_jax.training import DataError, Packer
from sweb_jax.training.data import examples_at, first_fit


def test_a_packed_row_is_this():
  """Three examples `BOS prompt solution EOS`; the first two share a row of 8 columns."""
  rendered = [((2, 10, 11, 12, 1), 3), ((2, 20, 21, 1), 2), ((2, 30, 31, 32, 33, 34, 1), 4)]
  assert examples_at(0, examples=3, batch=3, seed=1) == [0, 1, 2]
  batch = Packer(rendered, batch=3, steps=1, seed=1, row_length=8).batch(0)
  assert {f: getattr(batch, f)[:2].tolist() for f in batch._fields} == {
    'tokens': [[2, 10, 11, 12, 2, 20, 21, 0], [2, 30, 31, 32, 33, 34, 0, 0]],
    'segment_ids': [[1, 1, 1, 1, 2, 2, 2, 0], [1, 1, 1, 1, 1, 1, 0, 0]],
    'positions': [[0, 1, 2, 3, 0, 1, 2, 0], [0, 1, 2, 3, 4, 5, 0, 0]],
    'target_at': [[2, 3, 5, 6, 0, 0, 0, 0], [3, 4, 5, 0, 0, 0, 0, 0]],
    'targets': [[12, 1, 21, 1, 0, 0, 0, 0], [33, 34, 1, 0, 0, 0, 0, 0]],
    'weights': [[1, 1, 1, 1, 0, 0, 0, 0], [1, 1, 1, 0, 0, 0, 0, 0]],
  }
  assert all(getattr(batch, f)[2:].sum() == 0 for f in batch._fields)  # Rows are rounded up to 8.


def test_invariant_4_one_bos_a_row_eos_is_trained_and_prompt_and_padding_carry_no_loss():
  """Through the renderer and the packer, with the tokenizer of the embedded models."""
  tokenizer = open_model('embedded:wc').tokenizer
  task, renderer = get('arithmetic'), Renderer(tokenizer)
  problems = task.problems('train', 20, 0)
  examples = [Example(p.id, task.prompt(p), p.solutions[0]) for p in problems]
  packer = Packer([renderer.example(e) for e in examples], batch=10, steps=2, seed=0, row_length=96)
  trained = []
  for step in range(2):
    batch = packer.batch(step)
    assert (batch.segment_ids.max(axis=1) > 1).any()  # Rows with several examples.
    for tokens, segments, positions, target_at, targets, weights in zip(*batch, strict=True):
      assert not tokens[segments == 0].any() and set(weights.tolist()) <= {0.0, 1.0}
      assert not (segments[target_at] == 0)[weights > 0].any()
      for segment in range(1, segments.max() + 1):
        columns = np.flatnonzero(segments == segment)
        ids = tokens[columns].tolist()
        assert ids[0] == tokenizer.bos_id and ids.count(tokenizer.bos_id) == 1
        assert tokenizer.eos_id not in ids  # It is a target only.
        assert positions[columns].tolist() == list(range(len(columns)))
        mine = (weights > 0) & np.isin(target_at, columns)
        learnt = targets[mine].tolist()
        assert learnt[-1] == tokenizer.eos_id and learnt.count(tokenizer.eos_id) == 1
        start = len(ids) + 1 - len(learnt)
        assert [*ids, tokenizer.eos_id][start:] == learnt  # Each target is the next id of its own example.
        assert (target_at[mine] - columns[0]).tolist() == list(range(start - 1, len(ids)))
        trained.append((tokenizer.decode(ids[:start]), tokenizer.decode(learnt[:-1])))
  assert sorted(trained) == sorted((e.prompt, e.solution) for e in examples)


def test_invariant_4_sampling_and_training_see_the_same_prompt_ids():
  task, renderer = get('arithmetic'), Renderer(open_model('embedded:wc').tokenizer)
  for p in task.problems('train', 5, 0):
    ids, start = renderer.example(Example(p.id, task.prompt(p), p.solutions[0]))
    assert ids[:start] == renderer.prompt(task.prompt(p))


@pytest.mark.parametrize(('examples', 'batch'), [(10, 4), (7, 7), (3, 8), (64, 64), (5, 1)])
def test_examples_at_covers_every_example_once_an_epoch(examples, batch):
  epochs = 4
  steps = -(-epochs * examples // batch)
  seen = [i for step in range(steps) for i in examples_at(step, examples=examples, batch=batch, seed=1)]
  assert len(seen) == steps * batch
  orders = [tuple(seen[e * examples : (e + 1) * examples]) for e in range(epochs)]
  assert all(sorted(order) == list(range(examples)) for order in orders)
  assert len(set(orders)) > 1


def test_examples_at_is_a_function_of_seed_and_step_alone():
  order = [examples_at(step, examples=50, batch=8, seed=1) for step in range(12)]
  assert [examples_at(step, examples=50, batch=8, seed=1) for step in reversed(range(12))] == order[::-1]
  assert examples_at(0, examples=50, batch=8, seed=2) != order[0]


def test_first_fit_puts_each_item_into_the_first_row_with_room():
  assert first_fit([5, 4, 3, 2, 6, 1], 8) == [[0, 2], [1, 3, 5], [4]]
  assert first_fit([8, 8], 8) == [[0], [1]]
  assert first_fit([], 8) == []


@pytest.mark.parametrize('rows', [1, 5, 9, 16, 17, 33, 70])
def test_padding_rows_are_an_eighth_of_the_batch_at_most(rows):
  packer = Packer([((2, *range(4, 12), 1), 3)] * rows, batch=rows, steps=1, seed=0, row_length=12)
  assert rows <= packer.batch(0).tokens.shape[0] <= rows * 9 / 8


def test_rows_are_shorter_where_devices_would_have_nothing_but_padding():
  """16 devices, and examples that fill 3 rows: half of a row is enough for each of 16."""
  rendered = [((2, *range(4, 4 + n), 1), 2) for n in (10, 30, 38, 20, 25, 14, 9, 30)]
  wide, many = (
    Packer(rendered, batch=8, steps=2, seed=0, row_length=80, multiple_of=n).batch(1) for n in (1, 16)
  )
  assert wide.tokens.shape == (3, 80) and many.tokens.shape == (16, 40)
  for batch in (wide, many):
    found = collections.Counter(batch.targets[batch.weights > 0].tolist())
    assert found == collections.Counter(t for ids, start in rendered for t in ids[start:])
  assert many.segment_ids.max() > 1  # As few rows as it takes, of that length.


def test_all_batches_of_a_run_have_one_shape_and_hold_every_example_of_their_step():
  rng = np.random.default_rng(0)
  rendered = [((2, *rng.integers(4, 90, n).tolist(), 1), n // 2 + 1) for n in rng.integers(2, 30, 40).tolist()]
  packer = Packer(rendered, batch=12, steps=9, seed=5, row_length=40, multiple_of=3)
  batches = [packer.batch(step) for step in range(9)]
  assert len({tuple(a.shape for a in b) for b in batches}) == 1
  assert batches[0].tokens.shape[0] % 3 == 0
  for step, batch in enumerate(batches):
    asked = [rendered[i] for i in examples_at(step, examples=40, batch=12, seed=5)]
    assert batch.weights.sum() == sum(len(ids) - start for ids, start in asked)
    assert (batch.segment_ids > 0).sum() == sum(len(ids) - 1 for ids, _ in asked)
    wanted = collections.Counter(t for ids, start in asked for t in ids[start:])
    assert collections.Counter(batch.targets[batch.weights > 0].tolist()) == wanted
  again = Packer(rendered, batch=12, steps=9, seed=5, row_length=40, multiple_of=3).batch(4)
  assert all(np.array_equal(a, b) for a, b in zip(again, batches[4], strict=True))


def test_an_example_that_just_fits_is_taken_and_one_longer_is_named():
  short, exact, long = ((2, 5, 1), 2), ((2, *range(4, 11), 1), 2), ((2, *range(4, 12), 1), 2)
  assert Packer([short, exact], batch=2, steps=1, seed=0, row_length=8).batch(0).weights.sum() == 8
  with pytest.raises(DataError, match=r'example long has 10 tokens, config\.train\.row_length=8 holds 9'):
    Packer([short, long], batch=2, steps=1, seed=0, row_length=8, ids=['short', 'long'])


def test_no_example_is_an_error():
  with pytest.raises(DataError, match='no example to train on'):
    Packer([], batch=2, steps=1, seed=0, row_length=8)
