"""The training loop: steps, scored checkpoints, exact resume; of one run, or of several side by side."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import orbax.checkpoint as ocp
from absl import logging
from etils import epath
from jax.sharding import Mesh

from sweb_jax.models import checkpoint
from sweb_jax.models.decoder import Decoder, Params, check_remat
from sweb_jax.runtime import files
from sweb_jax.training import step as step_lib
from sweb_jax.training.data import Batch, Packer
from sweb_jax.training.metrics import Metrics, Score
from sweb_jax.training.side_by_side import SideBySide
from sweb_jax.training.step import Measured, Optimizer, TrainState
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
class Run:
  """One training: what it sees, how fast it learns, when it is scored, and where its state lies."""

  packer: Packer
  schedule: Schedule
  score_at: Sequence[int]
  """Steps after which its parameters are scored."""
  score: Callable[[Params], tuple[float, int, float]]
  """Parameters to accuracy, tokens drawn, and share of completions that ended in the stop token."""
  folder: epath.PathLike
  seed: int = 0
  """Of fresh adapters, where the optimiser asks for some."""
  watchers: Sequence[Watcher] = ()
  """Are told of every step and score."""


@dataclasses.dataclass(frozen=True)
class Fit:
  """What a run gives: the best checkpoint's parameters and every checkpoint's score."""

  params: Params
  """In the hosts' memory (`restore_to_device`)."""
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
  runs: Sequence[Run],
  *,
  mesh: Mesh,
  optimizer: Optimizer,
  save_seconds: float,
  on_step: Callable[[int], None] = lambda taken: None,
  before_score: Callable[[], None] = lambda: None,
  agree: Callable[[bool], bool] = bool,
  save_on: type[BaseException] = KeyboardInterrupt,
  flops_per_token: float = 0.0,
  peak_flops: float = 0.0,
) -> list[Fit]:
  """Fine-tunes from the same parameters in each of some runs, in one program; keeps each one's best checkpoint.

  The best is the earliest of equals. Runs may be of different lengths: one that has ended costs what it did before, and
  is left alone. Each has its own folder, and may be called again beside others.

  The state is saved in a run's folder when `save_seconds` have passed since the last save, while the steps go on. A
  killed run called again goes on from there, on any number of devices, and on the same ones ends with the same
  parameters to the bit. While it runs the folder gets `metrics.jsonl`, a line for every step. It may be deleted when
  the result was used.

  Args:
    params: to begin with.
    config: their architecture.
    runs: what is trained.
    mesh: of all devices; several runs share it.
    optimizer: of all runs.
    save_seconds: between two saves.
    on_step: called after each step, with the number of runs that took one.
    before_score: called after those that are scored too: processes score each by itself, and must begin it together.
    agree: whether any process of the run says so, where several train together.
    save_on: what either raises when the run shall stop: the state is saved before it goes on its way.
    flops_per_token: of training.
    peak_flops: FLOP/s that one device could do; 0: unknown, and no MFU is given.

  Raises:
    DecoderError: `optimizer` asks for a rematerialisation that the implementation cannot do.
    TrainingError: the loss is no longer a number.
    CheckpointError: the state saved in a run's folder is of another model or optimiser.
  """
  check_remat(config, optimizer.remat)
  together = SideBySide(len(runs), mesh)
  base = None if optimizer.lora is None else params
  # Batches of all runs are of one shape.
  shape = tuple(map(max, *(run.packer.shape for run in runs))) if len(runs) > 1 else None
  ask_every = _AGREE_EVERY if mesh.is_multi_process else 1
  with contextlib.ExitStack() as open_folders:
    going = [
      open_folders.enter_context(_Going(run, f'run_{i}', flops_per_token, peak_flops * mesh.size / len(runs)))
      for i, run in enumerate(runs)
    ]
    states = [g.begin(params, optimizer, mesh) for g in going]
    del params  # They were copied: who does not keep them gets their memory back.
    state = together.join(states)
    below = None if base is None else together.base(base)
    saved, taken = time.monotonic(), 0
    while True:
      for i, g in enumerate(going):
        if g.awaits_score:
          g.score(together.take(state.params, i), base, optimizer)
      asked = any(g.marked for g in going) or taken % ask_every == 0
      if asked and agree(time.monotonic() - saved > save_seconds):
        _save(going, state, together)
        saved = time.monotonic()
      active = [g for g in going if not g.ended]
      if not active:
        break
      for g in active:
        g.metrics.begin()
      batches = [g.batch(shape) for g in going]
      rates = [g.rate for g in going]
      state, measured = together.step(state, batches, rates, below, config=config, optimizer=optimizer)
      for g, batch, of_run in zip(going, batches, measured, strict=True):
        if not g.ended:
          g.took(batch, of_run)
      taken += 1
      try:
        on_step(len(active))
        if any(g.marked for g in active):
          before_score()
      except save_on:
        _save(going, state, together)
        raise
    for g in going:
      g.metrics.publish()
  return [g.fit(base, optimizer) for g in going]


