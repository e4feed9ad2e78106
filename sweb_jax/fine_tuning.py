"""The job that fine-tunes a learner on an arm's data, and keeps the checkpoint that is best on validation problems."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import numpy as np
from absl import logging
from etils import epath
from ml_collections import ConfigDict

from sweb_jax import budget, records
from sweb_jax.budget import Arm, training_flops_per_token
from sweb_jax.config import rules_of, steps_of
from sweb_jax.examples import job_of
from sweb_jax.jobs import Jobs
from sweb_jax.models import sharding
from sweb_jax.models.decoder import Params
from sweb_jax.models.source import save_model
from sweb_jax.records import Example, Problem
from sweb_jax.runtime import files
from sweb_jax.runtime.hosts import Interrupted
from sweb_jax.runtime.progress import Meter
from sweb_jax.training import Agreement, DataError, Fit, Lora, Optimizer, Packer, Schedule, aside, back, fit, marks
from sweb_jax.training.data import Rendered

_REPEATS = 1_000_000
"""Between the seeds of two fine-tunings on the same data: question sets have those in between."""


def run(
  folder: epath.Path, jobs: Jobs, question_set: int, learner: str, arm: Arm, meter: Meter, repeat: int = 0
) -> None:
  """Trains at each learning rate of the config; writes `selection.json`, and the best parameters as a model folder.

  Args:
    folder: of the job.
    jobs: the models, and what draws and grades.
    question_set: number of the set.
    learner: which model is trained.
    arm: on what.
    meter: moved by a step.
    repeat: which of the learner's trainings on these data, from 0: another order of the examples.
  """
  # Written before the saved states go: a run that is killed while they go must not take up what is left of them.
  selected = folder / 'selection.json'
  if not selected.exists():
    chosen = _train(folder, jobs, question_set, learner, arm, meter, repeat)
    if jobs.hosts.leads:
      files.write_json(selected, chosen)
  if not jobs.hosts.leads:
    return
  _charge_validation(folder, jobs, question_set, learner)
  for state in folder.glob('rate_*/state'):
    state.rmtree()


def check_rows(jobs: Jobs, question_set: int) -> None:
  """Looks at rows before a token is drawn: another row length is another study.

  Raises DataError where a solution by people that is to be trained on does not fit; warns where a sample might not.
  """
  c, problems = jobs.config, jobs.problems(question_set, 'train')
  row_length, most = c.train.row_length, c.sampling.max_new_tokens
  for learner in c.learners:
    if jobs.models[learner].tokenizer is None:
      continue  # A shape without weights is planned, and never trained.
    renderer = jobs.renderer(learner, few_shot=False)
    if c.gold or c.data.mix_gold:
      lengths = {e.problem_id: len(renderer.example(e)[0]) for e in _gold(jobs, question_set)}
      longest = max(lengths, key=lengths.get)
      if lengths[longest] - 1 > row_length:
        raise DataError(
          f'the solution of problem {longest!r} with its prompt has {lengths[longest]} tokens for {learner}, '
          f'config.train.row_length={row_length} holds {row_length + 1}; raise it'
        )
    prompt = max(len(renderer.prompt(jobs.task.prompt(p))) + len(renderer.prefix) for p in problems)
    if prompt + most - 1 > row_length:
      logging.warning(
        'config.train.row_length=%d: beside the longest prompt of %d tokens a row of %s has room for %d, and samples '
        'may have %d (config.sampling.max_new_tokens); a longer one that is kept will stop the training',
        row_length, prompt, learner, row_length + 1 - prompt, most,
      )  # fmt: skip


def steps(jobs: Jobs, question_set: int, learner: str, arm: Arm) -> int | None:
  """Steps of a training; None where the examples are not there yet."""
  if not _source(jobs, question_set, arm).exists():
    return None
  examples, _ = _examples(jobs, question_set, arm, jobs.config.seed + question_set)
  return _steps(jobs, learner, arm, len(examples))


def _steps(jobs: Jobs, learner: str, arm: Arm, examples: int) -> int:
  t, most = jobs.config.train, steps_of(jobs.config, learner, arm.budget or arm.name)
  return min(most, max(1, t.epochs * examples // t.batches.get(learner, t.batch))) if t.epochs else most


def _train(
  folder: epath.Path, jobs: Jobs, question_set: int, learner: str, arm: Arm, meter: Meter, repeat: int
) -> dict[str, Any]:
  """What was chosen, and from what; writes the parameters and leaves the saved states."""
  t, seed, model = jobs.config.train, jobs.config.seed + question_set, jobs.models[learner]
  examples, changed = _examples(jobs, question_set, arm, seed)
  seed += _REPEATS * repeat  # Of the training: the data are the same.
  renderer = jobs.renderer(learner, few_shot=False)
  rendered = [renderer.example(e) for e in examples]
  most = steps_of(jobs.config, learner, arm.budget or arm.name)
  count = _steps(jobs, learner, arm, len(examples))
  if count < t.warmup:
    logging.warning(
      '%s on %s, question set %d: %d epochs of %d examples are %d steps, fewer than config.train.warmup=%d: the '
      'learning rate stays below its peak', learner, arm.name, question_set, t.epochs, len(examples), count, t.warmup
    )  # fmt: skip
  packer = _packer(jobs, question_set, learner, arm, examples, rendered, count, seed)
  validation = jobs.problems(question_set, 'validation')
  soon, taken = Agreement(jobs.drawing.train_mesh), 0

  def check(agreed: Callable[[bool], bool]):
    if agreed(jobs.hosts.stop.is_set()):  # At the same step on all processes.
      raise Interrupted

  def on_step():
    nonlocal taken
    jobs.hosts.progressed()
    taken += 1
    meter.add()
    check(soon)

  best: tuple[float, Fit] | None = None
  scores = []
  for rate in sorted(t.learning_rates):
    found = fit(
      jobs.drawing.params_to_train(learner, question_set),
      model.config,
      packer,
      mesh=jobs.drawing.train_mesh,
      optimizer=optimizer(jobs.config),
      schedule=Schedule(rate, count, t.warmup, t.final),
      score_at=marks(count, t.checkpoints),
      score=lambda params: _score(jobs, question_set, learner, validation, params),
      folder=folder / f'rate_{rate:g}',
      save_seconds=t.save_seconds,
      on_step=on_step,
      before_score=lambda: check(jobs.hosts.any),
      agree=jobs.hosts.any,
      save_on=Interrupted,
      seed=seed,
      flops_per_token=training_flops_per_token(model.config.parameters),
      peak_flops=t.peak_flops,
    )
    meter.skip(most - taken)  # What an earlier run did, and what `epochs` leave out.
    taken = 0
    scores += [{'learning_rate': rate} | dataclasses.asdict(s) | {'n': len(validation)} for s in found.scores]
    if best is None or found.accuracy > best[1].accuracy:  # Of equals the lower learning rate.
      best = rate, dataclasses.replace(found, params=aside(found.params))
    del found
  rate, chosen = best
  # A model by itself: it can be exported.
  save_model(folder / 'best', model.config, back(chosen.params), model.tokenizer)
  return {
    'learning_rate': rate,
    'step': chosen.step,
    'validation': scores,
    'examples': len(examples),
    **changed,
    'problems': len({e.problem_id for e in examples}),
    'unique': len({(e.problem_id, ' '.join(e.solution.split())) for e in examples}),
    'tokens': sum(len(ids) for ids, _ in rendered),
  }


def optimizer(config: ConfigDict) -> Optimizer:
  """How a config's learners are updated."""
  t = config.train
  return Optimizer(
    t.optimizer,
    b2=t.b2,
    weight_decay=t.weight_decay,
    clip_norm=t.clip_norm,
    remat=t.remat,
    micro_batches=t.micro_batches,
    dtype=t.dtype,
    lora=Lora(t.lora.rank, t.lora.alpha, t.lora.targets) if t.lora.rank else None,
  )


