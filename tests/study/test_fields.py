"""Which steps a field of the config changes: the list of `fields`, held against the steps themselves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from ml_collections import ConfigDict

from sweb_jax import config as config_lib
from sweb_jax import layout
from sweb_jax.study import fields, opened, state
from sweb_jax.study.graph import graph

# A value that differs, for a field of the study below; of those that only apply with another field, both.
OTHER = {
  'seed': 1,
  'task.name': 'gsm8k',
  'task.world': 1,
  'task.levels': ('s1r0',),
  'task.template': '{question} A:',
  'task.fields': {'question': 'problem'},
  'task.answer': 'number',
  'task.shots': 2,
  'task.train': 13,
  'task.validation': 9,
  'implementation': 'gemma',
  'implementations': {'wc': 'gemma', 'se': 'gemma', 'student': 'gemma'},
  'recorded': {'wc': {'tokenizer': 'embedded:wc'}, 'se': {'fields': {'problem': 'q'}}},
  'chat': ('wc', 'se', 'student'),
  'policies': {'until': {'kind': 'until_solved', 'generators': ('wc',), 'correct': 2}},
  'cost.name': 'tokens',
  'cost.share_prefix': False,
  'cost.prices': {'wc': (1.0, 2.0), 'se': (1.0, 4.1)},
  'cost.seconds': {'wc': 1.0, 'se': 2.1},
  'sampling.few_shot': True,
  'sampling.temperature': 0.9,
  'sampling.top_k': 7,
  'sampling.top_p': 0.9,
  'sampling.max_new_tokens': 25,
  'sampling.dtype': 'bfloat16',
  'data.filter': 'none',
  'data.max_per_problem': 2,
  'data.dedupe': True,
  'data.balance': True,
  'data.mix_gold': True,
  'train.unique_examples': 3,
  'train.batch': 8,
  'train.batches': {'wc': 2},
  'train.steps': {'low': 4, 'gold': 4},
  'train.epochs': 1,
  'train.checkpoints': 2,
  'train.row_length': 50,
  'train.too_long': 'refuse',
  'train.warmup': 1,
  'train.final': 0.5,
  'train.b2': 0.9,
  'train.weight_decay': 0.1,
  'train.clip_norm': 2.0,
  'train.optimizer': 'adafactor',
  'train.dtype': 'bfloat16',
  'train.lora.rank': 2,
  'train.lora.alpha': 8.0,
  'train.lora.targets': 'linear',
  'judge.model': 'wc',
  'judge.max_new_tokens': 99,
  'judge.gold': False,
  'round.keep': True,
  'estimate.completion_tokens': 14,
}
SAMPLES = 'budgets (samples a problem)'
ALL = ('problems', 'samples', 'verdicts', 'opinions', 'allocations', 'examples', 'models', 'scores')
AFTER = {
  'problems': ALL,
  'samples': ALL[1:],
  'verdicts': ALL[2:],
  'opinions': ('opinions', 'examples', 'models', 'scores'),
  'allocations': ('allocations', 'examples', 'models', 'scores'),
  'examples': ('examples', 'models', 'scores'),
  'models': ('models', 'scores'),
  'scores': ('scores',),
}
"""A kind of step -> it, and those that read it."""


@pytest.fixture
def study(runs) -> ConfigDict:
  """One with a step of every kind."""
  return runs.tiny(
    gold=True,
    cost__prices={'wc': (1.0, 2.0), 'se': (1.0, 4.0)},
    cost__seconds={'wc': 1.0, 'se': 2.0},
    policies={'until': {'kind': 'until_solved', 'generators': ('wc',)}},
    judge__model='se',
    judge__samples=4,
    variants={'judged': {'filter': 'judge'}},
  )


def leaves(config: ConfigDict, prefix: str = '') -> Iterator[str]:
  for name, value in config.items():
    if isinstance(value, ConfigDict) and value and f'{prefix}{name}' not in (*fields.GRAPH, *fields.FREE):
      yield from leaves(value, f'{prefix}{name}.')
    else:
      yield f'{prefix}{name}'


def versions(config: ConfigDict) -> dict[str, tuple[str, str]]:
  """Folder -> kind and version of each step but the report."""
  variants = opened.open_variants(config.models)
  shapes = {name: v[0].config for name, v in variants.items()}
  made = graph(config, shapes, {name: tuple(m.identity for m in v) for name, v in variants.items()})
  return {step.folder: (step.kind, step.version) for step in made.steps if step.kind != 'report'}


def changed_kinds(before: ConfigDict, after: ConfigDict) -> set[str]:
  """Kinds of the steps that both have and whose version differs."""
  old, new = versions(before), versions(after)
  return {kind for name, (kind, version) in old.items() if name in new and new[name][1] != version}


def put(config: ConfigDict, name: str, value: Any) -> None:
  section, _, last = name.rpartition('.')
  for part in filter(None, section.split('.')):
    config = config[part]
  with config.unlocked():
    config[last] = value


def test_every_field_stands_in_exactly_one_list():
  known = list(leaves(config_lib.default()))
  listed = [*fields.DEPENDS, *fields.GRAPH, *fields.FREE]
  assert sorted(listed) == sorted(set(listed))
  assert set(known) == set(listed)
  assert set(OTHER) == set(fields.DEPENDS)


def test_a_field_that_is_added_says_by_which_value_results_are_as_before():
  assert set(fields.LATER) <= set(fields.DEPENDS)
  # Whoever adds a field adds it to `fields.LATER` and changes nothing here: else workdirs that are there begin anew.
  assert state.digest(sorted(set(fields.DEPENDS) - set(fields.LATER))) == 'b36898ecb1b86e6a'


def test_steps_that_were_made_before_there_was_a_field_are_as_with_the_value_that_changes_nothing(study, monkeypatch):
  now = fields.DEPENDS
  monkeypatch.setattr(fields, 'DEPENDS', {name: kinds for name, kinds in now.items() if name != 'train.clip_norm'})
  former = {s.folder: state.of(s) for s in opened.open_study(study).graph.steps if s.kind != 'report'}
  monkeypatch.setattr(fields, 'DEPENDS', now)

  def steps(value: float):
    put(study, 'train.clip_norm', value)
    return {s.folder: s for s in opened.open_study(study).graph.steps if s.folder in former}

  def differing(value: float) -> set[str]:
    return {s.kind for folder, s in steps(value).items() if s.version != former[folder].version}

  (model, *_) = (folder for folder in former if layout.kind_of(folder) == 'models')
  assert differing(1.0) == {'models', 'scores'}  # Nothing is known of the field.
  assert state.differences(steps(1.0)[model], former[model]) == {'config.train.clip_norm': (state.NOT_KNOWN, 1.0)}
  monkeypatch.setattr(fields, 'LATER', {'train.clip_norm': 1.0})
  assert differing(1.0) == set()
  assert differing(2.0) == {'models', 'scores'}
  assert state.differences(steps(2.0)[model], former[model]) == {'config.train.clip_norm': (1.0, 2.0)}


@pytest.mark.parametrize('name', fields.DEPENDS)
def test_a_field_changes_the_steps_that_depend_on_it_and_those_that_read_them(study, name):
  if name.startswith('cost.') and name not in ('cost.name', 'cost.share_prefix'):
    put(study, 'cost.name', name.removeprefix('cost.').removesuffix('s') if name == 'cost.prices' else 'seconds')
  if name == 'round.keep':
    put(study, 'rounds', 3)
    put(study, 'round.arm', 'wc_low')
  other = study.copy_and_resolve_references()
  put(other, name, OTHER[name])
  kinds = fields.DEPENDS[name]
  expected = {after for kind in kinds for after in AFTER[kind]}
  if name == 'round.keep':  # What is trained in the second round draws in the third.
    expected |= {'samples', 'verdicts', 'opinions'}
    first = {n for n, (_, v) in versions(study).items() if versions(other)[n][1] == v}
    assert {n for n in versions(study) if 'round' not in n} <= first
  if name == 'judge.gold':  # Read beside kept samples only, which decide nothing.
    expected = {'opinions'}
  assert changed_kinds(study, other) == expected


@pytest.mark.parametrize('name', fields.FREE)
def test_a_free_field_changes_no_step(study, name):
  other = study.copy_and_resolve_references()
  value = fields._plain(config_lib.get(study, name))
  different = {
    str: 'other', bool: not value, int: 7, float: 0.5, dict: {'data': 1, 'fsdp': 1, 'tensor': 2, 'slots': 8}
  }[type(value)]  # fmt: skip
  put(other, name, different)
  assert versions(other) == versions(study)


@pytest.mark.parametrize(
  ('name', 'value'),
  [
    ('question_sets', 2),
    ('task.test', 20),
    ('train.seeds', 2),
    ('evaluate.maj_k', (4,)),
    ('judge.samples', 8),
    ('number_matched', True),
    ('gold', False),
    ('learners', ('student', 'wc')),
    ('variants', {'one': {'max_per_problem': 1}}),
    ('budgets', {'low': {'se': 1}, 'high': {'se': 4}}),
    ('transfer', {'easy': {'task': 'arithmetic', 'test': 3}}),
    ('train.learning_rates', (1e-3, 2.5e-3)),
    ('grading.second_opinion', False),
  ],
)
def test_what_only_says_how_far_a_study_goes_changes_no_step(study, name, value):
  put(study, 'train.steps', {'low': 2, 'high': 2, 'gold': 2})
  other = study.copy_and_resolve_references()
  put(other, name, ConfigDict(value) if isinstance(value, dict) else value)
  assert changed_kinds(study, other) == set()


def test_another_budget_is_told_of_by_its_field(study):
  def arms(**budgets):
    put(study, 'budgets', ConfigDict(budgets))
    return {s.arm.name: s for s in opened.open_study(study).graph.steps if s.kind == 'examples'}

  before, after = arms(low={'se': 1}), arms(low={'se': 2})
  told = state.differences(after['se_low'], state.of(before['se_low']))
  assert told == {f'config.{SAMPLES}': (1, 2)}


def test_more_learning_rates_change_what_a_trained_model_draws(study):
  put(study, 'rounds', 2)
  put(study, 'round.arm', 'wc_low')
  other = study.copy_and_resolve_references()
  put(other, 'train.learning_rates', (1e-3, 2.5e-3))
  before, after = versions(study), versions(other)
  differ = {name for name, (_, version) in before.items() if after[name][1] != version}
  assert differ == {name for name in before if '.round2' in name}
  assert {before[name][0] for name in differ} >= {'samples', 'verdicts', 'examples', 'models', 'scores'}


def test_other_files_of_a_model_change_what_reads_them_and_no_more(study, monkeypatch):
  variants = opened.open_variants(study.models)
  shapes = {name: v[0].config for name, v in variants.items()}

  def made(**identities):
    steps = graph(study, shapes, {name: (identities.get(name, name),) for name in shapes}).steps
    return {step.folder: step.version for step in steps if step.kind != 'report'}

  put(study, 'learners', ('student', 'wc'))
  differ = [name for name, version in made().items() if made(student='others')[name] != version]
  assert differ and all('student' in name.split('/') for name in differ)
  assert {layout.kind_of(name) for name in differ} == {'models', 'scores'}


def test_a_step_can_read_no_field_that_it_does_not_depend_on(study):
  variants = opened.open_variants(study.models)
  shapes = {name: v[0].config for name, v in variants.items()}
  for step in graph(study, shapes, {name: ('',) for name in shapes}).steps:
    if step.kind != 'report':
      assert set(step.settings) <= {*(n for n, kinds in fields.DEPENDS.items() if step.kind in kinds), SAMPLES}
  with pytest.raises(KeyError, match='does not depend on'):
    fields.settings(study, 'verdicts', sampling__temperature=1.0)