class _Going:
  """A run on its way; a context, at whose end what was saved is on disk.

  Args:
    run: what is trained.
    name: of its saves among those of the runs beside it: processes wait for each other by it, several saves at once.
    flops_per_token: of training.
    peak_flops: FLOP/s that its part of the devices could do; 0: unknown.
  """

  def __init__(self, run: Run, name: str, flops_per_token: float, peak_flops: float):
    self.run, self.name, self.done, self.best = run, name, 0, None
    self.folder = files.absolute(run.folder)
    self.metrics = Metrics(self.folder, run.packer.names, flops_per_token, peak_flops, run.watchers)

  def __enter__(self) -> _Going:
    among = ocp.options.MultiprocessingOptions(barrier_sync_key_prefix=self.name)
    options = ocp.CheckpointManagerOptions(
      max_to_keep=1, enable_async_checkpointing=True, multiprocessing_options=among
    )
    # What the last save had no space for is raised when the manager is closed.
    with contextlib.ExitStack() as stack:
      stack.enter_context(files.full_disk_named(self.folder / 'state'))
      self.manager = stack.enter_context(ocp.CheckpointManager(self.folder / 'state', options=options))
      self._close = stack.pop_all()
    return self

  def __exit__(self, *error: Any) -> bool | None:
    return self._close.__exit__(*error)

  def begin(self, params: Params, optimizer: Optimizer, mesh: Mesh) -> TrainState:
    """The state to go on from: as it was saved, or a fresh one."""
    if (saved := self.manager.latest_step()) is None:
      state = step_lib.start(params, optimizer, mesh, self.run.seed)
      self.best = step_lib.offload_to_host(state.params)
      return state
    like = step_lib.shapes(params, optimizer, mesh)
    del params
    self.done = saved
    state, self.best = _restore(self.manager, saved, _arrays(like, like.params), self.metrics)
    return state

  @property
  def ended(self) -> bool:
    return self.done == self.run.schedule.steps

  @property
  def marked(self) -> bool:
    """Whether its parameters are scored after the last step it took."""
    return self.done in self.run.score_at

  @property
  def awaits_score(self) -> bool:
    return self.marked and self.done not in {s.step for s in self.metrics.scores}

  @property
  def rate(self) -> float:
    """The learning rate of the next step; 0 where there is none."""
    return 0.0 if self.ended else self.run.schedule(self.done)

  def batch(self, shape: tuple[int, int, int] | None) -> Batch:
    """Of the next step; where there is none, of the last."""
    return self.run.packer.batch(min(self.done, self.run.schedule.steps - 1), shape)

  def took(self, batch: Batch, measured: Measured) -> None:
    """Notes a step. Raises TrainingError."""
    rate = self.rate
    self.done += 1
    self.metrics.add(self.done, rate, int((batch.segment_ids > 0).sum()), measured)

  def score(self, trained: Any, base: Params | None, optimizer: Optimizer) -> None:
    """Scores what is trained; keeps it if it is the best."""
    self.metrics.settle()
    found = Score(self.done, *self.run.score(step_lib.merge_adapters(trained, base, optimizer)))
    if found.accuracy > max((s.accuracy for s in self.metrics.scores), default=-1.0):
      self.best = step_lib.offload_to_host(trained)
    self.metrics.add_score(found)

  def save(self, state: TrainState) -> None:
    """Starts a save."""
    # The rows are copied: they are written later, beside steps that add to them.
    meta = {'scores': [dataclasses.asdict(s) for s in self.metrics.scores], 'metrics': list(self.metrics.rows)}
    arrays = ocp.args.StandardSave(_arrays(state, self.best))
    with files.full_disk_named(self.manager.directory):
      self.manager.check_for_errors()  # Of the save before.
      self.manager.save(self.done, args=ocp.args.Composite(arrays=arrays, meta=ocp.args.JsonSave(meta)))

  def fit(self, base: Params | None, optimizer: Optimizer) -> Fit:
    """What it gave."""
    top = max(s.accuracy for s in self.metrics.scores)
    first = next(s.step for s in self.metrics.scores if s.accuracy == top)
    best = self.best
    if base is not None:
      best = step_lib.offload_to_host(step_lib.merge_adapters(step_lib.restore_to_device(best), base, optimizer))
    return Fit(best, first, top, tuple(self.metrics.scores))


def _save(going: Sequence[_Going], state: TrainState, together: SideBySide) -> None:
  """Starts a save of every run that has moved; it ends beside the steps that follow, and the lock is held until then.

  So a job computes while its state is written, but of the jobs of a process one at a time is writing. Raises
  TrainingError instead where a state is no longer one of numbers.
  """
  moved = [(i, g) for i, g in enumerate(going) if g.manager.latest_step() != g.done]
  if not moved:
    return
  for _, g in moved:
    g.metrics.settle()
  checkpoint.SAVING.acquire()
  try:
    for i, g in moved:
      g.save(together.take(state, i))
  except BaseException:
    checkpoint.SAVING.release()
    raise

  def finish() -> None:
    try:
      for _, g in moved:
        try:
          g.manager.wait_until_finished()
        except Exception as e:  # Raised again by the next save, or when the manager is closed.
          logging.error('%s: the state of step %d was not saved: %s', g.manager.directory, g.done, e)
    finally:
      checkpoint.SAVING.release()

  threading.Thread(target=finish, name='save').start()


def _arrays(state: TrainState, best: Any) -> dict[str, Any]:
  return {'params': state.params, 'opt_state': state.opt_state, 'best': best}


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
