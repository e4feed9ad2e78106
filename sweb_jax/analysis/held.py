"""What an arm holds: the samples its budget bought, however they were shared out, and what they were charged."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from etils import epath
from jaxtyping import Bool, Int

from sweb_jax import budget, layout, records
from sweb_jax.analysis import metrics
from sweb_jax.analysis.draws import Draws
from sweb_jax.analysis.study import Study
from sweb_jax.answers.judge import Opinion
from sweb_jax.budget import Arm, Prompts
from sweb_jax.records import Sample, Verdict
from sweb_jax.runtime import files


@dataclasses.dataclass(frozen=True, eq=False)
class Held:
  """One arm on one question set."""

  solved: Bool[np.ndarray, ' P']
  """Some sample is correct."""
  unique: Int[np.ndarray, ' P']
  """Different correct solutions, white space aside."""
  correct: Int[np.ndarray, ' P']
  """Correct samples."""
  samples: Mapping[str, int]
  """By generator."""
  spent: Mapping[str, float]
  """By definition of cost: prompts and samples."""
  budget: float | None
  """Of a policy, in the study's definition of cost; None where a number of samples is given."""
  ended: str = 'budget'
  """'record': a policy wanted more when no more samples were recorded."""


def read_held(
  root: epath.Path, study: Study, question_set: int, arm: Arm, problems: Sequence[str], draws: Draws | None
) -> Held:
  """Reads an arm of drawn samples, and counts what it cost.

  `draws` are all samples of the arm's generator, of which an arm without a policy holds the first. Raises ValueError,
  KeyError or OSError where a file is missing or damaged.
  """
  costs = study.definitions()
  if arm.policy is None:
    g, first = arm.generator, draws.first(arm.samples)
    unique = metrics.diversity(first.keys, first.correct, arm.samples).round().astype(int)
    read = budget.read_prompts(root / layout.samples(question_set, g), study.share_prefix)
    lengths = dict(zip(problems, first.tokens.tolist(), strict=True))
    spent = {name: budget.charged(cost, g, read, lengths) for name, cost in costs.items()}
    for name, more in _judged(root, study, question_set, arm).items():
      spent[name] += more
    held = {g: first.tokens.size}
    return Held(first.correct.any(axis=1), unique, first.correct.sum(axis=1), held, spent, None)
  row_of = {p: i for i, p in enumerate(problems)}
  texts: list[set[int]] = [set() for _ in problems]
  count = np.zeros(len(problems), int)
  folder = root / layout.allocation(question_set, arm.name)
  said = files.read_json(folder / layout.ALLOCATION)
  held, spent = {}, collections.Counter(dict.fromkeys(costs, 0))
  for g in said['generators']:
    pairs = records.read(Sample, folder / g / layout.HELD), records.read(Verdict, folder / g / layout.GRADED)
    lengths = collections.defaultdict(list)
    for s, v in zip(*pairs, strict=True):
      lengths[s.problem_id].append(len(s.tokens))
      if v.correct:
        count[row_of[s.problem_id]] += 1
        texts[row_of[s.problem_id]].add(records.text_key(s.text))
    held[g] = sum(map(len, lengths.values()))
    each = said.get('each', {}).get(g, 0)
    read = {p: Prompts(said['prefix'][g], n, study.share_prefix, each) for p, n in said['prompts'][g].items()}
    for name, cost in costs.items():
      spent[name] += budget.charged(cost, g, read, lengths)
  unique, ended = np.array([len(t) for t in texts]), said.get('ended', 'budget')
  return Held(count > 0, unique, count, held, dict(spent), said['budget'], ended)


def cost_of_samples(
  root: epath.Path, study: Study, question_set: int, generator: str, problems: Sequence[str], draws: Draws
) -> tuple[float, float]:
  """What counts as cost in the study: of what is read for a problem, and of one sample; means of a question set.

  Raises ValueError, KeyError or OSError where a file is missing or damaged.
  """
  cost, count = study.definitions()[study.cost], len(problems)
  read = budget.read_prompts(root / layout.samples(question_set, generator), study.share_prefix)
  prompts = [read[p] for p in problems]
  once = cost.prefix(generator, prompts[0]) + sum(cost.prompt(generator, p) for p in prompts)
  lengths = zip(prompts, draws.tokens.tolist(), strict=True)
  drawn = sum(cost.completion(generator, p, tokens) for p, row in lengths for tokens in row)
  return once / count, drawn / draws.tokens.size


def _judged(root: epath.Path, study: Study, question_set: int, arm: Arm) -> dict[str, float]:
  """What a judge that filters an arm read and drew for it, by definition of cost."""
  folder = root / layout.opinions(question_set, arm.generator, layout.ALL)
  if arm.name not in study.judged or not folder.exists():
    return {}
  judge, prefix = study.judge, files.read_json(folder / layout.PROMPTS)['prefix']
  opinions = [o for o in records.read(Opinion, folder / layout.OPINIONS) if o.index < arm.samples]
  names = [f'{o.problem_id}/{o.index}' for o in opinions]
  read = {n: Prompts(prefix, o.read, study.share_prefix) for n, o in zip(names, opinions, strict=True)}
  lengths = {n: [o.tokens] for n, o in zip(names, opinions, strict=True)}
  return {name: budget.charged(cost, judge, read, lengths) for name, cost in study.definitions().items()}
