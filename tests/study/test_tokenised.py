"""Examples as ids, made once."""

from __future__ import annotations

import concurrent.futures
import gc
import os
import time

import numpy as np
import pytest
from etils import epath

from sweb_jax import layout, records
from sweb_jax.models.tokenizer import Tokenizer
from sweb_jax.records import Example
from sweb_jax.runtime.hosts import Hosts
from sweb_jax.study import opened, tokenised
from sweb_jax.training import DataError

ARM = layout.examples(0, 'wc_low')
EXAMPLES = [
  Example(f'p{i // 4}', f'tom has {i // 4} apples . how many ? A:', f'{i % 3} + 2 #### {i % 5}') for i in range(23)
]


@pytest.fixture
def encoded(monkeypatch) -> list[str]:
  """Every text that is encoded."""
  seen, encode_all = [], Tokenizer.encode_all

  def note(self, texts):
    seen.extend(texts)
    return encode_all(self, texts)

  monkeypatch.setattr(Tokenizer, 'encode_all', note)
  monkeypatch.setattr(tokenised, '_AT_ONCE', 5)
  return seen


@pytest.fixture
def context(runs, tmp_path):
  root = epath.Path(tmp_path)
  (root / ARM).mkdir(parents=True)
  (root / ARM / layout.EXAMPLES).write_text(records.dumps(EXAMPLES))
  return opened.open_study(runs.tiny()).context(root, Hosts())


def test_rows_are_those_of_one_example_after_the_other_and_a_prompt_is_encoded_once(context, encoded):
  renderer = context.renderer('wc', False, '')
  slow = [renderer.example(e) for e in EXAMPLES]
  encoded.clear()
  found = tokenised.read(context, ARM, renderer)
  assert len(encoded) == len(EXAMPLES) + len({e.prompt for e in EXAMPLES})
  assert [(tuple(ids.tolist()), start) for ids, start in found.rows] == slow
  assert found.rows.lengths.tolist() == [len(ids) for ids, _ in slow]
  assert found.names()[5] == '5 (p1)'
  assert found.about() == {
    'examples': 23,
    'problems': 6,
    'unique': len({(e.problem_id, e.solution) for e in EXAMPLES}),
    'tokens': sum(len(ids) for ids, _ in slow),
  }


def test_nothing_is_encoded_again_until_the_examples_or_the_tokenizer_differ(context, encoded):
  renderer = context.renderer('wc', False, '')
  first = tokenised.read(context, ARM, renderer)
  encoded.clear()
  again = tokenised.read(context, ARM, renderer)
  assert not encoded and isinstance(again.rows.ids, np.memmap)
  assert again.about() == first.about() and again.names() == first.names()
  assert np.array_equal(again.rows.ids, first.rows.ids) and np.array_equal(again.rows.spans, first.rows.spans)
  path = context.root / ARM / layout.EXAMPLES
  path.write_text(records.dumps(EXAMPLES[1:]))
  assert len(tokenised.read(context, ARM, renderer).rows) == 22 and encoded
  path.write_text(records.dumps(EXAMPLES))
  encoded.clear()
  assert len(tokenised.read(context, ARM, renderer).rows) == 23 and not encoded


def test_one_that_was_killed_while_it_was_made_is_made_again(context, encoded):
  renderer = context.renderer('wc', False, '')
  tokenised.read(context, ARM, renderer)
  (spans,) = (context.root / layout.TOKENISED).glob(f'*/{layout.SPANS}')
  os.remove(spans)
  encoded.clear()
  assert len(tokenised.read(context, ARM, renderer).rows) == 23 and encoded


def test_a_step_of_examples_leaves_nothing_to_encode_for_trainings(runs, copy, encoded):
  root = epath.Path(copy)
  study = opened.open_study(runs.tiny())
  step = next(s for s in study.graph.steps if s.folder == ARM)
  context = study.context(root, Hosts())
  step.run(context)
  encoded.clear()
  found = tokenised.read(context, ARM, context.renderer('wc', False, ''))
  assert len(found.rows) == len(list(step.read(context))) and not encoded


@pytest.mark.parametrize('name', [layout.IDS, layout.SPANS])
def test_what_is_damaged_is_named_and_made_again_once_it_is_deleted(context, name):
  renderer = context.renderer('wc', False, '')
  tokenised.read(context, ARM, renderer)
  (path,) = (context.root / layout.TOKENISED).glob(f'*/{name}')
  path.write_bytes(path.read_bytes()[:50])
  with pytest.raises(DataError, match=rf'{path.parent}: damaged .*delete this folder'):
    tokenised.read(context, ARM, renderer)
  path.parent.rmtree()
  assert len(tokenised.read(context, ARM, renderer).rows) == 23


def test_jobs_side_by_side_read_arrays_while_garbage_is_collected(context):
  """A collection lets another thread in, as JAX's own part of it does."""
  renderer = context.renderer('wc', False, '')
  lengths = tokenised.read(context, ARM, renderer).rows.lengths.tolist()
  thresholds, let_in = gc.get_threshold(), lambda *_: time.sleep(0)
  gc.callbacks.append(let_in)
  gc.set_threshold(5)
  try:
    with concurrent.futures.ThreadPoolExecutor(4) as threads:
      found = list(threads.map(lambda _: tokenised.read(context, ARM, renderer).rows.lengths.tolist(), range(100)))
  finally:
    gc.set_threshold(*thresholds)
    gc.callbacks.remove(let_in)
  assert found == [lengths] * 100


def test_examples_that_do_not_fit_are_left_out_or_kept_for_who_refuses_them(context):
  found = tokenised.read(context, ARM, context.renderer('wc', False, ''))
  length = int(np.median(found.rows.lengths)) - 1
  fit = found.rows.lengths <= length + 1
  kept = found.fitting(length, 'leave_out')
  assert 0 < fit.sum() <= len(fit)
  some = [ids.tolist() for (ids, _), f in zip(found.rows, fit, strict=True) if f]
  assert [ids.tolist() for ids, _ in kept.rows] == some
  assert kept.about()['examples'] == fit.sum() == len(kept.names())
  assert len(found.fitting(1, 'leave_out').rows) == 0 and found.fitting(1, 'refuse') is found
