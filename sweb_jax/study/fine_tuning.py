"""How steps of models are trained: each at its learning rates, some trainings at a time in one program."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import jax
from absl import logging
from etils import epath

from sweb_jax import layout, tasks
from sweb_jax.budget import training_flops_per_token
from sweb_jax.models import sharding
from sweb_jax.models.decoder import Params
from sweb_jax.models.source import save_model
from sweb_jax.records import Problem
from sweb_jax.runtime import files
from sweb_jax.runtime.hosts import Interrupted
from sweb_jax.sampling import Request, capacity
from sweb_jax.study import tokenised
from sweb_jax.study.collect import Asked, complete
from sweb_jax.study.context import Context
from sweb_jax.study.examples import Examples
from sweb_jax.study.problems import Problems
from sweb_jax.study.step import Nothing, Step, Training, as_json
from sweb_jax.training import (
  Agreement,
  DataError,
  Fit,
  Lora,
  Optimizer,
  Packer,
  Run,
  Schedule,
  SideBySide,
  Watcher,
  checkpoint_steps,
  choose,
  fit,
  groups,
  restore_to_device,
  watch,
)

_SEEDS_APART = 1_000_000
"""Between the seeds of two fine-tunings on the same data: question sets have those in between."""


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class FineTuned(Training):
  """A step whose result is a learner, fine-tuned at each learning rate on an arm's examples."""

  learner: str
  examples: Examples
  validation: Problems
  repeat: int = 0
  """Which of the learner's trainings on these data, from 0: another order of the examples."""
  learning_rates: tuple[float, ...]

  @property
  def folder(self) -> str:
    return layout.model(self.examples.question_set, self.learner, self.run_name)

  @property
  def run_name(self) -> str:
    return layout.run(self.examples.arm.name, self.repeat)

  @property
  def most_steps(self) -> int:
    return self.settings['train.steps']

  def steps(self, examples: int) -> int:
    """Steps of a training on so many examples."""
    epochs, batch = self.settings['train.epochs'], self.settings['train.batch']
    return min(self.most_steps, max(1, epochs * examples // batch)) if epochs else self.most_steps


def trainings(steps: Iterable[Step]) -> dict[str, list[list[int]]]:
  """Learner -> of each question set and round, the steps of its trainings at most: those may run side by side."""
  found: dict[str, dict[tuple[int, int], list[int]]] = {}
  for step in steps:
    if isinstance(step, FineTuned):
      key = step.examples.question_set, step.examples.arm.round
      alike = found.setdefault(step.learner, {}).setdefault(key, [])
      alike += [step.most_steps] * len(step.learning_rates)
  return {learner: list(alike.values()) for learner, alike in found.items()}


class FineTuning:
  """The trainings of one step that have no result yet, and the best parameters among them.

  Args:
    context: of the run.
    step: whose learner is trained.
    results: by learning rate; empty where there is none. They are filled in.
    missing: learning rates without a result.

  Raises:
    Nothing: all examples are longer than a row.
    DataError: an example does not fit; the message names its file.
  """

  def __init__(self, context: Context, step: FineTuned, results: dict[float, dict[str, Any]], missing: Sequence[float]):
    self.step, self.results, self.missing = step, results, list(missing)
    self._context, self._folder = context, context.root / step.folder
    s = step.settings
    renderer = context.renderer(step.learner, s['chat'][step.learner], '')
    every = tokenised.read(context, step.examples.folder, renderer)
    examples = every.fitting(s['train.row_length'], s['train.too_long'])
    left_out = len(every.rows) - len(examples.rows)
    if not len(examples.rows):
      raise Nothing(f'all {left_out} examples are longer than config.train.row_length={s["train.row_length"]}')
    self._about = examples.about() | {'left_out_too_long': left_out}
    self._seed = s['seed'] + step.examples.question_set + _SEEDS_APART * step.repeat
    self.steps = step.steps(len(examples.rows))
    self._warn_of_warmup(len(examples.rows))
    self._examples, self._packers = examples, dict[int, Packer]()
    self._packer(at_once(context, step))  # What does not fit is found before anything is computed.
    self._validation = context.problems(step.validation.folder, step.validation.count)
    self._best: tuple[float, Fit] | None = None
    self.saved = False
    """The parameters of the best are on disk."""

  def watched(self, rate: float) -> contextlib.AbstractContextManager[Sequence[Watcher]]:
    """Those who are told of the training at a learning rate, by the first process."""
    context, folder = self._context, self.step.folder
    if not context.hosts.leads:
      return contextlib.nullcontext(())
    told = as_json(self.step.settings) | {'learning_rate': rate}
    return watch(context.root, layout.training(folder, rate), context.wandb, told)

  def run(self, rate: float, runs: int, watchers: Sequence[Watcher]) -> Run:
    """The training at a learning rate, as one of so many side by side."""
    s = self.step.settings
    return Run(
      self._packer(runs),
      Schedule(rate, self.steps, s['train.warmup'], s['train.final']),
      checkpoint_steps(self.steps, s['train.checkpoints']),
      functools.partial(score, self._context, self.step, self._validation),
      self._folder / layout.rate(rate),
      self._seed,
      watchers,
    )

  def take(self, rate: float, found: Fit) -> None:
    """Writes the result of a training; keeps its parameters if they are the best by now."""
    scores = [{'learning_rate': rate} | dataclasses.asdict(x) | {'n': len(self._validation)} for x in found.scores]
    self.results[rate] = {'accuracy': found.accuracy, 'step': found.step, 'validation': scores, **self._about}
    if self._context.hosts.leads:
      files.write_json(self._folder / layout.rate(rate) / layout.RESULT, self.results[rate])
    if rate in self.missing:
      self.missing.remove(rate)
    # Of equals the lower learning rate: in one group they come in their order.
    if self._best is None or found.accuracy > self._best[1].accuracy:
      self._best = rate, found

  def save_best(self) -> None:
    """Writes the parameters of the best of all results, if they are at hand and not there already."""
    rate, context = best(self.results), self._context
    self.saved = has_parameters(self._folder, rate)
    if self.saved or self._best is None or self._best[0] != rate:
      return
    model = context.model(self.step.learner)
    # A model by itself: it can be exported.
    where = self._folder / layout.rate(rate) / layout.BEST
    save_model(where, model.config, restore_to_device(self._best[1].params), model.tokenizer)
    self._best, self.saved = None, True

  def _packer(self, runs: int) -> Packer:
    """The batches of all steps, for one of so many runs side by side."""
    step, context = self.step, self._context
    s = step.settings
    multiple = sharding.ways(SideBySide(runs, context.train_mesh(step.learner)).mesh) * context.micro_batches
    if multiple not in self._packers:
      try:
        self._packers[multiple] = Packer(
          self._examples.rows,
          batch=s['train.batch'],
          steps=self.steps,
          seed=self._seed,
          row_length=s['train.row_length'],
          multiple_of=multiple,
          ids=self._examples.names(),
        )
      except DataError as e:
        file = context.root / step.examples.folder / layout.EXAMPLES
        raise DataError(f'{step.learner} on {step.run_name} ({file}, counted from 0): {e}') from e
    return self._packers[multiple]

  def _warn_of_warmup(self, examples: int) -> None:
    s = self.step.settings
    if self.steps < s['train.warmup']:
      logging.warning(
        '%s: %d epochs of %d examples are %d steps, fewer than config.train.warmup=%d: the learning rate stays below '
        'its peak', self.step.folder, s['train.epochs'], examples, self.steps, s['train.warmup']
      )  # fmt: skip


def fine_tune(context: Context, tunings: Sequence[FineTuning]) -> Iterator[FineTuning]:
  """Does the trainings of steps of one learner and question set; yields each step once its best is on disk.

  Raises:
    Interrupted: the run was asked to stop; the states are saved.
    TrainingError, CheckpointError, DecoderError: as `fit`.
  """
  # A step's rates stand together, so that few steps wait for theirs with parameters in memory.
  left = [(tuning, rate) for tuning in tunings for rate in tuning.missing]
  if left:
    step = left[0][0].step
    most, ways = at_once(context, step), sharding.ways(context.train_mesh(step.learner))
    for group in groups([tuning.steps for tuning, _ in left], most, ways):
      now = [left[i] for i in group]
      _fit(context, now)
      for tuning in dict.fromkeys(tuning for tuning, _ in now):
        if not tuning.missing:
          tuning.save_best()
        if tuning.saved:
          yield tuning
  for tuning in tunings:
    if not tuning.saved:  # Not asked of the disk, on which another process writes.
      # They were trained by a run that was stopped before it saved them; it goes on from its state.
      _fit(context, [(tuning, best(tuning.results))])
      tuning.save_best()
      yield tuning


def _fit(context: Context, now: Sequence[tuple[FineTuning, float]]) -> None:
  """Some trainings in one program."""
  step, taken = now[0][0].step, 0
  expected = sum(tuning.step.most_steps for tuning, rate in now if rate in tuning.missing)
  s, model, mesh = step.settings, context.model(step.learner), context.train_mesh(step.learner)
  agreement = Agreement(mesh)

  def check(agreed: Callable[[bool], bool]) -> None:
    if agreed(context.hosts.stop.is_set()):  # At the same step on all processes.
      raise Interrupted

  def on_step(runs: int) -> None:
    nonlocal taken
    context.hosts.progressed()
    taken += runs
    context.meter.add(runs)
    check(agreement)

  with contextlib.ExitStack() as watched:
    found = fit(
      context.params_to_train(step.learner, step.examples.question_set),
      model.config,
      [tuning.run(rate, len(now), watched.enter_context(tuning.watched(rate))) for tuning, rate in now],
      mesh=mesh,
      optimizer=optimizer(s, remat=context.remat, micro_batches=context.micro_batches),
      save_seconds=context.save_seconds,
      on_step=on_step,
      before_score=lambda: check(context.hosts.any),
      agree=context.hosts.any,
      save_on=Interrupted,
      flops_per_token=training_flops_per_token(model.config.active_parameters),
      peak_flops=context.peak_flops,
    )
  context.meter.skip(max(0, expected - taken))  # What an earlier run did, and what `epochs` leave out.
  for (tuning, rate), fit_of_run in zip(now, found, strict=True):
    tuning.take(rate, fit_of_run)


def at_once(context: Context, step: FineTuned) -> int:
  """How many trainings of a step's learner run side by side (`config.train.side_by_side`)."""
  model = context.model(step.learner).config
  if context.side_by_side or not model.side_by_side:
    return context.side_by_side or 1
  mesh = context.train_mesh(step.learner)
  how = optimizer(step.settings, remat=context.remat, micro_batches=context.micro_batches)
  memory = capacity.memory_of(mesh.local_devices[0])
  return choose(model, how, mesh, memory=memory, batch=step.settings['train.batch'])


def optimizer(settings: Mapping[str, Any], *, remat: str, micro_batches: int) -> Optimizer:
  """How learners are updated, by the settings of their step."""
  rank = settings['train.lora.rank']
  return Optimizer(
    settings['train.optimizer'],
    b2=settings['train.b2'],
    weight_decay=settings['train.weight_decay'],
    clip_norm=settings['train.clip_norm'],
    remat=remat,
    micro_batches=micro_batches,
    dtype=settings['train.dtype'],
    lora=Lora(rank, settings['train.lora.alpha'], settings['train.lora.targets']) if rank else None,
  )


def score(
  context: Context, step: FineTuned, problems: Sequence[Problem], params: Params
) -> tuple[float, int, float]:
  """Of greedy, zero-shot completions: share that is right, tokens drawn, share that ends in the stop token."""
  s, task, hosts = step.settings, context.tasks['validation'], context.hosts
  params = jax.tree.map(lambda x: x.astype(s['sampling.dtype']), params)  # As it will be evaluated.
  params = sharding.to_draw_with(params, context.train_mesh(step.learner), context.meshes(step.learner))
  renderer = context.renderer(step.learner, s['chat'][step.learner], '')
  question_set = step.examples.question_set
  asked = Asked(
    step.learner, step.learner, question_set, s['seed'] + question_set, renderer, s['sampling.max_new_tokens'],
    s['sampling.dtype'],
  )  # fmt: skip
  ours = [p for p in problems if hosts.ours(p.id)]
  requests = [Request(p, 0, ids) for p, ids in context.prompts(renderer, task, ours).items()]
  samples = [x for x in complete(context, asked, requests, params) if hosts.mine(x.problem_id)]
  by_id = {p.id: p for p in ours}
  right = sum(v.correct for v in tasks.verdicts(task, ((by_id[x.problem_id], x) for x in samples)))
  stopped = sum(x.finish == 'stop' for x in samples)
  right, tokens, stopped = hosts.total([right, sum(len(x.tokens) for x in samples), stopped])
  return right / len(problems), tokens, stopped / len(problems)


def best(results: Mapping[float, Mapping[str, Any]]) -> float:
  """The learning rate of the best checkpoint; of equals the lower one."""
  return max(sorted(results), key=lambda rate: results[rate]['accuracy'])


def has_parameters(folder: epath.Path, rate: float) -> bool:
  """Whether the best checkpoint of a learning rate is there; a model folder's config is written last."""
  return (folder / layout.rate(rate) / layout.BEST / layout.CONFIG).exists()
