"""Every field of an experiment, with its default, and the checks that need no compute.

A config file calls `default()` and changes what differs. Which step's result depends on which field is said in
`study/fields.py`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from typing import Any

from ml_collections import ConfigDict

from sweb_jax import layout
from sweb_jax.budget import UNITS
from sweb_jax.curation import FILTERS


class ConfigError(ValueError):
  """A field of the config that makes no sense; the message names it and what to do."""


def default() -> ConfigDict:
  """The fields common to all experiments; a config file fills in what has no sensible default."""
  return ConfigDict(
    {
      'name': '',
      'seed': 0,  # Of sampling and training; question set j adds j.
      'preset': '',  # One of `presets`.
      'presets': ConfigDict(),  # Sizes of the study: name -> ((field, value), ...).
      'data_dir': '',  # Folder of public files, or 'tfds:DIR' (docs/data.md); generated tasks need none.
      'question_sets': 1,  # Replicates of the whole study: other problems, other seeds.
      'task': {
        'name': '',
        'world': 0,  # Which made world, of a generated task.
        'made_world': False,  # The report says that its problems are made up.
        'levels': (),  # Difficulties to draw problems from; (): the task's default.
        'train': 0,  # Problems a question set.
        'validation': 0,
        'test': 0,
      },
      # Name -> 'embedded:NAME', 'gguf:gemma3_270m' or a model folder; or several, which question sets take in turn.
      # 'size:gemma2_9b' is a shape without weights, for a plan.
      'models': ConfigDict(),
      'chat': (),  # Names of the models that read and write chat turns (instruction-tuned Gemmas).
      'generators': (),  # Names of the models that draw data; (): learners are only evaluated, or trained on gold.
      'learners': (),  # Names of the models that are fine-tuned.
      # Name -> {generator: samples a problem}; the others get as much compute. Or {unit: amount} a question set.
      'budgets': ConfigDict(),
      # Name -> {'kind': ..., ...}: further arms that spend each budget as a policy decides (docs/budgets.md).
      'policies': ConfigDict(),
      'cost': {  # What counts as equal cost, and what policies are charged (docs/budgets.md).
        'name': 'paper',  # paper, flops, price, seconds or tokens.
        'exact_ratio': False,  # A ratio of 2.95 is met by giving some problems one sample more; else it is 3.
        'share_prefix': True,  # Worked examples are charged once a job; else once a problem.
        'prices': ConfigDict(),  # Model -> (dollars a million input tokens, and output tokens).
        'seconds': ConfigDict(),  # Model -> device seconds a drawn token.
      },
      'rounds': 1,  # Of drawing and training: in later ones what was trained draws (docs/rounds.md).
      'round': {
        'arm': '',  # Of the first round: its models draw in the second.
        'by': 'self',  # Each learner draws for itself; or the name of the learner that draws for all.
        'samples': (),  # A problem, in each later round; (): as many as the arm's.
        'keep': False,  # Examples of earlier rounds stay.
      },
      'number_matched': False,  # Also compare equal numbers of samples.
      'gold': True,  # Also train on solutions by people.
      'sampling': {
        'few_shot': False,  # Base models read the task's worked examples first.
        'temperature': 0.7,
        'top_k': 0,  # 0: off.
        'top_p': 1.0,
        'max_new_tokens': 0,
        'dtype': 'float32',  # Of weights and caches while data is drawn and tests are taken; 'bfloat16': half of both.
      },
      'grading': {
        'second_opinion': True,  # Verdicts also hold math-verify's opinion, where the task's answers are mathematical.
      },
      'data': {
        'filter': 'answer',  # What is kept (docs/filters.md): answer, none, majority or judge.
        'max_per_problem': 0,  # Keep the first so many of what the filter leaves of a problem; 0: all.
        'dedupe': False,  # Drop a solution whose text the problem has already.
        'balance': False,  # Keep of each problem as many as the median solved problem has.
        'mix_gold': False,  # Add the solutions by people to every arm's own examples.
      },
      # Name -> fields of `data` that differ: further arms, of the same samples by other rules. 'budgets': names, for
      # these only. 'one_kept': {'max_per_problem': 1}.
      'variants': ConfigDict(),
      'train': {
        'seeds': 1,  # Each learner is fine-tuned so many times on each arm's data, in another order.
        'batch': 0,  # Examples a step.
        'batches': ConfigDict(),  # Learner -> its own batch; its steps are as many as see the same number of examples.
        'steps': ConfigDict(),  # Budget name, or 'gold' -> steps; the paper's: as many for both arms of a comparison.
        'epochs': 0,  # Train so many times over each arm's examples, at most `steps`; 0: `steps` of them.
        'unique_examples': 0,  # Take so many of each arm's examples, drawn by the seed; 0: all.
        'learning_rates': (),  # The best on validation problems is taken.
        'checkpoints': 10,  # Scored on validation problems, evenly spaced; the best is kept.
        'row_length': 0,  # Tokens a packed row.
        'too_long': 'refuse',  # An example that does not fit a row: 'refuse', or 'leave_out', which is counted.
        'warmup': 0,
        'final': 1.0,  # The cosine ends at this share of the peak; 1: constant.
        'b2': 0.95,
        'weight_decay': 0.0,
        'clip_norm': 1.0,
        'optimizer': 'adamw',  # Or 'adafactor': less memory.
        'micro_batches': 1,  # Parts of a batch, one after another; the update is that of the whole.
        'remat': 'none',  # What the backward pass recomputes to save memory: 'none', 'dots' or 'full'.
        'dtype': 'float32',  # Of the computation; the weights that are trained are float32. 'bfloat16' on accelerators.
        'lora': {
          'rank': 0,  # 0: all weights are trained; else adapters of this rank.
          'alpha': 16.0,  # They are added times alpha / rank.
          'targets': 'einsum|linear',  # Regular expression for names as 'layer_0/attn/q_einsum/w'; all projections.
        },
        'peak_flops': 0.0,  # FLOP/s that one device could do, for MFU; 0: unknown, not given.
        'save_seconds': 300.0,  # Save the state when the last save is older.
      },
      'evaluate': {
        'maj_k': (),  # Majority vote over the first k samples a test problem at sampling.temperature; (): greedy only.
      },
      'judge': {  # A model that says whether reasoning is right (docs/filters.md).
        'model': '',  # Name in config.models; '': none.
        'max_new_tokens': 256,
        'samples': 500,  # So many kept samples of a generator and question set are judged, for the FPR.
        'gold': True,  # For the FPR the judge also reads a right solution.
      },
      # Name -> {'task': ..., 'test': n, 'data_dir': ..., 'levels': ()}: further test sets (docs/filters.md). Without
      # a data_dir of their own they are looked for in the study's.
      'transfer': ConfigDict(),
      'mesh': {'data': 1, 'fsdp': 1, 'tensor': 1},  # data=-1: all devices that are left.
      'engine': {
        'slots': 0,  # Completions decoded together; 0: as many as are of use and fit into memory.
        'steps': 16,  # Tokens between two refills.
        'jobs': 1,  # Jobs of a stage side by side, in threads; for small models on several CPU cores.
      },
      'estimate': {  # For the plan: what was measured on this kind of machine.
        'prompt_tokens': 0,
        'few_shot_tokens': 0,
        'completion_tokens': 0,
        'sampling_flops': 0.0,  # FLOP/s reached while sampling.
        'training_flops': 0.0,
      },
    }
  )


def resolve(config: ConfigDict, overridden: Collection[str]) -> ConfigDict:
  """The config with the values of its preset, but for fields `overridden` on the command line.

  Raises ConfigError for an unknown preset.
  """
  config = config.copy_and_resolve_references()
  presets = config.presets
  config.presets = ConfigDict()  # What was not chosen is no part of the experiment.
  if not presets and not config.preset:
    return config
  if config.preset not in presets:
    raise ConfigError(f'config.preset={config.preset!r}: presets of this config are {", ".join(presets) or "none"}')
  with config.unlocked():
    for field, value in presets[config.preset]:
      if field not in overridden:
        within = {o: _get(config, o) for o in overridden if o.startswith(f'{field}.')}
        for name, chosen in {field: value, **within}.items():
          section, _, last = name.rpartition('.')
          _get(config, section)[last] = chosen
  return config


def validate(config: ConfigDict) -> None:
  """Checks every field against the others. Raises ConfigError for the first that makes no sense."""
  _known_fields(config)

  def need(condition: Any, field: str, value: Any, wish: str) -> None:
    if not condition:
      raise ConfigError(f'config.{field}={value!r}: {wish}')

  def positive(*fields: str) -> None:
    for field in fields:
      value = _get(config, field)
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
  need(config.mesh.data == -1 or config.mesh.data > 0, 'mesh.data', config.mesh.data, 'must be positive, or -1: all')
  need(config.task.name, 'task.name', config.task.name, 'name a task')
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


def steps_of(config: ConfigDict, learner: str, budget: str) -> int:
  """Steps of a learner on an arm of a budget (or 'gold'): with a batch of its own, as many as see as many examples."""
  t = config.train
  return t.steps[budget] * t.batch // t.batches.get(learner, t.batch)


def rules_of(config: ConfigDict, variant: str | None) -> dict[str, Any]:
  """The fields of `config.data` as an arm's variant has them."""
  changed = config.variants[variant].to_dict() if variant else {}
  return config.data.to_dict() | {k: v for k, v in changed.items() if k != 'budgets'}


