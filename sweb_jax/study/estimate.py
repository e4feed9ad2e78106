"""What a study is expected to take: the steps' own estimates, from assumed lengths and rates, and the plan's tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict
from rich.console import Console
from rich.table import Table

from sweb_jax.budget import flops_per_token
from sweb_jax.config import elsewhere
from sweb_jax.study.step import Step
from sweb_jax.study.work import Assumed, Rates, Work

_HOST_SECONDS = 1.0
"""Of a step that no model has a part in, as grading is."""
_REPORT_SECONDS = 8.0
"""Of the last step: the quickstart's takes so long on two cores."""


def assumed(
  config: ConfigDict, parameters: Mapping[str, int], examples: Mapping[str, int], rates: Rates | None = None
) -> Assumed:
  """What a config assumes; with `rates`, on another machine than the one it describes."""
  e = config.estimate
  few_shot = e.few_shot_tokens if config.sampling.few_shot else 0
  others = tuple(name for name, source in config.models.items() if elsewhere(source))
  own = Rates(dict.fromkeys(parameters, e.sampling_flops), dict.fromkeys(parameters, e.training_flops))
  return Assumed(parameters, e.completion_tokens, e.prompt_tokens, few_shot, rates or own, others, examples)


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
    share = sum(_drawn(work, of) for work in rows) / budget if kind == 'sample' and budget else None
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


def seconds(step: Step, of: Assumed) -> float:
  """What a step is expected to take."""
  by_hosts = _REPORT_SECONDS if step.kind == 'report' else _HOST_SECONDS
  return sum(work.seconds for work in step.estimate(of)) or by_hosts


def elsewhere_drawn(step: Step, of: Assumed) -> bool:
  """Whether a machine that nothing is known of has a part in it, as that behind an endpoint."""
  return any(work.model in of.elsewhere for work in step.estimate(of))


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
  return flops_per_token(of.parameters[work.model]) * work.tokens if of.parameters[work.model] else 0