def _packer(
  jobs: Jobs,
  question_set: int,
  learner: str,
  arm: Arm,
  examples: list[Example],
  rendered: list[Rendered],
  count: int,
  seed: int,
) -> Packer:
  """The batches of so many steps. Raises DataError that names the examples' file."""
  t, mesh = jobs.config.train, jobs.drawing.train_mesh
  try:
    return Packer(
      rendered,
      batch=t.batches.get(learner, t.batch),
      steps=count,
      seed=seed,
      row_length=t.row_length,
      multiple_of=sharding.ways(mesh) * t.micro_batches,
      ids=[f'{i} ({e.problem_id})' for i, e in enumerate(examples)],
    )
  except DataError as e:
    where = f'{learner} on {arm.name}, question set {question_set} ({_source(jobs, question_set, arm)}, counted from 0)'
    raise DataError(f'{where}: {e}') from e


def _source(jobs: Jobs, question_set: int, arm: Arm) -> epath.Path:
  """The file that an arm's examples come from."""
  if arm.budget is None:
    return jobs.workdir / f'problems/set{question_set}/train.jsonl'
  folder = jobs.workdir / job_of(jobs.config, question_set, arm)
  return folder / ('examples.jsonl' if arm.policy else f'{arm.name}.jsonl')


def _examples(jobs: Jobs, question_set: int, arm: Arm, seed: int) -> tuple[list[Example], dict[str, int]]:
  """What an arm is trained on, and what was added to its own examples and taken from them."""
  rules, count = rules_of(jobs.config, arm.variant), jobs.config.train.unique_examples
  if arm.budget is None:
    return _gold(jobs, question_set), {}
  examples = list(records.read(Example, _source(jobs, question_set, arm)))
  changed = {}
  if rules['mix_gold']:
    gold = _gold(jobs, question_set)
    changed['gold_added'] = len(gold)
    examples += gold
  if count:
    changed['over_unique_examples'] = max(0, len(examples) - count)
    order = np.random.default_rng(seed).permutation(len(examples))[:count]
    examples = [examples[i] for i in sorted(order)]
  return examples, changed


