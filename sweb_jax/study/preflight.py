"""Checks before any compute, and before anything is written: what would stop a study later is said at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from etils import epath
from rich.console import Console

from sweb_jax import layout, tasks
from sweb_jax.config import ConfigError, rules_of
from sweb_jax.models.checkpoint import CheckpointError
from sweb_jax.models.source import Model
from sweb_jax.records import Problem
from sweb_jax.study import recorded
from sweb_jax.study.lengths import Lengths
from sweb_jax.study.opened import Study, transfer_message
from sweb_jax.study.problems import Problems, check_unchanged
from sweb_jax.study.recorded import RecordedModel
from sweb_jax.study.state import State, state
from sweb_jax.tasks.rendering import Renderer
from sweb_jax.training import DataError

_OF_ROWS = ('samples', 'allocations', 'examples', 'models')
"""Kinds of steps for which the lengths of prompts and solutions matter, as long as one is to be done."""


def check(
  study: Study, root: epath.Path, console: Console | None = None, lengths: Lengths | None = None
) -> list[str]:
  """Looks at models, problems, prompts, solutions and recorded samples; returns what a user should know.

  Args:
    study: opened.
    root: its workdir, which may be there or not.
    console: told what recorded samples hold, before it is checked.
    lengths: of prompts and solutions, where the caller keeps them.

  Raises:
    CheckpointError: the files of a model are damaged, or do not fit its config.
    TaskError, ConfigError: a task has not what is asked of it.
    DataError: solutions by people do not fit a row, and may not be left out.
    WorkdirError: the workdir was made from other data.
    BudgetError, RecordError: recorded samples are lacking, or cannot be read.
  """
  for name, variants in study.variants.items():
    for model in variants if variants[0].tokenizer else ():
      try:
        model.stored()
      except CheckpointError as e:
        raise CheckpointError(f'config.models.{name}: {e}') from e
  if not study.tasks:
    return []
  chosen = {step.folder: _choose(study, step) for step in study.graph.steps if isinstance(step, Problems)}
  for step in study.graph.steps:
    if isinstance(step, Problems):
      check_unchanged(root, step, chosen[step.folder])
  _look_through_recorded(study, chosen, console or Console(quiet=True))
  train = {
    p.id: p
    for step in study.graph.steps
    if isinstance(step, Problems) and step.split == 'train'
    for p in chosen[step.folder]
  }
  left = any(s.kind in _OF_ROWS and state(root, s) is not State.DONE for s in study.graph.steps)
  return [*_check_rows(study, list(train.values()), lengths or Lengths(root))] if train and left else []


def _look_through_recorded(study: Study, chosen: Mapping[str, Sequence[Problem]], console: Console) -> None:
  c = study.config
  for name in c.generators:
    for v, model in enumerate(study.variants[name]):
      if isinstance(model, RecordedModel) and model.recording.paths:
        sets = [s for s in range(c.question_sets) if s % len(study.variants[name]) == v]
        asked = [recorded.asked(study.tasks['train'], chosen[layout.problems(s, 'train')]) for s in sets]
        recorded.look(
          console, study.graph.arms, name, model, dict(zip(sets, asked, strict=True)),
          fewer=c.recorded.get(name, {}).get('allow_fewer', False),
          reading_costs=c.cost.name == 'price' and c.cost.prices[name][0] > 0,
        )  # fmt: skip


def _choose(study: Study, step: Problems) -> list[Problem]:
  try:
    return step.choose(study.tasks[step.split])
  except tasks.TaskError as e:
    if step.split in tasks.SPLITS:
      raise
    name = step.split.partition('_')[2]
    raise ConfigError(f'config.transfer.{name}: {transfer_message(name, str(e))}') from e


def _check_rows(study: Study, problems: Sequence[Problem], lengths: Lengths) -> Iterator[str]:
  """Lengths in tokens of prompts and of solutions by people, for every tokenizer among the learners."""
  c, task = study.config, study.tasks['train']
  t, most = c.train, c.sampling.max_new_tokens
  mixed = any(rules_of(c, variant)['mix_gold'] for variant in (None, *c.variants))
  drawn = [a for a in study.graph.arms.all if a.budget]
  if not (c.gold or mixed or drawn):
    return
  solved = [p for p in problems if p.solutions]
  for learner, renderer in _renderers(study):
    of_prompts = lengths.prompts(renderer, [task.prompt(p) for p in problems])
    prompts = dict(zip((p.id for p in problems), of_prompts, strict=True))
    solutions = lengths.solutions(renderer, [p.solutions[0] for p in solved])
    if c.gold or mixed:
      whole = {p.id: prompts[p.id] + n for p, n in zip(solved, solutions, strict=True)}
      if not whole:
        raise ConfigError(f'config.gold: the problems of {c.task.name} have no solutions by people; set it to False')
      long = [name for name, n in whole.items() if n - 1 > t.row_length]
      longest = max(whole, key=whole.get)
      if long and t.too_long == 'refuse':
        raise DataError(
          f'the solution of problem {longest!r} with its prompt has {whole[longest]} tokens for {learner}, '
          f'config.train.row_length={t.row_length} holds {t.row_length + 1}: {len(long)} of {len(whole)} do not '
          "fit; raise it, or set config.train.too_long='leave_out'"
        )
      if long:
        yield (
          f'{len(long)} of {len(whole)} solutions by people do not fit a row of {learner} '
          f'(config.train.row_length={t.row_length}) and are left out (config.train.too_long)'
        )
    if not drawn:
      continue
    prompt = max(prompts.values())
    if prompt + most - 1 > t.row_length and t.too_long == 'refuse':
      yield (
        f'config.train.row_length={t.row_length}: beside the longest prompt of {prompt} tokens a row of {learner} has '
        f'room for {t.row_length + 1 - prompt}, and samples may have {most} (config.sampling.max_new_tokens); a longer '
        "one that is kept will stop the training; raise it, or set config.train.too_long='leave_out'"
      )
    if over := sum(n > most for n in solutions):
      yield (
        f'{over} of {len(solutions)} solutions by people have more than config.sampling.max_new_tokens={most} tokens; '
        'a sample of that length is cut, wrong and charged'
      )


def _renderers(study: Study) -> Iterator[tuple[str, Renderer]]:
  """Of learners with the same tokenizer and chat marks the first one's."""
  seen: set[tuple[str, bool]] = set()
  for learner in study.config.learners:
    model: Model = study.variants[learner][0]
    chat = learner in study.config.chat
    if model.tokenizer and (key := (model.tokenizer.fingerprint, chat)) not in seen:
      seen.add(key)
      yield learner, Renderer(model.tokenizer, chat=chat)
