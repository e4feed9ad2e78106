"""The training loop: steps, scored checkpoints, exact resume."""

from __future__ import annotations

import dataclasses
import json
import math
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp
from absl import logging
from etils import epath
from jax.sharding import Mesh

from sweb_jax.models import checkpoint, sharding, transformer
from sweb_jax.models.config import ModelConfig
from sweb_jax.runtime import files
from sweb_jax.training import events
from sweb_jax.training import step as step_lib
from sweb_jax.training.data import Packer
from sweb_jax.training.step import Optimizer, TrainState

_LOOK_EVERY = 20  # Steps between two looks at the losses: looking waits for the device.
_PUBLISH_SECONDS = 10.0  # Between two writes of the metrics, which are written whole.


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
  stopped: float
  """Share of the completions that end in the stop token."""


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
  score: Callable[[transformer.Params], tuple[float, int, float]],
  folder: epath.PathLike,
  save_seconds: float,
  on_step: Callable[[], None] = lambda: None,
  agree: Callable[[bool], bool] = bool,
  save_on: type[BaseException] = KeyboardInterrupt,
  seed: int = 0,
  flops_per_token: float = 0.0,
  peak_flops: float = 0.0,
) -> Fit:
  """Fine-tunes, scores the parameters after each step in `score_at`, and keeps the best (the earliest of equals).

  The state is saved in `folder` when `save_seconds` have passed since the last save, while the steps go on. A killed
  run called again goes on from there, on any number of devices, and on the same ones ends with the same parameters to
  the bit. While it runs the folder gets `metrics.jsonl`, a line for every step, and the same for TensorBoard. It may be
  deleted when the result was used.

  Args:
    score: parameters to accuracy, tokens drawn, and share of completions that ended in the stop token.
    on_step: called after each step.
    agree: whether any process of the run says so, where several train together.
    save_on: what `on_step` raises when the run shall stop: the state is saved before it goes on its way.
    seed: of fresh adapters, where `optimizer` asks for some.
    flops_per_token: of training.
    peak_flops: FLOP/s that one device could do; 0: unknown, and no MFU is given.

  Raises:
    TrainingError: the loss is no longer a number.
    CheckpointError: the state saved in `folder` is of another model or optimiser.
  """
  folder = files.absolute(folder)
  base = None if optimizer.lora is None else params
  state = step_lib.start(params, optimizer, mesh, seed)
  best = sharding.place(state.params, mesh)
  scores: list[Score] = []
  metrics: list[dict[str, float]] = []
  pending: list[_Step] = []
  options = ocp.CheckpointManagerOptions(max_to_keep=1, enable_async_checkpointing=True)
  # What the last save had no space for is raised when the manager is closed.
  with files.full_disk_named(folder / 'state'), ocp.CheckpointManager(folder / 'state', options=options) as manager:
    if (done := manager.latest_step()) is not None:
      state, best, scores, metrics = _restore(manager, done, state, best)
    done = done or 0
    saved = looked = time.monotonic()
    published = -math.inf

    def publish() -> None:
      nonlocal published
      if jax.process_index() == 0:
        _write_metrics(folder, metrics, scores)
      published = time.monotonic()

    def look() -> None:
      """Moves what is pending into the metrics; waits for the device."""
      nonlocal looked
      if pending:
        new = _read(pending, packer)
        seconds = (time.monotonic() - looked) / len(new)
        for row in new:
          rate = row['tokens'] / max(seconds, 1e-9)
          row |= {'seconds': round(seconds, 4), 'tokens_per_second': round(rate, 1)}
          if peak_flops:
            row['mfu'] = round(rate * flops_per_token / (peak_flops * mesh.size), 4)
        metrics.extend(new)
        pending.clear()
      if time.monotonic() - published > _PUBLISH_SECONDS:
        publish()
      looked = time.monotonic()

    def save() -> None:
      nonlocal saved
      _save(manager, done, state, best, scores, metrics)
      saved = time.monotonic()

    while True:
      if len(pending) == _LOOK_EVERY or done in score_at:
        look()
        if done in score_at and done not in {s.step for s in scores}:
          accuracy, tokens, stopped = score(step_lib.plain(state.params, base, optimizer))
          if accuracy > max((s.accuracy for s in scores), default=-1.0):
            best = sharding.place(state.params, mesh)
          scores.append(Score(done, accuracy, tokens, stopped))
        if agree(time.monotonic() - saved > save_seconds) and manager.latest_step() != done:
          save()
        looked = time.monotonic()
      if done == schedule.steps:
        break
      rate, batch = schedule(done), packer.batch(done)
      state, measured = step_lib.train_step(
        state, step_lib.feed(batch, mesh), np.float32(rate), base, config=config, optimizer=optimizer, mesh=mesh
      )
      done += 1
      pending.append(_Step(done, rate, int((batch.segment_ids > 0).sum()), measured))
      try:
        on_step()
      except save_on:
        look()
        save()
        raise
    publish()
  top = max(s.accuracy for s in scores)
  first = next(s.step for s in scores if s.accuracy == top)
  return Fit(step_lib.plain(best, base, optimizer), first, top, tuple(scores))


