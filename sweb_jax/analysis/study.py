"""The study that a workdir is of, as study.json has it: arms, models, and the list of its steps."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from etils import epath

from sweb_jax import layout
from sweb_jax.budget import Arm, Comparison, Cost, costs
from sweb_jax.layout import BASE
from sweb_jax.models import families
from sweb_jax.runtime import files, manifest, typed

MATCHED_BY = {'paper': 'compute', 'flops': 'compute', 'price': 'price', 'seconds': 'time', 'tokens': 'tokens'}
"""Definition of cost, of `budget.UNITS` -> by what arms of equal cost are matched."""
SHOWN = 4
"""Steps that a line of what is missing names; the others are counted."""


class AnalysisError(ValueError):
  """The workdir does not hold what a report needs; the message names the file and what to run."""


@dataclasses.dataclass(frozen=True)
class Listed:
  """A step of the study."""

  folder: str
  kind: str
  stage: str
  version: str
  extent: Mapping[str, Any]
  work: tuple[dict[str, Any], ...] = ()
  """What it was expected to take: rows of kind, model, samples, tokens, flops."""


@dataclasses.dataclass(frozen=True)
class Study:
  """study.json: written by every run, read by every report."""

  name: str
  made_world: bool
  """The problems come from a generated world and say nothing of real models."""
  question_sets: tuple[int, ...]
  generators: tuple[str, ...]
  """Those of later rounds after the config's."""
  learners: tuple[str, ...]
  parameters: dict[str, int]
  """Of each model and generator, those that a token has to do with: all, but for experts and tables by layer."""
  arms: tuple[Arm, ...]
  comparisons: tuple[Comparison, ...]
  maj_k: tuple[int, ...] = ()
  steps: tuple[Listed, ...] = ()
  cost: str = 'paper'
  """What counts as equal cost, of `budget.UNITS`."""
  costs: dict[str, dict[str, float]] = dataclasses.field(default_factory=dict)
  """Arm -> definition of cost -> what the arm is expected to cost on a set."""
  shapes: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)
  """Generator or judge -> the fields of its architecture."""
  implementations: dict[str, str] = dataclasses.field(default_factory=dict)
  """Model or generator -> which implementation draws from it and trains it, 'native' or 'gemma'."""
  prices: dict[str, Any] = dataclasses.field(default_factory=dict)
  seconds: dict[str, float] = dataclasses.field(default_factory=dict)
  share_prefix: bool = True
  """Worked examples are charged once; else once a problem."""
  stop_ids: dict[str, tuple[int, ...]] = dataclasses.field(default_factory=dict)
  """Tokens that end a completion, of each model of which they are known."""
  seeds: int = 1
  """Fine-tunings of every learner on every arm, which differ by the seed."""
  rounds_from: str = ''
  """The arm of the first round that later rounds go on from; '' where there is one round."""
  judge: str = ''
  """The model that judges, '' where none does."""
  judged: tuple[str, ...] = ()
  """Arms that keep what the judge says is right."""
  tests: dict[str, str] = dataclasses.field(default_factory=dict)
  """Further test set -> its task."""
  elsewhere: tuple[str, ...] = ()
  """A line a generator whose samples were drawn elsewhere."""

  def arm(self, name: str) -> Arm:
    return next(arm for arm in self.arms if arm.name == name)

  def matched(self, arm: Arm) -> str | None:
    """By what an arm is matched; for one that costs what the anchor's samples do, by what counts as cost."""
    return MATCHED_BY[self.cost] if arm.matched == 'compute' else arm.matched

  @property
  def sources(self) -> tuple[str, ...]:
    """'base' and every arm."""
    return (BASE, *(arm.name for arm in self.arms))

  @property
  def drawn_arms(self) -> tuple[Arm, ...]:
    """Those that hold the first samples of every problem and are no variant of another."""
    return tuple(a for a in self.arms if a.generator and not a.policy and a.matched != 'variant')

  def runs(self, source: str) -> tuple[str, ...]:
    """Names of a source's fine-tunings, by seed; what was not fine-tuned has one."""
    return tuple(layout.run(source, r) for r in range(1 if source == BASE else self.seeds))

  @property
  def counts(self) -> dict[str, int]:
    """Generator -> samples it draws of every problem, without those of which it draws none."""
    counts = {g: max((a.whole for a in self.arms if a.generator == g), default=0) for g in self.generators}
    return {g: count for g, count in counts.items() if count}

  def definitions(self) -> dict[str, Cost]:
    """The definitions of cost that can price the generators."""
    shapes = {g: families.from_fields(fields) for g, fields in self.shapes.items()}
    return costs(self.cost, shapes, prices=self.prices, seconds=self.seconds)

  def json(self) -> dict[str, Any]:
    """What `read_study` reads."""
    return dataclasses.asdict(self)


