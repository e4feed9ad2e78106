"""Every token drawn is charged: the files beside the samples."""

import collections

import pytest
from etils import epath

from sweb_jax import budget, records
from sweb_jax.budget import Ledger, Prompts
from sweb_jax.records import Sample
from sweb_jax.runtime import files


def sample(problem, index, length, finish='stop'):
  return Sample(problem, index, 'text', tuple(range(length)), finish, -1.0)


ROWS = [
  sample('a', 0, 5),
  sample('a', 1, 7, 'length'),
  sample('a', 2, 1),
  sample('b', 0, 2),
  sample('b', 1, 3),
  sample('b', 2, 4),
]


# The files beside the samples -----------------------------------------------------------------------------------------

PROMPTS = {'a': Prompts(100, 7), 'b': Prompts(100, 9)}


@pytest.fixture
def folder(tmp_path):
  """Two chunks, as a store leaves them."""
  folder = tmp_path / 'samples/set0/wc'
  files.write_text(folder / 'chunk-000000.jsonl', records.dumps(ROWS[:3]))
  files.write_text(folder / 'chunk-000001.jsonl', records.dumps(ROWS[3:]))
  return folder


def ledger(folder, **kwargs):
  return Ledger(folder, job='samples/set0/wc', model='wc', prompts=PROMPTS, **kwargs)


def total(folder):
  counts = collections.Counter()
  for e in budget.read(folder):
    counts.update(e.tokens)
  return dict(counts)


WHOLE = {'prefix': 100, 'prompt': 7 + 9, 'completion': 22}


def test_every_token_is_charged_by_kind(folder):
  ledger(folder).settle()
  assert [e.tokens for e in budget.read(folder)] == [
    {'prefix': 100, 'prompt': 7, 'completion': 13},
    {'prompt': 9, 'completion': 9},
  ]
  assert {(e.job, e.model) for e in budget.read(folder)} == {('samples/set0/wc', 'wc')}


def test_settling_twice_charges_once_and_changes_no_file(folder):
  ledger(folder).settle(seconds=2.0)
  before = {p.name: p.read_bytes() for p in folder.iterdir()}
  ledger(folder).settle(seconds=3.0)
  assert {p.name: p.read_bytes() for p in folder.iterdir()} == before
  assert total(folder) == WHOLE and sum(e.seconds for e in budget.read(folder)) == 2.0


def test_a_chunk_that_came_later_gets_a_line_of_its_own(folder):
  last = (folder / 'chunk-000001.jsonl').rename(folder / 'held-back')
  ledger(folder).settle()
  last.rename(folder / 'chunk-000001.jsonl')
  ledger(folder).settle()
  assert total(folder) == WHOLE
  assert len(list(folder.glob('ledger-*.jsonl'))) == 2


def test_a_chunk_without_a_line_is_charged_from_its_samples(folder):
  assert total(folder) == {'completion': 22}
  assert {(e.job, e.model) for e in budget.read(folder.parents[2])} == {('samples/set0/wc', 'wc')}


def test_a_line_without_its_file_is_not_charged(folder):
  ledger(folder).settle()
  (folder / 'chunk-000001.jsonl').unlink()
  assert total(folder)['completion'] == 13


def test_two_lines_of_one_file_are_charged_once(folder):
  ledger(folder).settle()
  budget.append(folder, budget.read(folder))
  assert total(folder) == WHOLE


def test_prompts_without_a_shared_prefix_carry_it(folder):
  alone = {p: Prompts(100, v.prompt, shared=False) for p, v in PROMPTS.items()}
  Ledger(folder, job='x', model='wc', prompts=alone).settle()
  assert total(folder) == WHOLE | {'prefix': 200}


def test_prompts_that_are_billed_with_each_request_are_charged_so(folder):
  often = {p: Prompts(0, v.prompt, each=1) for p, v in PROMPTS.items()}
  Ledger(folder, job='x', model='wc', prompts=often).settle()
  assert total(folder)['prompt'] == sum(PROMPTS[r.problem_id].prompt for r in ROWS)


def test_a_store_that_goes_on_from_another_charges_prompts_at_its_own_first_index(folder):
  ledger(folder, first=1).settle()
  assert total(folder)['prompt'] == 7 + 9


def test_a_damaged_line_is_named(folder):
  ledger(folder).settle()
  (folder / 'ledger-000000.jsonl').write_text('{"file": 3')
  with pytest.raises(budget.BudgetError, match=r'ledger-000000\.jsonl, line 1: not a line of a ledger'):
    budget.read(folder)


def test_chunks_are_listed_and_not_asked_for_one_by_one(tmp_path, monkeypatch):
  """Each question to an object store takes its time."""
  for i in range(50):
    files.write_text(tmp_path / f'chunk-{i:06d}.jsonl', records.dumps([sample('a', i, 3)]))
  ledger = Ledger(tmp_path, job='j', model='m', prompts={'a': Prompts(0, 4)})
  ledger.settle()
  asked = []
  exists = type(epath.Path(tmp_path)).exists
  monkeypatch.setattr(type(epath.Path(tmp_path)), 'exists', lambda self: asked.append(self.name) or exists(self))
  ledger.settle()
  assert sum(e.tokens['completion'] for e in budget.read(tmp_path)) == 150
  assert not [name for name in asked if name.startswith('chunk-')]