def _gold(jobs: Jobs, question_set: int) -> list[Example]:
  """Solutions by people, one a training problem."""
  return [Example(p.id, jobs.task.prompt(p), p.solutions[0]) for p in jobs.problems(question_set, 'train')]


def _score(
  jobs: Jobs, question_set: int, learner: str, problems: list[Problem], params: Params
) -> tuple[float, int, float]:
  """Of greedy, zero-shot completions: share that is right, tokens drawn, share that ends in the stop token."""
  mine = [p for p in problems if jobs.hosts.mine(p.id)]
  samples = jobs.greedy(learner, question_set, mine, params)
  right = sum(v.correct for v in jobs.grade(mine, samples))
  stopped = sum(s.finish == 'stop' for s in samples)
  right, tokens, stopped = jobs.hosts.total([right, sum(len(s.tokens) for s in samples), stopped])
  return right / len(problems), tokens, stopped / len(problems)


def _charge_validation(folder: epath.Path, jobs: Jobs, question_set: int, learner: str) -> None:
  """Charges what was drawn on validation problems, once for a finished training."""
  if any(e.file == 'selection.json' for e in budget.read(folder)):
    return
  scores = json.loads((folder / 'selection.json').read_text())['validation']
  read = jobs.prompts(learner, jobs.problems(question_set, 'validation'), few_shot=False)
  tokens = {
    'prompt': len(scores) * sum(p.prompt for p in read.values()),
    'validation': sum(s['tokens'] for s in scores),
  }
  budget.append(folder, [budget.Entry('selection.json', jobs.job_name(folder), learner, tokens)])
