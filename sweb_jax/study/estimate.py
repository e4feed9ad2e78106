"""What a study is expected to take: the steps' own estimates, from assumed lengths and rates, and the plan's tables."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict
from rich.console import Console
from rich.table import Table

from sweb_jax.budget import flops_per_token, training_flops_per_token
from sweb_jax.study.step import Step, Work


@dataclasses.dataclass(frozen=True)
class Assumed:
  """Lengths and rates of a study, measured or assumed."""

  parameters: Mapping[str, int]
  """Model -> number of parameters."""
  completion: int
  """Tokens a completion has, stop token included."""
  prompt: int
  """Tokens of a zero-shot prompt."""
  few_shot: int
  """Tokens of the worked examples before it."""
  sampling_rate: float
  """FLOP/s."""
  training_rate: float
  examples: Mapping[str, int] = dataclasses.field(default_factory=dict)
  """Folder of a step of examples -> how many there are, where they are there."""

  def drawing(
    self, kind: str, model: str, problems: int, samples: int, *, few_shot: bool, runs: int = 1, prompt: int = 0
  ) -> Work:
    """Work of drawing `samples` completions, for `problems` problems in each of `runs` runs."""
    tokens = samples * self.completion
    read = runs * (problems * (prompt or self.prompt) + few_shot * self.few_shot)
    flops = flops_per_token(self.parameters[model]) * (tokens + read)
    return Work(kind, model, samples, tokens, flops, flops / self.sampling_rate)

  def judging(self, model: str, samples: int) -> Work:
    """Work of a judge: each sample is read with its problem and a right solution, and answered in as many tokens."""
    prompt = self.prompt + 2 * self.completion
    return self.drawing('judge', model, samples, samples, few_shot=True, prompt=prompt)

  def training(self, model: str, examples: int) -> Work:
    """Work of training on so many examples, prompts included."""
    tokens = examples * (self.prompt + self.completion)
    flops = training_flops_per_token(self.parameters[model]) * tokens
    return Work('train', model, examples, tokens, flops, flops / self.training_rate)


def assumed(config: ConfigDict, parameters: Mapping[str, int], examples: Mapping[str, int]) -> Assumed:
  """What a config assumes."""
  e = config.estimate
  few_shot = e.few_shot_tokens if config.sampling.few_shot else 0
  return Assumed(
    parameters, e.completion_tokens, e.prompt_tokens, few_shot, e.sampling_flops, e.training_flops, examples
  )


def plan(name: str, steps: Sequence[Step], of: Assumed) -> Table:
  """The work of the steps as a table: a line a kind and model, and the total."""
  works = [work for step in steps for work in step.estimate(of)]
  table = Table(title=f'Plan of {name!r}: {len(steps)} steps')
  for column in ('kind', 'model', 'jobs', 'samples', 'tokens', 'FLOPs', 'share of budget', 'minutes'):
    table.add_column(column, justify='left' if column in ('kind', 'model') else 'right')
  budget = sum(_drawn(work, of) for work in works if work.kind == 'sample')
  groups: dict[tuple[str, str], list[Work]] = {}
  for work in works:
    groups.setdefault((work.kind, work.model), []).append(work)
  groups['all', ''] = works
  for (kind, model), rows in groups.items():
    # The paper's budget: drawn tokens, prompts left out.
    share = sum(_drawn(work, of) for work in rows) / budget if kind == 'sample' else None
    table.add_row(
      kind,
      model,
      str(len(rows)),
      f'{sum(w.samples for w in rows):,}',
      f'{sum(w.tokens for w in rows):,}',
      f'{sum(w.flops for w in rows):.2e}',
      '' if share is None else f'{share:.1%}',
      f'{minutes(rows):.1f}',
    )
  return table


def minutes(works: Sequence[Work]) -> float:
  return sum(work.seconds for work in works) / 60


def rows(step: Step, of: Assumed) -> list[dict[str, Any]]:
  """A step's work as it stands in the workdir's list."""
  return [{k: v for k, v in work._asdict().items() if k != 'seconds'} for work in step.estimate(of)]


def show(console: Console, name: str, steps: Sequence[Step], of: Assumed, epochs: bool) -> None:
  """Prints the plan.

  Under `epochs` trainings are as long as they will be where their examples are in the workdir, and as long as they may
  be where not; says so.
  """
  console.print(plan(name, steps, of))
  if epochs:
    trainings = [step for step in steps if step.kind == 'models']
    known = sum(step.examples.folder in of.examples for step in trainings)
    console.print(
      f'Epochs: {known} of {len(trainings)} trainings are counted by their examples, the others at most.'
    )


def _drawn(work: Work, of: Assumed) -> int:
  return flops_per_token(of.parameters[work.model]) * work.tokens
