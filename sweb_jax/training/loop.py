"""The training loop: steps, scored checkpoints, exact resume."""

from __future__ import annotations

import dataclasses
import json
import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp
from etils import epath
from jax.sharding import Mesh

from sweb_jax.models import checkpoint, sharding, transformer
from sweb_jax.models.config import ModelConfig
from sweb_jax.runtime import files
from sweb_jax.training import step as step_lib
from sweb_jax.training.data import Packer
from sweb_jax.training.step import Optimizer, TrainState

_LOOK_EVERY = 20  # Steps between two looks at the losses: looking waits for the device.


class TrainingError(RuntimeError):
  """Training diverged; the message names the step and what to change."""


@dataclasses.dataclass(frozen=True)
class Schedule:
  """Linear warm-up, then a cosine from the peak to `final` times the peak; final=1 is constant."""

  peak: float
  steps: int
  warmup: int = 0
  final: float = 1.0

  def __call__(self, step: int) -> float:
    """The learning rate of a step, counted from 0."""
    if step < self.warmup:
      return self.peak * (step + 1) / self.warmup
    done = (step - self.warmup) / max(1, self.steps - self.warmup)
    return self.peak * (self.final + (1 - self.final) * 0.5 * (1 + math.cos(math.pi * done)))


@dataclasses.dataclass(frozen=True)
class Score:
  """A checkpoint on the validation problems."""

  step: int
  """Steps done."""
  accuracy: float
  """Share right."""
  tokens: int
  """Drawn to find out, for the ledger."""


@dataclasses.dataclass(frozen=True)
class Fit:
  """What a run gives: the best checkpoint's parameters and every checkpoint's score."""

  params: transformer.Params
  step: int
  accuracy: float
  """Of the best checkpoint."""
  scores: tuple[Score, ...]


def marks(steps: int, count: int) -> list[int]:
  """Steps after which a checkpoint is scored: `count` of them, evenly spaced, the last step included."""
  count = min(count, steps)
  return [round(steps * (i + 1) / count) for i in range(count)]


def fit(
  params: transformer.Params,
  config: ModelConfig,
  packer: Packer,
  *,
  mesh: Mesh,
  optimizer: Optimizer,
  schedule: Schedule,
  score_at: Sequence[int],
  score: Callable[[transformer.Params], tuple[float, int]],
  folder: epath.PathLike,
  save_seconds: float,
  on_step: Callable[[], None] = lambda: None,
) -> Fit:
  """Fine-tunes, scores the parameters after each step in `score_at`, and keeps the best (the earliest of equals).

  The state is saved in `folder` at scored steps, when `save_seconds` have passed since the last save. A killed run
  called again goes on from there and ends with the same parameters; `metrics.jsonl` in `folder` has a line for every
  step. The folder may be deleted when the result was used.

  Raises:
    TrainingError: the loss is no longer a number.
  """
  folder = epath.Path(folder).resolve()
  state = step_lib.start(params, optimizer, mesh)
  best = sharding.place(params, mesh)
  scores: list[Score] = []
  metrics: list[dict[str, float]] = []
  options = ocp.CheckpointManagerOptions(max_to_keep=1, enable_async_checkpointing=False)
  with ocp.CheckpointManager(folder / 'state', options=options) as manager:
    if (done := manager.latest_step()) is not None:
      state, best, scores, metrics = _restore(manager, done, state, best)
    done = done or 0
    saved = looked = time.monotonic()
    pending: list[tuple[int, float, step_lib.StepMetrics]] = []
    for step in range(done, schedule.steps):
      rate = schedule(step)
      state, measured = step_lib.train_step(
        state, packer.batch(step), jnp.float32(rate), config=config, optimizer=optimizer, mesh=mesh
      )
      pending.append((step + 1, rate, measured))
      on_step()
      if len(pending) == _LOOK_EVERY or step + 1 in score_at:
        new = _read(pending)
        seconds = (time.monotonic() - looked) / len(new)
        metrics += [m | {'seconds': round(seconds, 4)} for m in new]
        pending.clear()
        looked = time.monotonic()
      if step + 1 in score_at:
        accuracy, tokens = score(state.params)
        if accuracy > max((s.accuracy for s in scores), default=-1.0):
          best = sharding.place(state.params, mesh)
        scores.append(Score(step + 1, accuracy, tokens))
        if time.monotonic() - saved > save_seconds:
          _save(manager, step + 1, state, best, scores, metrics)
          saved = time.monotonic()
        looked = time.monotonic()
  files.write_text(folder / 'metrics.jsonl', ''.join(json.dumps(m) + '\n' for m in metrics))
  top = max(s.accuracy for s in scores)
  return Fit(best, next(s.step for s in scores if s.accuracy == top), top, tuple(scores))


def _read(pending: list[tuple[int, float, step_lib.StepMetrics]]) -> list[dict[str, float]]:
  """Waits for the device and checks the losses."""
  values = jax.device_get([m for _, _, m in pending])
  rows = [
    {'step': step, 'learning_rate': rate, 'loss': float(m.loss), 'grad_norm': float(m.grad_norm)}
    for (step, rate, _), m in zip(pending, values, strict=True)
  ]
  for row in rows:
    if not math.isfinite(row['loss']):
      raise TrainingError(
        f'the loss is {row["loss"]} at step {row["step"]} with learning rate {row["learning_rate"]:g}; '
        'lower config.train.learning_rates'
      )
  return rows


def _save(manager: ocp.CheckpointManager, step: int, state: TrainState, best: Any, scores, metrics) -> None:
  meta = {'scores': [dataclasses.asdict(s) for s in scores], 'metrics': metrics}
  items = {'params': state.params, 'opt_state': state.opt_state, 'best': best}
  with checkpoint.SAVING, files.full_disk_named(manager.directory):
    manager.save(step, args=ocp.args.Composite(arrays=ocp.args.StandardSave(items), meta=ocp.args.JsonSave(meta)))


def _restore(manager: ocp.CheckpointManager, step: int, state: TrainState, best: Any):
  like = jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding),
    {'params': state.params, 'opt_state': state.opt_state, 'best': best},
  )
  args = ocp.args.Composite(arrays=ocp.args.StandardRestore(like), meta=ocp.args.JsonRestore())
  found = manager.restore(step, args=args)
  arrays, meta = found['arrays'], found['meta']
  scores = [Score(**s) for s in meta['scores']]
  return TrainState(arrays['params'], arrays['opt_state']), arrays['best'], scores, list(meta['metrics'])
