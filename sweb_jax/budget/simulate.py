"""What a policy would have bought: a recorded sample store, replayed under any policy and budget."""

from __future__ import annotations

import array
import bisect
import dataclasses
import itertools
from collections.abc import Iterable, Mapping, Sequence

from etils import epath

from sweb_jax import layout, records
from sweb_jax.budget.allocate import Outcome, allocate
from sweb_jax.budget.cost import BudgetError, Cost, Prompts
from sweb_jax.budget.policies import KINDS, Policy, Want, policies
from sweb_jax.models import decoder, families
from sweb_jax.records import Problem, Sample, Verdict
from sweb_jax.runtime import files, manifest


class Recorded:
  """The graded samples of a generator for a problem: 16 bytes each, with a place for every verdict."""

  def __init__(self):
    self._verdicts, self._tokens, self._texts = array.array('i'), array.array('i'), array.array('q')

  def judge(self, codes: Iterable[int]) -> None:
    """Makes places. A code is twice an index, and one more where correct; of two codes of an index the later stands.

    Samples that are there keep theirs.
    """
    rows = zip(self._verdicts, self._tokens, self._texts, strict=True)
    places = {code // 2: (code, _MISSING, 0) for code in codes}
    places |= {verdict // 2: (verdict, tokens, text) for verdict, tokens, text in rows if tokens != _MISSING}
    columns = zip(*sorted(places.values()), strict=True) if places else ((), (), ())
    self._verdicts, self._tokens, self._texts = map(array.array, 'iiq', columns)

  def add(self, index: int, tokens: int, text: str) -> bool:
    """Puts a sample in its place. False where there is none, as it has no verdict; the first of an index stays."""
    at = self._at(index)
    if at is None:
      return False
    if self._tokens[at] == _MISSING:
      self._tokens[at] = tokens
      if self._verdicts[at] % 2:
        self._texts[at] = records.text_key(text)
    return True

  def outcome(self, index: int) -> Outcome | None:
    """Of a sample; None where there is none."""
    at = self._at(index)
    if at is None or self._tokens[at] == _MISSING:
      return None
    return Outcome(self._tokens[at], bool(self._verdicts[at] % 2))

  def right(self, indices: Iterable[int]) -> list[int]:
    """The names of the texts of those that are correct, white space aside."""
    at = [a for i in indices if (a := self._at(i)) is not None]
    return [self._texts[a] for a in at if self._verdicts[a] % 2 and self._tokens[a] != _MISSING]

  def depth(self) -> int:
    """Samples from the first on without a gap."""
    found = zip(self._verdicts, self._tokens, strict=True)
    gaps = (n for n, (verdict, tokens) in enumerate(found) if n != verdict // 2 or tokens == _MISSING)
    return next(gaps, len(self._verdicts))

  def _at(self, index: int) -> int | None:
    found = self._verdicts
    if index < len(found) and found[index] // 2 == index:  # Mostly there is no gap.
      return index
    at = bisect.bisect_left(found, 2 * index)
    return at if at < len(found) and found[at] // 2 == index else None


_MISSING = -1
"""Tokens of a sample that was not read (yet)."""


@dataclasses.dataclass(frozen=True)
class Record:
  """The graded samples of one question set of a workdir."""

  name: str
  seed: int
  """Of the set, as the study has it: a replay goes the way of the run."""
  problems: tuple[str, ...]
  samples: Mapping[Want, Recorded]
  shapes: Mapping[str, decoder.Decoder]
  """Generator -> architecture, the cheaper generator first."""
  prompts: Prompts
  """As the config assumes them: lengths of single prompts are not recorded."""
  tokens: int
  """Assumed length of a completion."""
  policies: Mapping[str, Mapping]
  """Of the config."""

  def depth(self, generator: str) -> int:
    """Samples that every problem has."""
    return min((self.samples[generator, p].depth() for p in self.problems), default=0)


@dataclasses.dataclass(frozen=True)
class Bought:
  """What one budget bought on one question set; lists are by problem."""

  spent: float
  samples: int
  ended: str
  solved: list[bool]
  unique: list[int]
  correct: list[int]


def read_records(workdir: epath.PathLike) -> list[Record]:
  """The question sets of a workdir whose stage `grade` is done. Raises BudgetError where something is missing."""
  root = epath.Path(workdir)
  try:
    study, config = files.read_json(root / layout.STUDY), files.read_json(root / layout.CONFIG)
    shapes = {g: families.from_fields(study['shapes'][g]) for g in config['generators']}
    estimate, few_shot = config['estimate'], config['sampling']['few_shot']
    done = {step['folder']: step for step in study['steps'] if _done(root, step)}
  except FileNotFoundError as e:
    raise BudgetError(f'{root} is not a workdir of a study ({e.filename} is missing); run the stage plan first') from e
  except (KeyError, TypeError, ValueError) as e:
    what = f'{layout.STUDY} or {layout.CONFIG}'
    raise BudgetError(f'{root}: {what} is damaged, or lacks a field ({e}); run the stage plan again') from e
  prompts = Prompts(estimate['few_shot_tokens'] * few_shot, estimate['prompt_tokens'], config['cost']['share_prefix'])
  found = []
  for s in study['question_sets']:
    train = layout.problems(s, 'train')
    problems: tuple[str, ...] = ()
    if train in done:
      rows = records.read(Problem, root / train / layout.PROBLEMS)
      problems = tuple(p.id for p in itertools.islice(rows, done[train]['extent']['problems']))
    samples = {(g, p): Recorded() for g in shapes for p in problems}
    graded = []
    for g in shapes:
      if layout.verdicts(s, g) in done:
        drawn = sorted((root / layout.samples(s, g)).glob(layout.CHUNKS))
        judged = sorted((root / layout.verdicts(s, g)).glob(layout.VERDICTS))
        graded.append(_read(samples, g, problems, drawn, judged))
      for arm in (a['name'] for a in study['arms'] if a['policy']):
        folder = root / layout.allocation(s, arm) / g
        if layout.allocation(s, arm) in done and (folder / layout.HELD).exists():
          graded.append(_read(samples, g, problems, [folder / layout.HELD], [folder / layout.GRADED]))
    if not any(graded):
      raise BudgetError(f'{root}: question set {s} has no graded samples; run the stages plan, sample and grade first')
    cheap_first = dict(sorted(shapes.items(), key=lambda item: item[1].parameters))
    found.append(
      Record(
        f'{root.name}, set {s}', config['seed'] + s, problems, samples, cheap_first, prompts,
        estimate['completion_tokens'], config['policies'],
      )
    )  # fmt: skip
  return found


def _done(root: epath.Path, step: Mapping) -> bool:
  said = manifest.read(root, step['folder'])
  return said is not None and said.done and said.version == step['version'] and not said.nothing


def _read(
  samples: Mapping[Want, Recorded],
  generator: str,
  problems: Sequence[str],
  chunks: Sequence[epath.Path],
  judged: Sequence[epath.Path],
) -> int:
  """Adds the samples of some files that have a verdict in others; returns how many there were.

  Of two verdicts on a sample the later stands, of two samples of an index the first.
  """
  codes = {p: array.array('i') for p in problems}
  for v in records.read(Verdict, *judged):
    if v.problem_id in codes:
      codes[v.problem_id].append(2 * v.index + v.correct)
  for p in problems:
    samples[generator, p].judge(codes.pop(p))
  return sum(
    samples[generator, s.problem_id].add(s.index, len(s.tokens), s.text)
    for s in records.read(Sample, *chunks)
    if (generator, s.problem_id) in samples
  )


def named(names: Sequence[str], record: Record) -> dict[str, Policy]:
  """Policies by name: of the record's config, or a kind with its number.

    'until_solved:2' (right solutions), 'by_difficulty:4' and 'cascade:10' (first samples of every problem),
    'mixture:0.5' (share of the dearest generator); without a number the kind's default, of a mixture one half.

  Raises BudgetError for any other name, and for numbers that make no sense.
  """
  generators = tuple(record.shapes)
  wanted = {}
  for name in names:
    kind, _, number = name.partition(':')
    if name in record.policies:
      wanted[name] = record.policies[name]
      continue
    if kind not in KINDS:
      of_config = f' and, of the config, {", ".join(record.policies)}' if record.policies else ''
      raise BudgetError(f'{name!r} is not a policy; kinds are {", ".join(KINDS)}{of_config}')
    field = {'until_solved': 'correct', 'by_difficulty': 'first', 'cascade': 'first'}.get(kind)
    try:
      value = (float(number) if kind == 'mixture' else int(number)) if number else None
    except ValueError:
      raise BudgetError(f'policy {name!r}: {number!r} is not a number') from None
    fields: dict = {'kind': kind}
    if kind in ('cascade', 'mixture') and len(generators) < 2:
      raise BudgetError(f'policy {name!r} needs two generators, found {", ".join(generators)}')
    if kind == 'cascade':
      fields['generators'] = (generators[0], generators[-1])
    if kind == 'mixture':
      share = 0.5 if value is None else value
      fields['shares'] = {generators[-1]: share, generators[0]: 1 - share}
    elif number and field is None:
      raise BudgetError(f'policy {name!r}: {kind} takes no number')
    elif number:
      fields[field] = value
    wanted[name] = fields
  return policies(wanted, generators)


def simulate(record: Record, policy: Policy, budget: float, cost: Cost) -> Bought:
  """Spends `budget` on the record as `policy` wants. Raises BudgetError as `allocate` does."""
  correct = {p: array.array('q') for p in record.problems}
  spent = allocate(
    policy,
    record.problems,
    budget=budget,
    cost=cost,
    prompts={g: dict.fromkeys(record.problems, record.prompts) for g in policy.generators},
    tokens=dict.fromkeys(policy.generators, record.tokens),
    seed=record.seed,
    draw=lambda asks: (record.samples[g, p].outcome(index) for g, p, index in asks),
  )
  for want, indices in spent.samples.items():
    correct[want[1]].extend(record.samples[want].right(indices))
  return Bought(
    spent.total,
    spent.count,
    spent.ended,
    [bool(t) for t in correct.values()],
    [len(set(t)) for t in correct.values()],
    [len(t) for t in correct.values()],
  )
