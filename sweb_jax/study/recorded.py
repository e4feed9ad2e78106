"""Samples that were drawn elsewhere as a generator of a study: how they are opened, looked through, and taken in."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from sweb_jax.budget import BudgetError, Prompts
from sweb_jax.config.default import RECORDED, RECORDED_FIELDS, ConfigError
from sweb_jax.models.decoder import Decoder, Opaque
from sweb_jax.models.reading import CheckpointError
from sweb_jax.models.source import Model, open_model
from sweb_jax.models.tokenizer import Tokenizer
from sweb_jax.records import Problem, Sample
from sweb_jax.sampling.recorded import Asked, Recording, Survey, open_recording
from sweb_jax.sampling.rows import NAMES
from sweb_jax.study.arms import Arms
from sweb_jax.tasks import Task
from sweb_jax.tasks.rendering import Renderer

_AT_ONCE = 256
_TEXT = 60
"""Characters of a completion that are shown."""


@dataclasses.dataclass(frozen=True)
class RecordedModel(Model):
  """A generator that cannot be asked: what it drew is in files."""

  recording: Recording
  renderer: Renderer | None
  """Counts the tokens of prompts; None where no tokenizer is named."""
  each: int
  """Samples of a request, with each of which its prompt was billed; 0: prompts are charged once."""


def open_recorded(
  name: str, source: str, said: Mapping[str, Any], chat: bool, may_lack: bool = False
) -> RecordedModel:
  """Opens 'samples:FILE' as a generator.

  Args:
    name: in `config.models`, for messages.
    source: as the config has it.
    said: `config.recorded[name]`.
    chat: what ends a completion that is counted by a tokenizer is the end of a turn.
    may_lack: files that are not there are no error.

  Raises:
    ConfigError: a tokenizer or a shape that is not there; the message names the field.
    RecordError: files that cannot be read.
  """
  field, said = f'config.recorded.{name}', RECORDED_FIELDS | dict(said)
  for what, of in said['fields'].items():
    if what not in NAMES or not isinstance(of, str):
      raise ConfigError(
        f'{field}.fields.{what}={of!r}: give the name of a field of the rows, or \'\' where there is none, for one of '
        f'{", ".join(NAMES)}'
      )
  renderer = counting(f'{field}.tokenizer', said['tokenizer'], chat)
  recording = open_recording(source.removeprefix(RECORDED), said['fields'], encoder(renderer), may_lack=may_lack)

  def refuse(*_, **__):
    raise CheckpointError(f'config.models.{name}={source!r}: recorded samples are no model that could be asked')

  shape, kind = shape_of(f'{field}.parameters', said['parameters']), 'recorded samples'
  tokenizer = renderer and renderer.tokenizer
  return RecordedModel(shape, tokenizer, refuse, dict, recording.identity, kind, recording, renderer, said['n'])


def counting(field: str, source: str, chat: bool) -> Renderer | None:
  """Counts tokens with a model's tokenizer, or that of a *.model file; None for ''. Raises ConfigError."""
  if not source:
    return None
  try:
    found = Tokenizer.from_file(source) if source.endswith('.model') else open_model(source).tokenizer
  except CheckpointError as e:
    raise ConfigError(f'{field}: {e}') from e
  if found is None:
    raise ConfigError(f'{field}={source!r}: has no tokenizer; give a model folder or a tokenizer.model')
  return Renderer(found, chat=chat)


def encoder(renderer: Renderer | None) -> Callable[[str, str], Sequence[int]] | None:
  """(text, finish) to the ids that are charged: with what ends a completion, if it was not cut."""

  def encode(text: str, finish: str) -> list[int]:
    return [*renderer.tokenizer.encode(text), *(renderer.stop_ids[:1] if finish == 'stop' else ())]

  return encode if renderer else None


def shape_of(field: str, said: int | str) -> Decoder:
  """Of a number of parameters, or of a model that is named. Raises ConfigError."""
  if not isinstance(said, str):
    return Opaque(said)
  try:
    return open_model(said).config
  except CheckpointError as e:
    raise ConfigError(f'{field}: {e}') from e


def asked(task: Task, problems: Iterable[Problem]) -> tuple[Asked, ...]:
  """Problems by what a row may call them: id, text, or prompt."""
  return tuple(Asked(p.id, (p.text, task.prompt(p))) for p in problems)


