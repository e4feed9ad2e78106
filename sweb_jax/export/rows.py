"""The rows of an arm: what its models are trained on, or all that was drawn for it, each with where it comes from."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from etils import epath

from sweb_jax import analysis, budget, layout, records
from sweb_jax.analysis.study import damaged, read_json
from sweb_jax.budget import Arm, Cost, Prompts
from sweb_jax.records import Example, Problem, Sample, Verdict
from sweb_jax.runtime import files, manifest
from sweb_jax.runtime.manifest import Manifest

PEOPLE = 'people'
"""Who wrote a solution that was not drawn."""


class ExportError(ValueError):
  """The workdir cannot give what was asked, or it cannot be written; the message says what to do."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
  """One solution. What nobody knows of a solution by people is None."""

  prompt: str
  completion: str
  problem_id: str
  generator: str
  """Who drew it, by its name in the study; or PEOPLE."""
  model: str
  """What the config names as its model, and the step that trained it, if one did; '' for PEOPLE."""
  index: int | None
  """0-based number among the generator's samples of the problem."""
  seed: int | None
  """Of the question set; with generator, problem and index it decides on the sample."""
  correct: bool | None
  """The final answer is the gold answer, and the sample was not cut."""
  valid: bool | None
  """Every step of the reasoning is right, where the task can tell."""
  answer: str | None
  cut: bool
  """It ended at the length limit."""
  tokens: int | None
  """Drawn, and charged."""
  cost: float | None
  """Of drawing it, in the study's definition of cost; what is read before the samples of a problem comes on top."""

  @property
  def following(self) -> str:
    """The completion as it follows the prompt directly.

    This project tokenises the two apart; who joins them needs a space where neither has one, as in a vocabulary of
    whole words or between the turns of a chat.
    """
    apart = self.prompt[-1:].isspace() or self.completion[:1].isspace() or not self.completion
    return self.completion if apart else f' {self.completion}'


@dataclasses.dataclass(frozen=True)
class Data:
  """One arm of a workdir on one question set, whose examples are done."""

  root: epath.Path
  study: analysis.Study
  config: Mapping[str, Any]
  question_set: int
  arm: Arm

  @property
  def folder(self) -> str:
    return layout.examples(self.question_set, self.arm.name)

  def said(self, folder: str) -> Manifest:
    """The manifest of a step that is done. Raises AnalysisError where it is missing or a file of it was changed."""
    found = manifest.read(self.root, folder)
    if found is None or not found.done:
      raise damaged(f'{self.root / folder}: is not done, though what reads it is')
    for name, (_, digest) in found.files.items():
      path = self.root / folder / name
      if not path.exists() or manifest.checksum(path) != digest:
        raise damaged(f'{path}: is not the file that was finished')
    return found

  def problems(self) -> list[Problem]:
    """The training problems of the question set."""
    folder = layout.problems(self.question_set, 'train')
    count = self.said(folder).extent['problems']
    return list(records.read(Problem, self.root / folder / layout.PROBLEMS))[:count]


def open_data(workdir: epath.PathLike, arm: str, question_set: int) -> Data:
  """Finds an arm in a workdir.

  Raises:
    AnalysisError: there is no workdir.
    ExportError: there is no such arm or question set, or its examples are not done, or there are none.
  """
  root = epath.Path(workdir)
  study = analysis.read_study(root)
  names = [a.name for a in study.arms]
  if arm not in names:
    raise ExportError(f'--arm={arm}: {root} has the arms {", ".join(names) or "none"}')
  if question_set not in study.question_sets:
    raise ExportError(f'--set={question_set}: {root} has the sets {", ".join(map(str, study.question_sets))}')
  data = Data(root, study, read_json(root / layout.CONFIG), question_set, study.arm(arm))
  finished = analysis.done(root, study)
  if data.folder not in finished:
    raise ExportError(f'{root / data.folder} is not done: run the study with this workdir up to the stage grade')
  if reason := finished[data.folder]:
    raise ExportError(f'{root / data.folder} has no data: {reason}')
  return data


def examples(data: Data) -> list[Row]:
  """What the arm's models are trained on, in its order, traced to where it comes from.

  An example has the text of a sample. Of several samples of a problem with one text, which differ in nothing that is
  written here but index, tokens and cost, it is the first that no example before it was. Raises AnalysisError where an
  example has the text of none.
  """
  waiting = collections.defaultdict(collections.deque)
  for row in _sources(data):
    waiting[row.problem_id, row.completion].append(row)
  found = []
  path = data.root / data.folder / layout.EXAMPLES
  for number, e in enumerate(records.read(Example, path), 1):
    rows = waiting[e.problem_id, e.solution]
    if not rows:
      raise damaged(f'{path}, line {number}: is no solution of {e.problem_id} that was drawn or given')
    found.append(dataclasses.replace(rows.popleft(), prompt=e.prompt))
  return found


def samples(data: Data, prompt: Callable[[Problem], str]) -> list[Row]:
  """All samples that the arm's budget bought, right and wrong, by generator, problem and index.

  `prompt` gives the zero-shot prompt of a problem. Raises ExportError for an arm of solutions by people.
  """
  if data.arm.budget is None:
    raise ExportError(f'--arm={data.arm.name}: holds solutions by people, of which there are no wrong ones to export')
  prompts = {p.id: prompt(p) for p in data.problems()}
  return [dataclasses.replace(row, prompt=prompts[row.problem_id]) for row in _drawn(data)]


