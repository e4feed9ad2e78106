"""A learner fine-tuned on an arm's examples at each learning rate; the best checkpoint by validation is kept."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import jax
from absl import logging
from etils import epath

from sweb_jax import budget, layout, tasks
from sweb_jax.budget import training_flops_per_token
from sweb_jax.models import sharding
from sweb_jax.models.decoder import Params
from sweb_jax.models.source import save_model
from sweb_jax.records import Problem
from sweb_jax.runtime import files
from sweb_jax.runtime.hosts import Interrupted
from sweb_jax.sampling import Request
from sweb_jax.study import tokenised
from sweb_jax.study.collect import Asked, complete
from sweb_jax.study.context import Context
from sweb_jax.study.examples import Examples
from sweb_jax.study.problems import Problems
from sweb_jax.study.step import Nothing, Step, Training, as_json
from sweb_jax.study.tokenised import Tokenised
from sweb_jax.study.work import Assumed, Work
from sweb_jax.tasks.rendering import Renderer
from sweb_jax.training import (
  Agreement,
  DataError,
  Fit,
  Lora,
  Optimizer,
  Packer,
  Schedule,
  Watcher,
  checkpoint_steps,
  fit,
  offload_to_host,
  restore_to_device,
  watch,
)

_SEEDS_APART = 1_000_000
"""Between the seeds of two fine-tunings on the same data: question sets have those in between."""


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Models(Training):
  """One learner, one arm, one seed of fine-tuning."""

  kind: ClassVar[str] = 'models'
  stage: ClassVar[str] = 'train'

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
  def inputs(self) -> tuple[Step, ...]:
    return (self.examples, self.validation)

  @property
  def needs(self) -> tuple[Step, ...]:
    return (self.examples,)

  @property
  def most_steps(self) -> int:
    return self.settings['train.steps']

  @property
  def items(self) -> int:
    return self.most_steps * len(self.learning_rates)

  def steps(self, examples: int) -> int:
    """Steps of a training on so many examples."""
    epochs, batch = self.settings['train.epochs'], self.settings['train.batch']
    return min(self.most_steps, max(1, epochs * examples // batch)) if epochs else self.most_steps

  def estimate(self, assumed: Assumed) -> Iterator[Work]:
    """As long as it will be where `assumed` knows the examples; under `epochs` else as long as it may be."""
    known = assumed.examples.get(self.examples.folder)
    steps = self.most_steps if known is None else self.steps(known)
    rates = len(self.learning_rates)
    yield assumed.training(self.learner, rates * steps * self.settings['train.batch'])
    runs = rates * min(self.settings['train.checkpoints'], self.most_steps)
    count = self.validation.count
    yield assumed.drawing('validate', self.learner, count, runs * count, few_shot=False, runs=runs)

  def selected(self, root: epath.Path) -> float:
    """The learning rate that was chosen."""
    return files.read_json(root / self.folder / layout.SELECTION)['learning_rate']

  def chosen(self, root: epath.Path) -> str:
    return f'{self.folder}/{layout.rate(self.selected(root))}/{layout.BEST}'

  def run(self, context: Context) -> None:
    """Trains at the learning rates that have no result; chooses among all of them."""
    folder = context.root / self.folder
    results = {rate: _result(folder, rate) for rate in sorted(self.learning_rates)}
    missing = [rate for rate, result in results.items() if not result]
    context.meter.skip(self.most_steps * (len(results) - len(missing)))
    if missing or not _has_parameters(folder, _best(results)):
      self._train(context, results, missing)
    if not context.hosts.leads:
      return
    files.write_json(folder / layout.SELECTION, self._selection(results))
    self._charge_validation(context, results)
    # They go last: a run that is killed while they go must not take up what is left of them.
    for rate in results:
      files.remove(folder / layout.rate(rate) / layout.STATE)

  def _train(self, context: Context, results: dict[float, dict[str, Any]], missing: Sequence[float]) -> None:
    """Fills in the missing results, writes them, and the parameters of the best of all."""
    s, folder, model = self.settings, context.root / self.folder, context.model(self.learner)
    renderer = context.renderer(self.learner, s['chat'][self.learner], '')
    every = tokenised.read(context, self.examples.folder, renderer)
    examples = every.fitting(s['train.row_length'], s['train.too_long'])
    left_out = len(every.rows) - len(examples.rows)
    if not len(examples.rows):
      raise Nothing(f'all {left_out} examples are longer than config.train.row_length={s["train.row_length"]}')
    about = examples.about() | {'left_out_too_long': left_out}
    seed = s['seed'] + self.examples.question_set + _SEEDS_APART * self.repeat
    count = self.steps(len(examples.rows))
    self._warn_of_warmup(count, len(examples.rows))
    packer = self._packer(context, examples, count, seed)
    validation = context.problems(self.validation.folder, self.validation.count)
    agreement = Agreement(context.train_mesh)

    def check(agreed: Callable[[bool], bool]):
      if agreed(context.hosts.stop.is_set()):  # At the same step on all processes.
        raise Interrupted

    def train(rate: float) -> Fit:
      taken = 0

      def on_step():
        nonlocal taken
        context.hosts.progressed()
        taken += 1
        context.meter.add()
        check(agreement)

      with self._watchers(context, rate) as watchers:
        found = fit(
          context.params_to_train(self.learner, self.examples.question_set),
          model.config,
          packer,
          mesh=context.train_mesh,
          optimizer=optimizer(s, remat=context.remat, micro_batches=context.micro_batches),
          schedule=Schedule(rate, count, s['train.warmup'], s['train.final']),
          score_at=checkpoint_steps(count, s['train.checkpoints']),
          score=lambda params: self._score(context, renderer, validation, params),
          folder=folder / layout.rate(rate),
          save_seconds=context.save_seconds,
          on_step=on_step,
          before_score=lambda: check(context.hosts.any),
          agree=context.hosts.any,
          save_on=Interrupted,
          seed=seed,
          flops_per_token=training_flops_per_token(model.config.active_parameters),
          peak_flops=context.peak_flops,
          watchers=watchers,
        )
      context.meter.skip(self.most_steps - taken)  # What an earlier run did, and what `epochs` leave out.
      return found

    best: tuple[float, Fit] | None = None
    for rate in missing:
      found = train(rate)
      scores = [{'learning_rate': rate} | dataclasses.asdict(x) | {'n': len(validation)} for x in found.scores]
      results[rate] = {'accuracy': found.accuracy, 'step': found.step, 'validation': scores, **about}
      if context.hosts.leads:
        files.write_json(folder / layout.rate(rate) / layout.RESULT, results[rate])
      if best is None or found.accuracy > best[1].accuracy:  # Of equals the lower learning rate.
        best = rate, dataclasses.replace(found, params=offload_to_host(found.params))
      del found
    rate = _best(results)
    if not _has_parameters(folder, rate):
      # One whose parameters are not at hand was trained by a run that was stopped, and goes on from its saved state.
      params = restore_to_device(best[1].params) if best and best[0] == rate else train(rate).params
      # A model by itself: it can be exported.
      save_model(folder / layout.rate(rate) / layout.BEST, model.config, params, model.tokenizer)

  def _watchers(self, context: Context, rate: float) -> contextlib.AbstractContextManager[Sequence[Watcher]]:
    """Of the first process."""
    if not context.hosts.leads:
      return contextlib.nullcontext(())
    name = layout.training(self.folder, rate)
    return watch(context.root, name, context.wandb, as_json(self.settings) | {'learning_rate': rate})

  def _selection(self, results: Mapping[float, dict[str, Any]]) -> dict[str, Any]:
    """What was chosen, and from what."""
    best = _best(results)
    scores = itertools.chain.from_iterable(r['validation'] for r in results.values())
    return {'learning_rate': best, **results[best], 'validation': list(scores)}

  def _packer(self, context: Context, examples: Tokenised, count: int, seed: int) -> Packer:
    """The batches of so many steps. Raises DataError that names the examples' file."""
    try:
      return Packer(
        examples.rows,
        batch=self.settings['train.batch'],
        steps=count,
        seed=seed,
        row_length=self.settings['train.row_length'],
        multiple_of=sharding.ways(context.train_mesh) * context.micro_batches,
        ids=examples.names(),
      )
    except DataError as e:
      file = context.root / self.examples.folder / layout.EXAMPLES
      raise DataError(f'{self.learner} on {self.run_name} ({file}, counted from 0): {e}') from e

  def _score(
    self, context: Context, renderer: Renderer, problems: Sequence[Problem], params: Params
  ) -> tuple[float, int, float]:
    """Of greedy, zero-shot completions: share that is right, tokens drawn, share that ends in the stop token."""
    s, task, hosts = self.settings, context.tasks['validation'], context.hosts
    params = jax.tree.map(lambda x: x.astype(s['sampling.dtype']), params)  # As it will be evaluated.
    params = sharding.to_draw_with(params, context.train_mesh, context.meshes(self.learner))
    question_set = self.examples.question_set
    asked = Asked(
      self.learner, self.learner, question_set, s['seed'] + question_set, renderer, s['sampling.max_new_tokens'],
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

  def _charge_validation(self, context: Context, results: Mapping[float, dict[str, Any]]) -> None:
    """Charges what was drawn on validation problems, once for each finished learning rate."""
    folder = context.root / self.folder
    charged = {e.file for e in budget.read(folder)}
    problems = context.problems(self.validation.folder, self.validation.count)
    renderer = context.renderer(self.learner, self.settings['chat'][self.learner], '')
    prompt = sum(map(len, context.prompts(renderer, context.tasks['validation'], problems).values()))
    entries = []
    for rate, result in results.items():
      file, scores = f'{layout.rate(rate)}/{layout.RESULT}', result['validation']
      tokens = {'prompt': len(scores) * prompt, 'validation': sum(score['tokens'] for score in scores)}
      if file not in charged:
        entries.append(budget.Entry(file, self.folder, self.learner, tokens))
    if entries:
      budget.append(folder, entries)

  def _warn_of_warmup(self, count: int, examples: int) -> None:
    if count < self.settings['train.warmup']:
      logging.warning(
        '%s: %d epochs of %d examples are %d steps, fewer than config.train.warmup=%d: the learning rate stays below '
        'its peak', self.folder, self.settings['train.epochs'], examples, count, self.settings['train.warmup']
      )  # fmt: skip


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


def _result(folder: epath.Path, rate: float) -> dict[str, Any]:
  path = folder / layout.rate(rate) / layout.RESULT
  return files.read_json(path) if path.exists() else {}


def _best(results: Mapping[float, Mapping[str, Any]]) -> float:
  """The learning rate of the best checkpoint; of equals the lower one."""
  return max(sorted(results), key=lambda rate: results[rate]['accuracy'])


def _has_parameters(folder: epath.Path, rate: float) -> bool:
  """Whether the best checkpoint of a learning rate is there; a model folder's config is written last."""
  return (folder / layout.rate(rate) / layout.BEST / layout.CONFIG).exists()