def _write_metrics(folder: epath.Path, metrics: list[dict[str, float]], scores: list[Score]) -> None:
  files.write_text(folder / 'metrics.jsonl', ''.join(json.dumps(m) + '\n' for m in metrics))
  files.write_bytes(folder / 'events.out.tfevents.0.metrics', events.dumps(metrics, scores))


class _Step(NamedTuple):
  """A step whose measurements are still on the device."""

  number: int
  learning_rate: float
  tokens: int
  measured: step_lib.StepMetrics


def _read(pending: list[_Step], packer: Packer) -> list[dict[str, float]]:
  """Waits for the device and checks the losses."""
  values = jax.device_get([s.measured for s in pending])
  rows = []
  for s, m in zip(pending, values, strict=True):
    if not (math.isfinite(m.loss) and math.isfinite(m.grad_norm)):
      raise TrainingError(
        f'the loss is {m.loss} and the gradient norm {m.grad_norm} at step {s.number} with learning rate '
        f'{s.learning_rate:g}; lower config.train.learning_rates. Its examples: {", ".join(packer.names(s.number - 1))}'
      )
    rows.append(
      {
        'step': s.number,
        'learning_rate': s.learning_rate,
        'loss': float(m.loss),
        'grad_norm': float(m.grad_norm),
        'tokens': s.tokens,
      }
    )
  return rows


def _save(manager: ocp.CheckpointManager, step: int, state: TrainState, best: Any, scores, metrics) -> None:
  """Starts a save; it ends beside the steps that follow, and the lock is held until then.

  So a job computes while its state is written, but of the jobs of a process one at a time is writing.
  """
  meta = {'scores': [dataclasses.asdict(s) for s in scores], 'metrics': metrics}
  items = {'params': state.params, 'opt_state': state.opt_state, 'best': best}
  args = ocp.args.Composite(arrays=ocp.args.StandardSave(items), meta=ocp.args.JsonSave(meta))
  checkpoint.SAVING.acquire()
  try:
    with files.full_disk_named(manager.directory):
      manager.check_for_errors()  # Of the save before.
      manager.save(step, args=args)
  except BaseException:
    checkpoint.SAVING.release()
    raise

  def finish() -> None:
    try:
      manager.wait_until_finished()
    except Exception as e:  # Raised again by the next save, or when the manager is closed.
      logging.error('%s: the state of step %d was not saved: %s', manager.directory, step, e)
    finally:
      checkpoint.SAVING.release()

  threading.Thread(target=finish, name='save').start()


def _restore(manager: ocp.CheckpointManager, step: int, state: TrainState, best: Any):
  like = jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding),
    {'params': state.params, 'opt_state': state.opt_state, 'best': best},
  )
  args = ocp.args.Composite(arrays=ocp.args.StandardRestore(like), meta=ocp.args.JsonRestore())
  try:
    found = manager.restore(step, args=args)
  except (ValueError, KeyError, TypeError) as e:
    raise checkpoint.CheckpointError(
      f'{manager.directory}/{step}: not a state of this model and optimiser; delete {manager.directory} to start the '
      f'training again ({str(e).splitlines()[0]})'
    ) from e
  arrays, meta = found['arrays'], found['meta']
  scores = [Score(**s) for s in meta['scores']]
  return TrainState(arrays['params'], arrays['opt_state']), arrays['best'], scores, list(meta['metrics'])
