"""A study grows: what was paid for is reused byte for byte, and the tables are those of a study made so at once."""

from __future__ import annotations

import pytest

BOTH = {'low': {'se': 1}, 'high': {'se': 2}}
AXES = {
  'question sets': {'question_sets': 2},
  'samples a problem and a budget': {'budgets': BOTH},
  'an arm': {'gold': True},
  'a variant': {'variants': {'one_kept': {'max_per_problem': 1}}},
  'a learner': {'learners': ('wc', 'student')},
  'a learning rate': {'train__learning_rates': (1e-3, 2.5e-3, 5e-3)},
  'seeds': {'train__seeds': 2},
  'votes': {'evaluate__maj_k': (1, 2)},
  'test problems': {'task__test': 16},
  'a further test set': {'transfer': {'easy': {'task': 'arithmetic', 'test': 6, 'levels': ('s1r0',)}}},
}


@pytest.mark.slow
@pytest.mark.parametrize('axis', AXES)
def test_growing_reuses_every_byte_and_ends_in_the_tables_of_a_study_made_at_once(runs, done, copy, tmp_path, axis):
  before = runs.results(copy)
  said = runs(copy, runs.tiny(**AXES[axis]))
  after = runs.results(copy)
  rewritten = {name for name in before if after.get(name) != before[name]}
  # What sums up has grown with what it sums up.
  assert {name.rpartition('/')[2] for name in rewritten} <= {'problems.jsonl', 'selection.json', 'prompts.json'}
  assert len(after) > len(before)
  assert 'changed' not in said and 'reused' in said
  runs(tmp_path / 'at_once', runs.tiny(**AXES[axis]))
  assert runs.tables(copy) == runs.tables(tmp_path / 'at_once')
