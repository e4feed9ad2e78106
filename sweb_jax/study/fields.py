"""Which fields of the config the result of which kind of step depends on, in one list."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from sweb_jax.config import get

_DRAWING = ('samples', 'allocations')

DEPENDS: Mapping[str, tuple[str, ...]] = {
  'seed': ('problems', 'samples', 'opinions', 'allocations', 'examples', 'models', 'scores'),
  'task.name': ('problems',),
  'task.world': ('problems',),
  'task.levels': ('problems',),
  'task.template': ('problems',),
  'task.fields': ('problems',),
  'task.answer': ('problems',),
  'task.shots': ('problems',),
  'task.train': ('allocations', 'examples'),
  'task.validation': ('models',),
  'implementation': (*_DRAWING, 'opinions', 'models', 'scores'),
  'implementations': (*_DRAWING, 'opinions', 'models', 'scores'),
  'recorded': _DRAWING,
  'chat': (*_DRAWING, 'opinions', 'models', 'scores'),
  'policies': ('allocations',),
  'cost.name': ('allocations',),
  'cost.share_prefix': ('allocations',),
  'cost.prices': ('allocations',),
  'cost.seconds': ('allocations',),
  'sampling.few_shot': (*_DRAWING, 'scores'),
  'sampling.temperature': (*_DRAWING, 'scores'),
  'sampling.top_k': (*_DRAWING, 'scores'),
  'sampling.top_p': (*_DRAWING, 'scores'),
  'sampling.max_new_tokens': (*_DRAWING, 'models', 'scores'),
  'sampling.dtype': (*_DRAWING, 'opinions', 'models', 'scores'),
  'data.filter': ('examples',),
  'data.max_per_problem': ('examples',),
  'data.dedupe': ('examples',),
  'data.balance': ('examples',),
  'data.mix_gold': ('examples',),
  'train.unique_examples': ('examples',),
  'train.batch': ('models',),
  'train.batches': ('models',),
  'train.steps': ('models',),
  'train.epochs': ('models',),
  'train.checkpoints': ('models',),
  'train.row_length': ('models',),
  'train.too_long': ('models',),
  'train.warmup': ('models',),
  'train.final': ('models',),
  'train.b2': ('models',),
  'train.weight_decay': ('models',),
  'train.clip_norm': ('models',),
  'train.optimizer': ('models',),
  'train.dtype': ('models',),
  'train.lora.rank': ('models',),
  'train.lora.alpha': ('models',),
  'train.lora.targets': ('models',),
  'judge.model': ('opinions',),
  'judge.max_new_tokens': ('opinions',),
  'judge.gold': ('opinions',),
  'round.keep': ('examples',),
  'estimate.completion_tokens': ('allocations',),
}
"""Field -> kinds of step. Models stand for themselves: a step depends on the files of those that it reads."""

LATER: Mapping[str, Any] = {}
"""Field of `DEPENDS` that workdirs were made without -> the value, as JSON has it, by which results are as before.

At this value it is no part of a version, so that steps which were made before there was the field are still done; at
any other it is. Whoever adds a field adds it here, with the value that keeps what was: mostly its default.
"""

GRAPH = (
  *('question_sets', 'generators', 'learners', 'models', 'budgets', 'variants', 'number_matched', 'gold', 'transfer'),
  *('task.test', 'train.seeds', 'train.learning_rates', 'evaluate.maj_k', 'judge.samples', 'grading.second_opinion'),
  *('cost.exact_ratio', 'rounds', 'round.arm', 'round.by', 'round.samples'),
)
"""Fields that decide which steps there are, and how far they go."""

FREE = (
  *('name', 'preset', 'presets', 'data_dir', 'task.files', 'task.made_world', 'endpoints', 'mesh', 'engine'),
  *('train.micro_batches', 'train.side_by_side', 'train.remat', 'train.peak_flops', 'train.save_seconds'),
  *('train.tensor', 'train.wandb'),
  *('estimate.prompt_tokens', 'estimate.few_shot_tokens', 'estimate.sampling_flops', 'estimate.training_flops'),
)
"""Fields that change no step: what is measured, said or assumed, where data lie, and how fast a result comes."""


def settings(config: ConfigDict, kind: str, **own: Any) -> dict[str, Any]:
  """Field -> value of those that a kind of step depends on.

  Args:
    config: of the study.
    kind: of step.
    own: field, with '__' for '.', -> what stands for it in this step: of a field with an entry for each model, budget
      or policy the one that concerns the step, and of a field that the step does not use its default.

  Raises:
    KeyError: `own` names a field that the kind does not depend on.
  """
  names = [name for name, kinds in DEPENDS.items() if kind in kinds]
  own = {name.replace('__', '.'): value for name, value in own.items()}
  if unknown := own.keys() - set(names):
    raise KeyError(f'a step of kind {kind!r} does not depend on {sorted(unknown)}')
  return {name: own[name] if name in own else _plain(get(config, name)) for name in names}


def versioned(settings: Mapping[str, Any]) -> dict[str, Any]:
  """Of a step's settings, as JSON has them, those that its version tells apart."""
  return {name: value for name, value in settings.items() if name not in LATER or value != LATER[name]}


def _plain(value: Any) -> Any:
  return value.to_dict() if isinstance(value, ConfigDict) else value
