"""Fine-tuning: examples to packed batches, the step, the loop with scored checkpoints."""

from sweb_jax.training.agreement import Agreement
from sweb_jax.training.data import DataError, Packer, Rows
from sweb_jax.training.loop import Fit, Run, Schedule, checkpoint_steps, fit
from sweb_jax.training.lora import Lora, LoraError
from sweb_jax.training.metrics import TrainingError
from sweb_jax.training.side_by_side import SideBySide, choose, groups
from sweb_jax.training.step import Optimizer, offload_to_host, restore_to_device
from sweb_jax.training.watchers import Watcher, WatchError, watch

__all__ = [
  'Agreement',
  'DataError',
  'Fit',
  'Lora',
  'LoraError',
  'Optimizer',
  'Packer',
  'Rows',
  'Run',
  'Schedule',
  'SideBySide',
  'TrainingError',
  'WatchError',
  'Watcher',
  'checkpoint_steps',
  'choose',
  'fit',
  'groups',
  'offload_to_host',
  'restore_to_device',
  'watch',
]