def _check_models(config: ConfigDict, need: Callable[..., None]) -> None:
  for field in ('generators', 'learners'):
    names = config[field]
    need(names or field == 'generators', field, names, 'name at least one model')
    need(len(set(names)) == len(names), field, names, 'a name is given twice')
    for name in names:
      need(name in config.models, field, name, f'is not in config.models, which has {sorted(config.models)}')
  for name in config.chat:
    need(name in config.models, 'chat', name, f'is not in config.models, which has {sorted(config.models)}')
  for name, source in config.models.items():
    need(name.isidentifier(), 'models', name, 'a name is letters, digits and _: it becomes a folder')
    sources = (source,) if isinstance(source, str) else source
    wish = "give 'embedded:NAME', 'gguf:NAME', 'size:NAME' or a folder, or several of them"
    need(sources and all(s and isinstance(s, str) for s in sources), f'models.{name}', source, wish)


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
    value = _get(config, f'train.{field}')
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
  wish = "its fields are 'task', 'test', and if need be 'data_dir' and 'levels'"
  need({'task', 'test'} <= set(test) <= {'task', 'test', 'data_dir', 'levels'}, field, sorted(test), wish)
  need(isinstance(test.test, int) and test.test > 0, f'{field}.test', test.test, 'must be a positive whole number')


def _get(config: ConfigDict, field: str) -> Any:
  for part in filter(None, field.split('.')):
    config = config[part]
  return config


def _known_fields(config: ConfigDict) -> None:
  """Refuses fields that nothing reads: most are typing errors."""
  # Their keys are names that the config chooses.
  open_sections = ('presets', 'models', 'budgets', 'policies', 'cost.prices', 'cost.seconds', 'train.steps')
  open_sections += ('variants', 'train.batches', 'transfer')

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
