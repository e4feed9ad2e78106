"""The checks of a config that need no compute: every field against the others."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from typing import Any

from ml_collections import ConfigDict

from sweb_jax import layout, tasks
from sweb_jax.budget import UNITS
from sweb_jax.config.default import (
  ENDPOINT,
  ENDPOINT_FIELDS,
  RECORDED,
  RECORDED_FIELDS,
  ConfigError,
  default,
  elsewhere,
  get,
  rules_of,
  steps_of,
)
from sweb_jax.curation import FILTERS
from sweb_jax.models.decoder import IMPLEMENTATIONS
from sweb_jax.tasks.jsonl import FORMS


def validate(config: ConfigDict) -> None:
  """Checks every field against the others. Raises ConfigError for the first that makes no sense."""
  _known_fields(config)

  def need(condition: Any, field: str, value: Any, wish: str) -> None:
    if not condition:
      raise ConfigError(f'config.{field}={value!r}: {wish}')

  def positive(*fields: str) -> None:
    for field in fields:
      value = get(config, field)
      need(value > 0, field, value, 'must be positive')

  positive('question_sets', 'task.test', 'rounds')
  trains = bool(config.generators or config.gold)
  if trains:
    positive('task.train', 'task.validation')
  positive('engine.steps', 'engine.jobs', 'mesh.fsdp', 'mesh.tensor', 'judge.max_new_tokens')
  positive('estimate.prompt_tokens', 'estimate.completion_tokens')
  positive('estimate.sampling_flops', 'estimate.training_flops')
  few_shot = config.estimate.few_shot_tokens
  need(few_shot >= 0, 'estimate.few_shot_tokens', few_shot, 'must not be negative')
  need(config.engine.slots >= 0, 'engine.slots', config.engine.slots, 'must be positive, or 0: chosen by memory')
  draw_on = config.engine.draw_on
  need(draw_on in ('', 'slice', 'hosts'), 'engine.draw_on', draw_on, "must be 'slice', 'hosts' or '': as the chips are")
  need(config.mesh.data == -1 or config.mesh.data > 0, 'mesh.data', config.mesh.data, 'must be positive, or -1: all')
  split = config.mesh.fsdp * config.mesh.tensor
  for name, n in config.train.tensor.items():
    need(name in config.models, 'train.tensor', name, f'is not in config.models, which has {sorted(config.models)}')
    divides = type(n) is int and n > 0 and split % min(n, config.mesh.tensor) == 0
    need(divides, f'train.tensor.{name}', n, f'must divide config.mesh.fsdp x config.mesh.tensor = {split}')
  need(config.task.name, 'task.name', config.task.name, 'name a task')
  _check_own(config.task.name, config.task, 'task', need)
  need(config.seed >= 0, 'seed', config.seed, 'must not be negative')
  _check_models(config, need)
  _check_budgets(config, need)
  _check_sampling(config, need, positive)
  if trains:
    _check_training(config, need, positive)
  _check_rounds(config, need)
  for name, rules in config.variants.items():
    _check_variant(config, name, rules, need)
  _check_judge(config, need)
  for name, test in config.transfer.items():
    _check_transfer(name, test, need)


def check_named(config: ConfigDict, given: Collection[str], written: ConfigDict) -> None:
  """Refuses a name that the command line brings in and nothing in a valid config goes by: most are typing errors.

  Args:
    config: of the study.
    given: fields of the command line, as 'models.weak'.
    written: the config file without the command line: a name of it that is not used this time is no error.

  Raises ConfigError, which names the field and what there is.
  """
  used = {*config.generators, *config.learners, *filter(None, [config.judge.model])}
  sections = {
    'models': (used, 'generators, learners and judge are'),
    'cost.prices': (set(config.models), 'models are'),
    'cost.seconds': (set(config.models), 'models are'),
    'train.steps': ({*config.budgets, 'gold'}, 'budgets are'),
  }
  for field in given:
    for section, (known, are) in sections.items():
      name = field.removeprefix(f'{section}.')
      if name != field and name not in known and name not in get(written, section):
        value = get(config, field)
        raise ConfigError(f'config.{field}={value!r}: nothing is named {name!r}; {are} {", ".join(sorted(known))}')


def _check_models(config: ConfigDict, need: Callable[..., None]) -> None:
  for field in ('generators', 'learners'):
    names = config[field]
    need(names or field == 'generators', field, names, 'name at least one model')
    need(len(set(names)) == len(names), field, names, 'a name is given twice')
    for name in names:
      need(name in config.models, field, name, f'is not in config.models, which has {sorted(config.models)}')
  for name in config.implementations:
    need(name in config.models, 'implementations', name, f'is not in config.models, which has {sorted(config.models)}')
  for field, value in (('implementation', config.implementation), *config.implementations.items()):
    field = field if field == 'implementation' else f'implementations.{field}'
    need(value in ('', *IMPLEMENTATIONS), field, value, f'must be one of {", ".join(IMPLEMENTATIONS)}')
  for name in config.chat:
    need(name in config.models, 'chat', name, f'is not in config.models, which has {sorted(config.models)}')
  for name, source in config.models.items():
    need(name.isidentifier(), 'models', name, 'a name is letters, digits and _: it becomes a folder')
    sources = (source,) if isinstance(source, str) else source
    wish = "give 'embedded:NAME', 'gguf:NAME', 'hf:OWNER/NAME', 'size:NAME', 'samples:FILE', 'endpoint:URL#MODEL' or "
    wish += 'a folder, or several of them'
    texts = isinstance(sources, list | tuple) and sources and all(s and isinstance(s, str) for s in sources)
    need(texts, f'models.{name}', source, wish)
    if kind := elsewhere(sources):
      wish = f'give all of them as {kind}..., or none'
      need(all(elsewhere(s) == kind for s in sources), f'models.{name}', source, wish)
      for field, value, names in (
        ('learners', config.learners, config.learners), ('judge.model', config.judge.model, (config.judge.model,))
      ):  # fmt: skip
        wish = f'{name} is {"recorded samples" if kind == RECORDED else "an endpoint"}, which can be a generator only'
        need(name not in names, field, value, wish)
  for section, kind, known in (('recorded', RECORDED, RECORDED_FIELDS), ('endpoints', ENDPOINT, ENDPOINT_FIELDS)):
    for name, said in config[section].items():
      of, field = config.models.get(name, ''), f'{section}.{name}'
      said = said.to_dict() if isinstance(said, ConfigDict) else said
      need(elsewhere(of) == kind, field, said, f'config.models.{name}={of!r} is no {kind}...')
      need(isinstance(said, dict) and set(said) <= set(known), field, said, f'its fields are {", ".join(known)}')
      priced = name in config.cost.prices
      need(not said.get('limit') or priced, f'{field}.limit', said, f'is in dollars: give config.cost.prices.{name}')
      for key, value in said.items():
        _check_elsewhere(f'{field}.{key}', key, value, known[key], need)


def _check_elsewhere(field: str, key: str, value: Any, default: Any, need: Callable[..., None]) -> None:
  """A field of how recorded samples are read, or an endpoint is asked."""
  types = {'parameters': (int, str), 'timeout': (int, float), 'limit': (int, float)}.get(key, type(default))
  fits = isinstance(value, types) and isinstance(value, bool) == isinstance(default, bool)
  need(fits, field, value, 'is of a wrong type')
  if key in ('concurrency', 'timeout') or (key == 'n' and default):
    need(value > 0, field, value, 'must be positive')
  if key in ('n', 'retries', 'limit') or (key == 'parameters' and isinstance(value, int)):
    need(value >= 0, field, value, 'must not be negative')


def _check_budgets(config: ConfigDict, need: Callable[..., None]) -> None:
  wish = 'name at least one budget, as {name: {generator: samples a problem}}'
  need(config.budgets or not config.generators, 'budgets', {}, wish)
  need(config.generators or not config.budgets, 'budgets', sorted(config.budgets), 'needs config.generators')
  need(config.cost.name in UNITS, 'cost.name', config.cost.name, f'costs are {", ".join(UNITS)}')
  for name, policy in config.policies.items():
    need(name.isidentifier(), 'policies', name, 'a name is letters, digits and _: it becomes a folder')
    need(isinstance(policy, ConfigDict), f'policies.{name}', policy, "give {'kind': ..., ...}")
  for budget, anchor in config.budgets.items():
    need(isinstance(anchor, ConfigDict), f'budgets.{budget}', anchor, 'give {generator: samples a problem}')


def _check_sampling(config: ConfigDict, need: Callable[..., None], positive: Callable[..., None]) -> None:
  positive('sampling.max_new_tokens')
  s, maj_k = config.sampling, config.evaluate.maj_k
  need(s.temperature > 0, 'sampling.temperature', s.temperature, 'samples of a problem must differ: give more than 0')
  need(s.dtype in ('float32', 'bfloat16'), 'sampling.dtype', s.dtype, 'must be one of float32, bfloat16')
  need(s.top_k >= 0, 'sampling.top_k', s.top_k, 'must be 0 (off) or positive')
  need(0 < s.top_p <= 1, 'sampling.top_p', s.top_p, 'must lie in (0, 1]')
  need(s.top_p == 1 or s.top_k, 'sampling.top_p', s.top_p, 'needs sampling.top_k: the nucleus is sought in the top k')
  need(all(isinstance(k, int) and k > 0 for k in maj_k), 'evaluate.maj_k', maj_k, 'must be positive whole numbers')


def _check_training(config: ConfigDict, need: Callable[..., None], positive: Callable[..., None]) -> None:
  t = config.train
  positive('train.batch', 'train.checkpoints', 'train.row_length', 'train.clip_norm', 'train.save_seconds')
  positive('train.seeds', 'train.micro_batches')
  need(t.side_by_side >= 0, 'train.side_by_side', t.side_by_side, 'must be 0 (as many as are of use) or positive')
  for name in t.batches:
    need(name in config.learners, 'train.batches', name, f'is not in config.learners, which has {config.learners}')
  for budget in (*config.budgets, *(('gold',) if config.gold else ())):
    steps = t.steps.get(budget)
    need(isinstance(steps, int) and steps > 0, f'train.steps.{budget}', steps, 'give the number of steps')
    for learner in config.learners:
      batch = t.batches.get(learner, t.batch)
      wish = f'must divide the {steps * t.batch} examples of train.steps.{budget} x train.batch'
      fits = isinstance(batch, int) and batch > 0 and steps * t.batch % batch == 0
      need(fits, f'train.batches.{learner}', batch, wish)
      enough = t.checkpoints <= steps_of(config, learner, budget)
      wish = f'a run of {learner} has fewer steps than checkpoints; lower it'
      need(enough, 'train.checkpoints', t.checkpoints, wish)
      wish = f'must lie within the {steps_of(config, learner, budget)} steps of {learner} on {budget!r}'
      need(0 <= t.warmup <= steps_of(config, learner, budget), 'train.warmup', t.warmup, wish)
  rates = t.learning_rates
  above_0 = rates and all(isinstance(r, float | int) and r > 0 for r in rates)
  need(above_0, 'train.learning_rates', rates, 'give at least one, all positive')
  need(0 <= t.final <= 1, 'train.final', t.final, 'must lie in [0, 1]')
  need(0 <= t.b2 < 1, 'train.b2', t.b2, 'must lie in [0, 1)')
  for field, known in (
    ('optimizer', ('adamw', 'adafactor')),
    ('remat', ('none', 'dots', 'full')),
    ('too_long', ('refuse', 'leave_out')),
    ('dtype', ('float32', 'bfloat16')),
  ):
    need(t[field] in known, f'train.{field}', t[field], f'must be one of {", ".join(known)}')
  for field in ('epochs', 'unique_examples', 'lora.rank', 'peak_flops', 'weight_decay'):
    value = get(config, f'train.{field}')
    need(value >= 0, f'train.{field}', value, 'must not be negative')
  try:
    re.compile(t.lora.targets)
  except re.error as e:
    need(False, 'train.lora.targets', t.lora.targets, f'is no regular expression: {e}')


def _check_rounds(config: ConfigDict, need: Callable[..., None]) -> None:
  r, wish = config.round, 'name a budget\'s arm, as wc_low'
  if config.rounds == 1:
    return
  need(r.arm, 'round.arm', r.arm, f'{wish}: its models draw in the second round')
  need(r.by == 'self' or r.by in config.learners, 'round.by', r.by, f"must be 'self' or one of {config.learners}")
  counts = isinstance(r.samples, tuple) and all(isinstance(n, int) and n > 0 for n in r.samples)
  wish = f'give {config.rounds - 1} positive whole numbers, one for each round after the first; or (): as the arm has'
  need(counts and len(r.samples) in (0, config.rounds - 1), 'round.samples', r.samples, wish)


def _check_variant(config: ConfigDict, name: str, rules: Any, need: Callable[..., None]) -> None:
  need(name.isidentifier(), 'variants', name, 'a name is letters, digits and _: it becomes part of file names')
  need(isinstance(rules, ConfigDict), f'variants.{name}', rules, 'give fields of config.data that differ')
  of = rules.get('budgets', ())
  known = isinstance(of, tuple | list) and set(of) <= set(config.budgets)
  need(known, f'variants.{name}.budgets', of, f'give names of config.budgets, which has {sorted(config.budgets)}')
  for field, value in rules.items():
    if field != 'budgets':
      known = config.data
      need(field in known, f'variants.{name}', field, f'is no field of config.data, which has {sorted(known)}')
      kind = type(known[field])
      need(type(value) is kind, f'variants.{name}.{field}', value, f'config.data.{field} is of type {kind.__name__}')


def _check_judge(config: ConfigDict, need: Callable[..., None]) -> None:
  judge = config.judge
  wish = f'is not in config.models, which has {sorted(config.models)}'
  need(not judge.model or judge.model in config.models, 'judge.model', judge.model, wish)
  need(judge.samples >= 0, 'judge.samples', judge.samples, 'must be positive, or 0: the FPR is not judged')
  for variant in (None, *config.variants):
    name, field = rules_of(config, variant)['filter'], f'variants.{variant}.filter' if variant else 'data.filter'
    need(name in FILTERS, field, name, f'must be one of {", ".join(FILTERS)}')
    need(name != 'judge' or judge.model, field, name, 'name the judge in config.judge.model')


def _check_transfer(name: str, test: Any, need: Callable[..., None]) -> None:
  field = f'transfer.{name}'
  need(name.isidentifier(), 'transfer', name, 'a name is letters, digits and _: it becomes a folder')
  need(name != layout.TEST, 'transfer', name, "is the study's own test set; name it otherwise")
  need(isinstance(test, ConfigDict), field, test, "give {'task': name, 'data_dir': folder, 'test': n, 'levels': ()}")
  more = ('data_dir', 'levels', 'template', *tasks.OWN)
  wish = f"its fields are 'task', 'test', and if need be {', '.join(map(repr, more))}"
  need({'task', 'test'} <= set(test) <= {'task', 'test', *more}, field, sorted(test), wish)
  _check_own(test.task, test, field, need)
  need(isinstance(test.test, int) and test.test > 0, f'{field}.test', test.test, 'must be a positive whole number')


def _check_own(name: str, said: ConfigDict, field: str, need: Callable[..., None]) -> None:
  """The fields of `tasks.Own` belong to the task 'jsonl', which needs them."""
  said = said.to_dict()
  if name != 'jsonl':
    for own in tasks.OWN:
      need(not said.get(own), f'{field}.{own}', said.get(own), f"is of the task 'jsonl', and this is {name!r}")
    return
  files, forms = said.get('files'), tuple(FORMS)
  texts = isinstance(files, dict) and all(x and isinstance(x, str) for item in files.items() for x in item)
  need(files and texts, f'{field}.files', files, "give {'all': FILE}, or {split: FILE, ...}")
  fields = said.get('fields', {})
  texts = isinstance(fields, dict) and all(x and isinstance(x, str) for item in fields.items() for x in item)
  need(texts, f'{field}.fields', fields, 'give {what: name of a field of the rows, ...}')
  need(said.get('answer') in forms, f'{field}.answer', said.get('answer', ''), f'must be one of {", ".join(forms)}')
  shots = said.get('shots', 0)
  need(isinstance(shots, int) and shots >= 0, f'{field}.shots', shots, 'must be a whole number, or 0: none')


def _known_fields(config: ConfigDict) -> None:
  """Refuses fields that nothing reads: most are typing errors."""
  # Their keys are names that the config chooses.
  open_sections = ('presets', 'models', 'budgets', 'policies', 'cost.prices', 'cost.seconds', 'train.steps')
  open_sections += ('variants', 'train.batches', 'train.tensor', 'transfer', 'implementations', 'recorded', 'endpoints')
  open_sections += ('task.files', 'task.fields')

  def walk(found: ConfigDict, known: ConfigDict, prefix: str) -> None:
    for key in found:
      name = f'{prefix}{key}'
      if key not in known:
        raise ConfigError(f'config.{name}: there is no such field; fields here are {", ".join(sorted(known))}')
      if isinstance(known[key], ConfigDict) and name not in open_sections:
        walk(found[key], known[key], f'{name}.')
    for key in known:
      if key not in found:
        raise ConfigError(f'config.{prefix}{key} is missing; start the config from sweb_jax.config.default()')

  walk(config, default(), '')
