"""A learner fine-tuned on an arm's examples at each learning rate; the best checkpoint by validation is kept."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

from etils import epath

from sweb_jax import budget, layout
from sweb_jax.runtime import files
from sweb_jax.study.context import Context
from sweb_jax.study.fine_tuning import FineTuned, FineTuning, at_once, best, fine_tune, has_parameters
from sweb_jax.study.step import Nothing, Step
from sweb_jax.study.work import Assumed, Work


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Models(FineTuned):
  """One learner, one arm, one seed of fine-tuning."""

  kind: ClassVar[str] = 'models'
  stage: ClassVar[str] = 'train'

  @property
  def inputs(self) -> tuple[Step, ...]:
    return (self.examples, self.validation)

  @property
  def needs(self) -> tuple[Step, ...]:
    return (self.examples,)

  @property
  def items(self) -> int:
    return self.most_steps * len(self.learning_rates)

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

  def together(self, context: Context) -> Hashable | None:
    """Trainings of a learner from the same parameters, where some at a time run in one program."""
    several = at_once(context, self) > 1
    return (self.learner, self.examples.question_set) if several else None

  def run(self, context: Context) -> None:
    """As `run_all`. Raises Nothing where all examples are too long."""
    for nothing in self.run_all(context, [self]).values():
      raise nothing

  @classmethod
  def run_all(cls, context: Context, steps: Sequence[Models]) -> Mapping[str, Nothing]:
    """Trains at the learning rates that have no result; of each step chooses among all of them."""
    nothing = {}
    going: list[FineTuning] = []
    for step in steps:
      results = {rate: _result(context.root / step.folder, rate) for rate in sorted(step.learning_rates)}
      missing = [rate for rate, result in results.items() if not result]
      context.meter.skip(step.most_steps * (len(results) - len(missing)))
      if not missing and has_parameters(context.root / step.folder, best(results)):
        step._finish(context, results)
        continue
      try:
        going.append(FineTuning(context, step, results, missing))
      except Nothing as e:
        nothing[step.folder] = e
    for tuning in fine_tune(context, going):
      tuning.step._finish(context, tuning.results)
    return nothing

  def _finish(self, context: Context, results: Mapping[float, dict[str, Any]]) -> None:
    """Writes what was chosen and what validation cost; removes what only an unfinished training needs."""
    if not context.hosts.leads:
      return
    folder = context.root / self.folder
    files.write_json(folder / layout.SELECTION, self._selection(results))
    self._charge_validation(context, results)
    # They go last: a run that is killed while they go must not take up what is left of them.
    for rate in results:
      files.remove(folder / layout.rate(rate) / layout.STATE)

  def _selection(self, results: Mapping[float, dict[str, Any]]) -> dict[str, Any]:
    """What was chosen, and from what."""
    chosen = best(results)
    scores = itertools.chain.from_iterable(r['validation'] for r in results.values())
    return {'learning_rate': chosen, **results[chosen], 'validation': list(scores)}

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


def _result(folder: epath.Path, rate: float) -> dict[str, Any]:
  path = folder / layout.rate(rate) / layout.RESULT
  return files.read_json(path) if path.exists() else {}
