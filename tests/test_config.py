"""Checks of a config that need no compute."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from ml_collections import ConfigDict

from sweb_jax.config import ConfigError, mesh_of, resolve, steps_of, validate

CONFIGS = Path(__file__).parents[1] / 'configs'


def load(name: str) -> ConfigDict:
  spec = importlib.util.spec_from_file_location(name.replace('/', '_'), CONFIGS / f'{name}.py')
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module.get_config()


STUDIES = sorted(str(p.relative_to(CONFIGS).with_suffix('')) for p in CONFIGS.rglob('*.py') if 'pretrain' not in p.stem)


@pytest.mark.parametrize('name', STUDIES)
def test_every_config_file_is_valid_in_each_of_its_presets(name):
  config = load(name)
  for preset in config.presets or ('',):
    config.preset = preset
    resolved = resolve(config, ())
    validate(resolved)
    chosen = dict(config.presets[preset]) if preset else {}
    assert resolved.preset == preset and not resolved.presets
    assert all(_plain(_at(resolved, field)) == value for field, value in chosen.items())


def _plain(value):
  return value.to_dict() if isinstance(value, ConfigDict) else value


def _at(config: ConfigDict, field: str):
  for part in field.split('.'):
    config = config[part]
  return config


@pytest.mark.parametrize(
  ('field', 'value', 'message'),
  [
    ('question_sets', 0, 'must be positive'),
    ('task.train', 0, 'must be positive'),
    ('task.test', -1, 'must be positive'),
    ('task.name', '', 'name a task'),
    ('seed', -1, 'must not be negative'),
    ('learners', (), 'at least one model'),
    ('rounds', 0, 'must be positive'),
    ('train.too_long', 'cut', 'must be one of refuse, leave_out'),
    ('estimate.few_shot_tokens', -1, 'must not be negative'),
    ('generators', ('wc', 'wc'), 'given twice'),
    ('learners', ('teacher',), r"not in config\.models, which has \['se', 'student', 'wc'\]"),
    ('models.wc', '', 'embedded:NAME'),
    ('models.other', 3, 'embedded:NAME'),
    ('budgets', ConfigDict(), 'at least one budget'),
    ('train.steps.low', 0, 'number of steps'),
    ('train.steps.gold', 2.5, 'number of steps'),
    ('train.checkpoints', 10_000, 'fewer steps than checkpoints'),
    ('train.learning_rates', (), 'at least one'),
    ('train.optimizer', 'sgd', 'must be one of adamw, adafactor'),
    ('train.remat', True, 'must be one of none, dots, full'),
    ('train.dtype', 'float16', 'must be one of float32, bfloat16'),
    ('train.micro_batches', 0, 'must be positive'),
    ('train.epochs', -1, 'must not be negative'),
    ('train.lora.rank', -1, 'must not be negative'),
    ('train.lora.targets', '(', 'is no regular expression'),
    ('train.learning_rates', (0.0,), 'all positive'),
    ('train.learning_rates', ('1e-3',), 'all positive'),
    ('train.row_length', 0, 'must be positive'),
    ('train.final', 1.5, r'in \[0, 1\]'),
    ('train.b2', 1.0, r'in \[0, 1\)'),
    ('train.warmup', 10_000, r'within the \d+ steps of \w+ on'),
    ('train.warmup', -1, 'must lie within'),
    ('train.weight_decay', -0.1, 'must not be negative'),
    ('sampling.temperature', 0.0, 'must differ'),
    ('sampling.max_new_tokens', 0, 'must be positive'),
    ('sampling.top_k', -1, 'positive'),
    ('sampling.dtype', 'float16', 'must be one of float32, bfloat16'),
    ('sampling.top_p', 0.0, r'in \(0, 1\]'),
    ('sampling.top_p', 0.9, r'needs sampling\.top_k'),
    ('evaluate.maj_k', (0,), 'positive whole numbers'),
    ('evaluate.maj_k', ('4',), 'positive whole numbers'),
    ('engine.slots', -1, 'must be positive, or 0'),
    ('mesh.fsdp', 0, 'must be positive'),
    ('mesh.data', 0, 'or -1'),
    ('estimate.sampling_flops', 0.0, 'must be positive'),
    ('engine.draw_on', 'chips', "must be 'slice', 'hosts' or ''"),
  ],
)
def test_a_field_that_makes_no_sense_is_named_with_what_is_wanted(field, value, message):
  config = load('quickstart')
  with config.ignore_type():
    config.update_from_flattened_dict({field: value})
  if field == 'budgets':
    config.budgets = value
  with pytest.raises(ConfigError, match=rf'^config\.{field}.*{message}'):
    validate(config)


def test_a_budget_that_is_no_mapping_is_refused():
  config = load('quickstart')
  with config.ignore_type():
    config.budgets.low = 3
  with pytest.raises(ConfigError, match=r'^config\.budgets\.low=3: give \{generator: samples a problem\}'):
    validate(config)


@pytest.mark.parametrize(('field', 'known'), [('tpyo', 'budgets'), ('train.bacth', 'batch'), ('mesh.model', 'tensor')])
def test_an_unknown_field_is_refused_with_those_there_are(field, known):
  config = load('quickstart')
  config.update_from_flattened_dict({field: 1})
  with pytest.raises(ConfigError, match=rf'^config\.{field}: there is no such field; fields here are .*\b{known}\b'):
    validate(config)


def test_a_missing_field_is_refused():
  config = load('quickstart')
  del config.train['warmup']
  with pytest.raises(ConfigError, match=r'config\.train\.warmup is missing'):
    validate(config)


def test_names_of_models_budgets_and_steps_are_free():
  config = load('quickstart')
  config.models.other = 'embedded:wc'
  config.budgets.mid = ConfigDict({'other': 2})
  config.train.steps.mid = config.train.checkpoints
  validate(config)


def test_a_preset_gives_way_to_the_command_line_and_leaves_no_trace():
  config = load('quickstart')
  config.presets = {'small': (('task.train', 7), ('task.test', 8), ('seed', 3)), 'large': (('task.train', 70),)}
  config.preset = 'small'
  config.task.train, config.task.test = 300, 99
  resolved = resolve(config, ['task.test'])
  assert (resolved.task.train, resolved.task.test, resolved.seed) == (7, 99, 3)
  assert not resolved.presets and config.task.train == 300
  config.preset = 'huge'
  with pytest.raises(ConfigError, match=r"config\.preset='huge': presets of this config are large, small"):
    resolve(config, ())


def test_a_field_of_the_command_line_stays_where_a_preset_changes_what_it_is_in():
  config = load('paper/math')
  config.preset, config.budgets.low.se = 'low', 2
  resolved = resolve(config, ['budgets.low.se'])
  assert resolved.budgets.to_dict() == {'low': {'se': 2}}


def test_a_learner_with_a_batch_of_its_own_sees_as_many_examples():
  config = load('paper/math')
  assert [steps_of(config, m, b) for b in ('low', 'high') for m in ('wc', 'student')] == [600, 2400, 6000, 24_000]


def test_a_learners_mesh_has_its_own_tensor_and_as_many_devices():
  config = load('paper/math')
  assert [mesh_of(config, name) for name in ('se', 'wc')] == [
    {'data': -1, 'fsdp': 4, 'tensor': 16}, {'data': -1, 'fsdp': 8, 'tensor': 8}
  ]  # fmt: skip
  config.mesh.update({'fsdp': 3, 'tensor': 2})
  assert mesh_of(config, 'wc') == {'data': -1, 'fsdp': 3, 'tensor': 2}  # At most eight.


@pytest.mark.parametrize(
  ('fields', 'message'),
  [
    ({'train': {'seeds': 0}}, r'train\.seeds=0: must be positive'),
    ({'train': {'batches': {'teacher': 8}}}, r'train\.batches=.teacher.: is not in config\.learners'),
    ({'train': {'tensor': {'teacher': 2}}}, r'train\.tensor=.teacher.: is not in config\.models'),
    ({'train': {'tensor': {'wc': 0}}}, r'train\.tensor\.wc=0: must divide config\.mesh\.fsdp x .* = 1'),
    ({'mesh': {'tensor': 4}, 'train': {'tensor': {'wc': 3}}}, r'train\.tensor\.wc=3: must divide .* = 4'),
    ({'train': {'batches': {'wc': 33}}}, r'train\.batches\.wc=33: must divide the 1920 examples of train\.steps\.high'),
    ({'train': {'batches': {'wc': 1920}}}, 'a run of wc has fewer steps than checkpoints'),
    ({'variants': {'one': 1}}, r'variants\.one=1: give fields of config\.data'),
    ({'variants': {'a-b': {}}}, 'letters, digits and _'),
    ({'variants': {'one': {'most': 1}}}, r"variants\.one='most': is no field of config\.data"),
    ({'variants': {'one': {'max_per_problem': '1'}}}, r"max_per_problem='1': .* is of type int"),
    ({'variants': {'one': {'budgets': ('mid',)}}}, r'variants\.one\.budgets=.*has \[.high., .low.\]'),
  ],
)
def test_seeds_batches_and_variants_that_make_no_sense_are_named(fields, message):
  config = load('quickstart')
  config.update(ConfigDict(fields))
  with pytest.raises(ConfigError, match=message):
    validate(config)


@pytest.mark.parametrize(
  ('field', 'value', 'message'),
  [
    ('cost.name', 'euro', 'costs are paper, flops, price, seconds, tokens'),
    ('policies', ConfigDict({'hard': 3}), r"give \{'kind'"),
    ('policies', ConfigDict({'too-hard': {'kind': 'uniform'}}), 'letters, digits and _'),
  ],
)
def test_a_cost_or_policy_that_makes_no_sense_is_named(field, value, message):
  config = load('embedded_policies')
  with config.ignore_type():
    if field == 'policies':
      config.policies = value
    else:
      config.update_from_flattened_dict({field: value})
  with pytest.raises(ConfigError, match=rf'^config\.{field}.*{message}'):
    validate(config)


def test_a_config_may_have_no_generators_and_then_has_no_budgets():
  config = load('quickstart')
  config.generators, config.gold = (), False
  with pytest.raises(ConfigError, match=r"config\.budgets=\['high', 'low'\]: needs config\.generators"):
    validate(config)
  config.budgets, config.train.steps = {}, {}
  config.task.train = config.task.validation = 0
  validate(config)
  config.learners = ()
  with pytest.raises(ConfigError, match=r'config\.learners=\(\): name at least one model'):
    validate(config)
