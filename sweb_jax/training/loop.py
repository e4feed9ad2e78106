"""The training loop: steps, scored checkpoints, exact resume."""

from __future__ import annotations

import dataclasses
import math
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from absl import logging
from etils import epath
from jax.sharding import Mesh

from sweb_jax.models import checkpoint
from sweb_jax.models.decoder import Decoder, Params, check_remat
from sweb_jax.runtime import files
from sweb_jax.training import step as step_lib
from sweb_jax.training.data import Packer
from sweb_jax.training.metrics import Metrics, Score
from sweb_jax.training.step import Optimizer, TrainState
from sweb_jax.training.watchers import Watcher

_AGREE_EVERY = 20
"""Steps between two questions to other processes, which wait for each other then; one by itself asks at each step."""


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
class Fit:
  """What a run gives: the best checkpoint's parameters and every checkpoint's score."""

  params: Params
  step: int
  accuracy: float
  """Of the best checkpoint."""
  scores: tuple[Score, ...]


def checkpoint_steps(steps: int, count: int) -> list[int]:
  """Steps after which a checkpoint is scored: `count` of them, evenly spaced, the last step included."""
  count = min(count, steps)
  return [round(steps * (i + 1) / count) for i in range(count)]


def fit(
  params: Params,
  config: Decoder,
  packer: Packer,
  *,
  mesh: Mesh,
  optimizer: Optimizer,
  schedule: Schedule,
  score_at: Sequence[int],
  score: Callable[[Params], tuple[float, int, float]],
  folder: epath.PathLike,
  save_seconds: float,
  on_step: Callable[[], None] = lambda: None,
  before_score: Callable[[], None] = lambda: None,
  agree: Callable[[bool], bool] = bool,
  save_on: type[BaseException] = KeyboardInterrupt,
  seed: int = 0,
  flops_per_token: float = 0.0,
  peak_flops: float = 0.0,
  watchers: Sequence[Watcher] = (),
) -> Fit:
  """Fine-tunes, scores the parameters after each step in `score_at`, and keeps the best (the earliest of equals).

  The state is saved in `folder` when `save_seconds` have passed since the last save, while the steps go on. A killed
  run called again goes on from there, on any number of devices, and on the same ones ends with the same parameters to
  the bit. While it runs the folder gets `metrics.jsonl`, a line for every step. It may be deleted when the result was
  used.

  Args:
    score: parameters to accuracy, tokens drawn, and share of completions that ended in the stop token.
    on_step: called after each step.
    before_score: called after those of `score_at` too: processes score each by itself, and must begin it together.
    agree: whether any process of the run says so, where several train together.
    save_on: what either raises when the run shall stop: the state is saved before it goes on its way.
    seed: of fresh adapters, where `optimizer` asks for some.
    flops_per_token: of training.
    peak_flops: FLOP/s that one device could do; 0: unknown, and no MFU is given.
    watchers: are told of every step and score.

  Raises:
    DecoderError: `optimizer` asks for a rematerialisation that the implementation cannot do.
    TrainingError: the loss is no longer a number.
    CheckpointError: the state saved in `folder` is of another model or optimiser.
  """
  check_remat(config, optimizer.remat)
  folder = files.absolute(folder)
  base = None if optimizer.lora is None else params
  state = step_lib.start(params, optimizer, mesh, seed)
  del params  # They were copied: who does not keep them gets their memory back.
  best, done = step_lib.offload_to_host(state.params), 0
  metrics = Metrics(folder, packer.names, flops_per_token, peak_flops * mesh.size, watchers)
  ask_every = _AGREE_EVERY if mesh.is_multi_process else 1
  options = ocp.CheckpointManagerOptions(max_to_keep=1, enable_async_checkpointing=True)
  # What the last save had no space for is raised when the manager is closed.
  with files.full_disk_named(folder / 'state'), ocp.CheckpointManager(folder / 'state', options=options) as manager:
    if manager.latest_step() is not None:
      done, like = manager.latest_step(), _like(state, best)
      del state, best  # Else the devices would hold both states at once.
      state, best = _restore(manager, done, like, metrics)
    saved = time.monotonic()
    while True:
      if done in score_at and done not in {s.step for s in metrics.scores}:
        metrics.settle()
        found = Score(done, *score(step_lib.merge_adapters(state.params, base, optimizer)))
        if found.accuracy > max((s.accuracy for s in metrics.scores), default=-1.0):
          best = step_lib.offload_to_host(state.params)
        metrics.add_score(found)
      asked = done in score_at or done % ask_every == 0
      if asked and agree(time.monotonic() - saved > save_seconds) and manager.latest_step() != done:
        _save(manager, done, state, best, metrics)
        saved = time.monotonic()
      if done == schedule.steps:
        break
      metrics.begin()
      rate, batch = schedule(done), packer.batch(done)
      state, measured = step_lib.train_step(
        state, step_lib.shard_batch(batch, mesh), np.float32(rate), base, config=config, optimizer=optimizer, mesh=mesh
      )
      done += 1
      metrics.add(done, rate, int((batch.segment_ids > 0).sum()), measured)
      try:
        on_step()
        if done in score_at:
          before_score()
      except save_on:
        _save(manager, done, state, best, metrics)
        raise
    metrics.publish()
  top = max(s.accuracy for s in metrics.scores)
  first = next(s.step for s in metrics.scores if s.accuracy == top)
  params = step_lib.merge_adapters(step_lib.restore_to_device(best), base, optimizer)
  return Fit(params, first, top, tuple(metrics.scores))


def _save(manager: ocp.CheckpointManager, step: int, state: TrainState, best: Any, metrics: Metrics) -> None:
  """Starts a save; it ends beside the steps that follow, and the lock is held until then.

  So a job computes while its state is written, but of the jobs of a process one at a time is writing. Raises
  TrainingError instead where the state is no longer one of numbers.
  """
  metrics.settle()
  # The rows are copied: they are written later, beside steps that add to them.
  meta = {'scores': [dataclasses.asdict(s) for s in metrics.scores], 'metrics': list(metrics.rows)}
  args = ocp.args.Composite(arrays=ocp.args.StandardSave(_arrays(state, best)), meta=ocp.args.JsonSave(meta))
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


def _arrays(state: TrainState, best: Any) -> dict[str, Any]:
  return {'params': state.params, 'opt_state': state.opt_state, 'best': best}


def _like(state: TrainState, best: Any) -> dict[str, Any]:
  """Shapes and places of what is saved, all on the devices: what is read comes there."""
  return jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding.with_memory_kind('device')),
    _arrays(state, best),
  )


def _restore(
  manager: ocp.CheckpointManager, step: int, like: dict[str, Any], metrics: Metrics
) -> tuple[TrainState, Any]:
  """The state and the best parameters as they were saved; fills the metrics."""
  args = ocp.args.Composite(arrays=ocp.args.StandardRestore(like), meta=ocp.args.JsonRestore())
  try:
    found = manager.restore(step, args=args)
    arrays, meta = found['arrays'], found['meta']
    metrics.restore(meta['metrics'], [Score(**s) for s in meta['scores']])
  except (ValueError, KeyError, TypeError) as e:
    raise checkpoint.CheckpointError(
      f'{manager.directory}/{step}: not a state of this model and optimiser; delete {manager.directory} to start the '
      f'training again ({str(e).splitlines()[0]})'
    ) from e
  return TrainState(arrays['params'], arrays['opt_state']), step_lib.offload_to_host(arrays['best'])