def read_study(root: epath.PathLike) -> Study:
  """Reads the study of a workdir. Raises AnalysisError, which names the field at fault."""
  path = epath.Path(root) / layout.STUDY
  try:
    study = typed.from_json(Study, path.read_bytes())
  except FileNotFoundError:
    raise AnalysisError(f'{path} is missing: run the stage plan') from None
  except ValueError as e:
    raise AnalysisError(f'{path}: {e}; run the stage plan again') from e
  names = {arm.name for arm in study.arms}
  for field, used, known in [
    ('comparisons', {x for c in study.comparisons for x in (c.a, c.b)}, names),
    ('arms.generator', {arm.generator for arm in study.arms if arm.generator}, set(study.generators)),
    ('parameters', {*study.generators, *study.learners}, set(study.parameters)),
  ]:
    if used - known:
      raise AnalysisError(f'{path}: {field} names {sorted(used - known)}, known are {sorted(known)}; plan again')
  if not study.question_sets:
    raise AnalysisError(f'{path}: question_sets is empty; a study needs at least one')
  return study


def done(root: epath.Path, study: Study) -> dict[str, str]:
  """Folder of each finished step -> why it has no result, '' where it has one."""
  found = {}
  for step in study.steps:
    said = manifest.read(root, step.folder)
    if said and said.done and said.version == step.version and manifest.far_enough(said.extent, step.extent):
      found[step.folder] = said.nothing
  return found


def missing(study: Study, finished: Mapping[str, str]) -> tuple[str, ...]:
  """A line a stage: which steps a report reads and are not done, and the stage to run."""
  lines = []
  for stage, names in _by_stage(study, lambda step: step.kind != 'report' and step.folder not in finished):
    count = sum(step.stage == stage for step in study.steps)
    lines.append(f'{len(names)} of {count} steps of the stage {stage} are not done: {_some(names)}; run it')
  return tuple(lines)


def nothing(study: Study, finished: Mapping[str, str]) -> tuple[str, ...]:
  """A line a step without a result, and why; steps that have none because of it are counted."""
  # A reason that was handed on names every step on its way here.
  followers = collections.Counter(name for reason in finished.values() for name in reason.split(': ')[:-1])
  lines = []
  for step in study.steps:
    reason = finished.get(step.folder, '')
    if reason and reason.partition(': ')[0] not in finished:
      more = f' ({followers[step.folder]} steps depend on it)' if followers[step.folder] else ''
      lines.append(f'{step.folder}: no data: {reason}{more}')
  return tuple(lines)


def _by_stage(study: Study, wanted: Any) -> Iterator[tuple[str, list[str]]]:
  found: dict[str, list[str]] = {}
  for step in study.steps:
    if wanted(step):
      found.setdefault(step.stage, []).append(step.folder)
  yield from found.items()


def _some(names: list[str]) -> str:
  return ', '.join(names[:SHOWN]) + (f' and {len(names) - SHOWN} more' if len(names) > SHOWN else '')


def read_json(path: epath.PathLike) -> dict[str, Any]:
  """The JSON object of a file that every run writes. Raises AnalysisError, which names the file."""
  try:
    row = files.read_json(path)
  except FileNotFoundError:
    raise AnalysisError(f'{path} is missing: run the stage plan') from None
  except ValueError as e:
    raise AnalysisError(f'{e}; run the stage plan again') from e
  if not isinstance(row, dict):
    raise AnalysisError(f'{path}: expected a JSON object; run the stage plan again')
  return row


def damaged(what: object) -> AnalysisError:
  """The error to raise where a file of a step that is done is not as it was; running its stage would skip the step."""
  return AnalysisError(f'{what}; `python -m sweb_jax.study check WORKDIR --repair` makes again what is damaged')