def pairs(rows: Iterable[Row]) -> list[dict[str, Any]]:
  """Right and wrong samples of a problem side by side, by index, each in one pair at most, a cut one in none."""
  right, wrong = collections.defaultdict(list), collections.defaultdict(list)
  for row in rows:
    if not row.cut:
      (right if row.correct else wrong)[row.problem_id].append(row)
  own = ('completion', 'prompt', 'problem_id', 'correct', 'cut', 'seed')
  return [
    {'prompt': chosen.prompt, 'chosen': chosen.following, 'rejected': rejected.following, 'problem_id': problem_id}
    | {'seed': chosen.seed}
    | {
      f'{side}_{name}': value
      for side, row in (('chosen', chosen), ('rejected', rejected))
      for name, value in vars(row).items()
      if name not in own
    }
    for problem_id in right
    for chosen, rejected in zip(right[problem_id], wrong[problem_id], strict=False)
  ]


def _sources(data: Data) -> Iterator[Row]:
  """Every solution that an example of the arm may be, in the order of its examples, without prompts."""
  said = data.said(data.folder)
  for folder in said.inputs:
    if layout.kind_of(folder) == layout.kind_of(data.folder):  # Of the round before.
      yield from _sources(dataclasses.replace(data, arm=data.study.arm(folder.rpartition('/')[2])))
  if data.arm.budget is not None:
    yield from _drawn(data)
  if data.arm.budget is None or said.settings.get('data.mix_gold'):
    for p in data.problems():
      for solution in p.solutions[:1]:
        none = dict.fromkeys(('index', 'seed', 'correct', 'valid', 'answer', 'tokens', 'cost'))
        given = {'problem_id': p.id, 'generator': PEOPLE, 'model': '', 'cut': False}
        yield Row(prompt='', completion=solution, **given, **none)


def _drawn(data: Data) -> Iterator[Row]:
  """All samples that the arm holds, without prompts."""
  cost = data.study.definitions()[data.study.cost]
  ids = [p.id for p in data.problems()]
  held = _of_policy(data) if data.arm.policy else [_of_generator(data, ids)]
  for generator, model, drawn, verdicts, read in held:
    by_problem = collections.defaultdict(list)
    for s in drawn:
      by_problem[s.problem_id].append(s)
    for problem_id in ids:
      for s in sorted(by_problem[problem_id], key=lambda s: s.index):
        yield _row(data, s, verdicts[s.problem_id, s.index], generator, model, cost, read[problem_id])


def _row(
  data: Data, s: Sample, v: Verdict, generator: str, model: str, cost: Cost, read: Prompts
) -> Row:
  return Row(
    prompt='',
    completion=s.text,
    problem_id=s.problem_id,
    generator=generator,
    model=model,
    index=s.index,
    seed=data.config['seed'] + data.question_set,
    correct=v.correct,
    valid=v.valid,
    answer=v.answer,
    cut=s.finish == 'length',
    tokens=len(s.tokens),
    cost=float(cost.completion(generator, read, len(s.tokens))),
  )


_Held = tuple[str, str, Sequence[Sample], Mapping[tuple[str, int], Verdict], Mapping[str, Prompts]]
"""Generator, its model, samples, verdicts, and what was read before the samples of each problem."""


def _of_generator(data: Data, ids: Sequence[str]) -> _Held:
  """The first samples of every problem."""
  g, s = data.arm.generator, data.question_set
  folder, graded = layout.samples(s, g), layout.verdicts(s, g)
  trained = [f for f in data.said(folder).inputs if layout.kind_of(f) == 'models']
  data.said(graded)
  wanted = set(ids)
  drawn = {}
  for x in _all(Sample, data.root / folder, layout.CHUNKS):
    if x.problem_id in wanted and x.index < data.arm.whole:
      drawn.setdefault((x.problem_id, x.index), x)  # One drawn twice, around a restart, is the same text.
  verdicts = {(v.problem_id, v.index): v for v in _all(Verdict, data.root / graded, layout.VERDICTS)}
  read = budget.read_prompts(data.root / folder, data.study.share_prefix)
  model = ', trained in '.join([_source(data, g), *trained])
  return g, model, list(drawn.values()), verdicts, read


def _of_policy(data: Data) -> Iterator[_Held]:
  """What a policy bought of each generator."""
  folder = layout.allocation(data.question_set, data.arm.name)
  data.said(folder)
  spent = files.read_json(data.root / folder / layout.ALLOCATION)
  for g in spent['generators']:
    drawn = list(records.read(Sample, data.root / folder / g / layout.HELD))
    verdicts = records.read(Verdict, data.root / folder / g / layout.GRADED)
    read = {p: Prompts(spent['prefix'][g], n, data.study.share_prefix) for p, n in spent['prompts'][g].items()}
    yield g, _source(data, g), drawn, {(v.problem_id, v.index): v for v in verdicts}, read


def _all(cls: type, folder: epath.Path, pattern: str) -> Iterator:
  return (x for path in sorted(folder.glob(pattern)) for x in records.read(cls, path))


def _source(data: Data, generator: str) -> str:
  """What the config names as the model that draws, or that one was trained from; of variants that of the set."""
  named = data.config['models'][generator.partition('.round')[0]]
  return named if isinstance(named, str) else named[data.question_set % len(named)]
