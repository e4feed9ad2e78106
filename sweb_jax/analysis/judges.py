"""What a judge model says of kept solutions, and how far it can be trusted where the task knows better."""

from __future__ import annotations

import dataclasses

import numpy as np
from etils import epath
from jaxtyping import Bool, Float

from sweb_jax import layout, records
from sweb_jax.analysis import intervals
from sweb_jax.analysis.cells import cells, interval_note, rounded, with_bounds
from sweb_jax.analysis.results import Results
from sweb_jax.analysis.study import damaged
from sweb_jax.analysis.table import Table
from sweb_jax.answers.judge import Opinion
from sweb_jax.records import Problem

NAME = 'judges'
FIGURES = ('FPR', 'no opinion', 'precision', 'recall', 'FPR corrected')


@dataclasses.dataclass(frozen=True, eq=False)
class Opinions:
  """What a judge said of a generator's samples on one question set."""

  asked: Bool[np.ndarray, 'P M']
  right: Float[np.ndarray, 'P M']
  """1 right, 0 wrong, NaN without an opinion or where it was not asked."""


def read(workdir: epath.PathLike, results: Results, name: str) -> dict[tuple[int, str], Opinions]:
  """(question set, generator) -> opinions on samples, where a judge was asked; `name` is `layout.KEPT` or `ALL`.

  Raises AnalysisError for an opinion on a sample that is not there.
  """
  root, found = epath.Path(workdir), {}
  for (s, g), draws in results.drawn.items():
    path = root / layout.opinions(s, g, name) / layout.OPINIONS
    if not path.exists():
      continue
    problems = records.read(Problem, root / layout.problems(s, 'train') / layout.PROBLEMS)
    row_of = {p.id: i for i, p in enumerate(problems)}
    asked, right = np.zeros(draws.correct.shape, bool), np.full(draws.correct.shape, np.nan)
    try:
      for o in records.read(Opinion, path):
        place = row_of[o.problem_id], o.index
        if not (place[0] < asked.shape[0] and place[1] < asked.shape[1]):
          continue  # Of a study that was larger.
        asked[place], right[place] = True, np.nan if o.right is None else o.right
    except (records.RecordError, LookupError) as e:
      raise damaged(f'{path}: cannot be read, or is of no sample ({e})') from e
    found[s, g] = Opinions(asked, right)
  return found


def build(results: Results, workdir: epath.PathLike) -> list[Table]:
  """The table, or none where nothing was judged."""
  opinions = read(workdir, results, layout.KEPT)
  if not opinions:
    return []
  study = results.study
  share = _pooled(results, opinions)
  rows = []
  for arm in study.drawn_arms:
    if not (sets := results.sets(opinions, (arm.generator,))):
      continue
    terms: dict[str, list] = {name: [] for name in FIGURES[:4]}
    for s in sets:
      draws, said = results.drawn[s, arm.generator].first(arm.samples), opinions[s, arm.generator]
      asked, right = (a[:, : arm.samples] for a in (said.asked, said.right))
      yes, has, known = right == 1, ~np.isnan(right), ~np.isnan(draws.valid)
      valid = draws.valid == 1
      for name, hit, of in (
        ('FPR', right == 0, has),
        ('no opinion', asked & ~has, asked),
        ('precision', valid & yes, yes & known),
        ('recall', yes, valid & has),
      ):
        terms[name].append(np.stack([(hit & of).sum(axis=1), of.sum(axis=1)], axis=1).astype(float))
    estimates = [intervals.estimate(terms[name]) for name in FIGURES[:4]]
    corrected = cells([estimates[0]])
    if estimates[0] and share:
      corrected = [rounded(rogan_gladen(float(rate), *share)) for rate in corrected]
    else:
      corrected = [None] * 3
    judged = round(sum(float(t[:, 1].sum()) for t in terms['no opinion']))
    kept = sum(int(results.drawn[s, arm.generator].first(arm.samples).correct.sum()) for s in sets)
    rows.append((arm.name, arm.generator, arm.samples, *cells(estimates), *corrected, judged, kept))
  config = results.config.get('judge', {})
  reads = 'a right solution beside each' if config.get('gold') else 'no right solution'
  return [
    Table(
      NAME,
      'False positives by a judge model',
      ('arm', 'generator', 'k', *with_bounds(FIGURES), 'judged', 'kept'),
      tuple(rows),
      f'The judge is {config.get("model", "not named")!r}, and reads {reads}. It was asked about some of the kept '
      'samples of each generator, chosen by the seed. FPR: share of those with an opinion that it calls wrong. no '
      'opinion: share of the judged whose answer does not end in a verdict. precision: share of what it calls right '
      'whose reasoning is right, recall: share of what is right that it calls right; only where the task can check '
      'reasoning. '
      + _correction(share)
      + interval_note(study),
    )
  ]


def rogan_gladen(rate: float, sensitivity: float, specificity: float) -> float:
  """The share of wrong solutions, from the share that an imperfect judge calls wrong.

  (rate + specificity - 1) / (sensitivity + specificity - 1), cut at 0 and 1 (Rogan and Gladen 1978). Sensitivity: share
  of wrong ones that it calls wrong; specificity: of right ones that it calls right. Raises ValueError where the two
  together are not above 1: such a judge says nothing.
  """
  if sensitivity + specificity <= 1:
    raise ValueError(f'sensitivity {sensitivity} and specificity {specificity} are those of a guess')
  return min(max((rate + specificity - 1) / (sensitivity + specificity - 1), 0.0), 1.0)


def _pooled(
  results: Results, opinions: dict[tuple[int, str], Opinions]
) -> tuple[float, float] | None:
  """Sensitivity and specificity over all generators and sets; None where they are unknown, or those of a guess."""
  said = np.concatenate([o.right.ravel() for o in opinions.values()])
  valid = np.concatenate([results.drawn[key].valid.ravel() for key in opinions])
  known = ~np.isnan(said) & ~np.isnan(valid)
  wrong, right = said[known & (valid == 0)], said[known & (valid == 1)]
  if not len(wrong) or not len(right):
    return None
  share = float((wrong == 0).mean()), float((right == 1).mean())
  return share if sum(share) > 1 else None


def _correction(share: tuple[float, float] | None) -> str:
  if share is None:
    return (
      'FPR corrected: not known, as nothing tells how often the judge errs on these tasks, or it does no better than a '
      'guess. '
    )
  return (
    f'FPR corrected: by Rogan and Gladen, as the judge calls {share[0]:.3f} of the wrong and {share[1]:.3f} of the '
    'right ones what they are, over all generators and sets; the interval takes these two as exact. '
  )