def prompts(model: RecordedModel, task: Task, problems: Sequence[Problem], shared: bool) -> dict[str, Prompts]:
  """What was read before the samples of each problem, by id; `shared` as in `Prompts`.

  As the files say where they do of every problem, else as the tokenizer counts the task's prompt.
  """
  said = model.recording.survey(asked(task, problems)).prompt_tokens
  if model.renderer is None or all(p.id in said for p in problems):
    return {p.id: Prompts(0, said.get(p.id, 0), shared, model.each) for p in problems}
  counted = {p.id: len(model.renderer.prompt(task.prompt(p))) for p in problems}
  return {p: Prompts(0, n, shared, model.each) for p, n in counted.items()}


def take(
  model: RecordedModel, task: Task, problems: Sequence[Problem], wanted: Sequence[tuple[str, int]]
) -> Iterator[list[Sample]]:
  """Yields those of (problem id, index) that were recorded, some at a time."""
  found = model.recording.samples(asked(task, problems), wanted)
  while some := list(itertools.islice(found, _AT_ONCE)):
    yield some


def look(
  console: Console,
  study_arms: Arms,
  name: str,
  model: RecordedModel,
  sets: Mapping[int, tuple[Asked, ...]],
  *,
  fewer: bool,
  reading_costs: bool,
) -> None:
  """Tells what the files of a generator hold for the problems of each question set, and what they lack of each budget.

  Args:
    console: for what is told.
    study_arms: of the study.
    name: of the generator.
    model: its files.
    sets: question set -> its problems.
    fewer: arms may hold fewer samples than their budget pays for.
    reading_costs: prompts are charged, so their lengths have to be known.

  Raises:
    BudgetError: samples are lacking, and `fewer` does not allow it; or the lengths of prompts.
    RecordError: no row is of use, or a file cannot be read.
  """
  lacking: list[str] = []
  for number, problems in sets.items():
    survey, ids = model.recording.survey(problems), [p.id for p in problems]
    least, median, most = survey.a_problem(ids)
    of = f'{survey.rows:,} rows of {len(model.recording.paths)} file{"s"[: len(model.recording.paths) > 1]}'
    console.print(Text(
      f'{name}, recorded: {survey.samples:,} samples in {of}; a problem of set {number} has {least} to {most}, '
      f'{median:g} in the middle; {survey.empty:,} are empty and {survey.cut:,} were cut: wrong, and charged.'
    ))
    for kind, count in survey.faults.items():
      console.print(Text(f'  {count:,} not used ({kind}): {"; ".join(survey.named[kind])}.'))
    lacking += (found := list(_lacking(study_arms, name, survey, ids)))
    for line in found:
      console.print(Text(f'  {line}.'))
    if number == min(sets):
      console.print(_understood(survey))
    unsaid = [] if model.tokenizer else [p for p in ids if p not in survey.prompt_tokens]
    if unsaid and reading_costs:
      raise BudgetError(
        f'config.models.{name}: nothing says how many tokens the prompts of {len(unsaid):,} of {len(ids):,} problems '
        f'have, as {unsaid[0]!r}, and config.cost.prices.{name} has a price for reading them; name the field as '
        f'config.recorded.{name}.fields.prompt_tokens, or a tokenizer that counts them, or give 0 as the first price'
      )
    if unsaid:
      console.print(Text(f'  Reading {len(unsaid):,} prompts is not charged: nothing says how many tokens they have.'))
  if lacking and not fewer:
    raise BudgetError(
      f'config.models.{name}: {lacking[0]}; add samples, lower the budget, or set '
      f'config.recorded.{name}.allow_fewer=True'
    )


def _lacking(study_arms: Arms, name: str, survey: Survey, ids: Sequence[str]) -> Iterator[str]:
  """A line an arm for which there are too few samples."""
  for arm in study_arms.all:
    planned = study_arms.samples.get(arm.name, {}).get(name, 0)
    if arm.generator == name and arm.samples:
      need = math.floor(arm.samples)
      if lack := survey.lacking(ids, need):
        p, n = next(iter(lack.items()))
        yield (
          f'{arm.name} needs {need} samples a problem, and {len(lack):,} of {len(ids):,} problems lack '
          f'{sum(need - n for n in lack.values()):,} in all, as {p!r}, which has {n}'
        )
    elif planned > survey.samples:
      yield f'{arm.name} is expected to take {planned:,} samples, and {survey.samples:,} are recorded'


def _understood(survey: Survey) -> Table:
  table = Table(title='The first rows, as they were understood')
  for column in ('row', 'problem', 'index', 'tokens', 'end', 'completion'):
    table.add_column(column)
  for p in survey.first:
    tokens = 'by the tokenizer' if p.taken.tokens is None else str(len(p.taken.tokens))
    text = ' '.join(p.taken.text.split())
    shown = f'{text[:_TEXT]}...' if len(text) > _TEXT else text
    table.add_row(*map(Text, (p.where, p.problem_id, str(p.index), tokens, p.taken.finish, shown)))
  return table
