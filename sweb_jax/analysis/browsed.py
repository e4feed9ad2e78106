"""The data of the page of samples: what was drawn for training problems, and answered to test problems.

A script holds the state of every sample, a letter each, and one for every `CHUNK` characters their texts.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from etils import epath

from sweb_jax import layout, records
from sweb_jax.analysis import samples_page
from sweb_jax.analysis.results import checkpoint
from sweb_jax.analysis.study import Study, damaged, done
from sweb_jax.records import Problem, Sample, Verdict
from sweb_jax.runtime import files
from sweb_jax.runtime.by_problem import ByProblem

LIMIT = 50_000
"""Samples that a report holds of training problems, and as many of tests; of a larger study of its first problems."""
CHUNK = 200_000
TRAINING, TEST = 'training problems', 'test problems'
STATES = {
  'r': 'right',
  'f': 'false positive: right answer, wrong reasoning',
  'w': 'wrong answer',
  'n': 'no answer',
  't': 'truncated',
  'u': 'could not be graded',
}

Labels = Mapping[tuple[str, int, str, int], str]
"""Generator, question set, problem id and index of a sample -> what a person said of its reasoning."""


class Source(NamedTuple):
  """Who drew samples of the problems of a shelf, and where they are."""

  name: str
  samples: str
  verdicts: str
  count: int
  """A problem."""


class Shelf(NamedTuple):
  """Problems of a question set, and all that was drawn for them."""

  question_set: int
  of: str
  """TRAINING, TEST, or the name of a further test set."""
  problems: str
  """Their step."""
  sources: tuple[Source, ...]


def write(root: epath.Path, study: Study, prompt: Callable[[Problem], str], labels: Labels) -> None:
  """Writes report/samples.html and its data, of what is drawn and graded.

  `prompt` renders a problem as the learner sees it.
  """
  folder, kept = root / layout.BROWSED, {layout.BROWSED_INDEX}
  index: dict[str, Any] = {'states': STATES, 'arms': _arms(study), 'sets': [], 'chunks': 0, 'problems': 0}
  extents = {step.folder: step.extent for step in study.steps}
  training, tests = list(_training(root, study)), list(_tests(root, study))
  for shelf in (*training, *tests):
    most = _most(training if shelf.of == TRAINING else tests)
    problems = list(records.read(Problem, root / shelf.problems / layout.PROBLEMS))
    problems = problems[: extents[shelf.problems]['problems']]
    shown, chunk, size = problems[:most], [], 0
    drawn = [_graded(root, source, [p.id for p in shown]) for source in shelf.sources]
    found = {'set': shelf.question_set, 'of': shelf.of, 'problems': [p.id for p in shown], 'chunk': []}
    found['states'] = dict.fromkeys((source.name for source in shelf.sources), '')
    index['problems'] += len(problems)
    for p, *by_source in zip(shown, *drawn, strict=True):
      text = prompt(p) if shelf.of in (TRAINING, TEST) else p.text
      row = {'text': text, 'gold': p.gold, 'solution': (p.solutions or ('',))[0], 'level': p.level, 'samples': {}}
      for source, (samples, verdicts) in zip(shelf.sources, by_source, strict=True):
        name, told = source.name, labels if shelf.of == TRAINING else {}
        try:
          pairs = [
            (samples[i], verdicts[i], told.get((name, shelf.question_set, p.id, i))) for i in range(source.count)
          ]
        except KeyError as e:
          raise damaged(f'{root / source.samples}: no sample, or no verdict, {e} of {p.id!r}') from e
        found['states'][name] += ''.join(_state(*pair) for pair in pairs)
        row['samples'][name] = [_shown(*pair) for pair in pairs]
      chunk.append(json.dumps(row))
      found['chunk'].append(index['chunks'])
      size += len(chunk[-1])
      if size > CHUNK or p is shown[-1]:
        name = layout.numbered(layout.BROWSED_TEXTS, index['chunks'])
        files.write_text(folder / name, f'texts({index["chunks"]}, [{", ".join(chunk)}]);\n')
        kept.add(name)
        index['chunks'] += 1
        chunk, size = [], 0
    index['sets'].append(found)
  files.write_text(folder / layout.BROWSED_INDEX, f'const index = {json.dumps(index)};\n')
  for old in folder.glob('*'):
    if old.name not in kept:
      old.unlink()  # Of an earlier report, which had more to show.
  files.write_text(root / layout.BROWSER, samples_page.render(study.name))


def links(study: Study) -> dict[str, str]:
  """Arm -> the address of its false positives, of arms that can be asked for."""
  return {arm: f'samples.html#state=f&arm={arm}' for arm in _arms(study)}


def _arms(study: Study) -> dict[str, tuple[str, int]]:
  """Arm -> its generator, and how many of its first samples of every problem it holds."""
  return {a.name: (a.generator, a.whole) for a in study.drawn_arms if a.samples == a.whole}


def _training(root: epath.Path, study: Study) -> Iterator[Shelf]:
  """What generators drew, of the question sets that are drawn and graded."""
  finished, extents = done(root, study), {step.folder: step.extent for step in study.steps}
  for s in study.question_sets:
    asked, sources = layout.problems(s, 'train'), []
    for g in study.generators:
      samples, verdicts = layout.samples(s, g), layout.verdicts(s, g)
      if all(finished.get(folder) == '' for folder in (asked, samples, verdicts)):
        sources.append(Source(g, samples, verdicts, extents[verdicts]['samples']))
    if sources:
      yield Shelf(s, TRAINING, asked, tuple(sources))


def _tests(root: epath.Path, study: Study) -> Iterator[Shelf]:
  """Greedy answers of every learner that was tested, before fine-tuning and after it on each arm with each seed."""
  finished = done(root, study)
  for test in (layout.TEST, *study.tests):
    for s in study.question_sets:
      asked, sources = layout.problems(s, test if test == layout.TEST else layout.transfer(test)), []
      for learner in study.learners:
        for source in study.sources:
          for run in study.runs(source):
            folder = layout.scores(test, s, learner, run)
            if finished.get(folder) == '' == finished.get(asked):
              chosen = checkpoint(root, source, layout.model(s, learner, run))
              greedy = f'{folder}/{chosen}/{layout.GREEDY}'
              name = f'{learner} before fine-tuning' if source == layout.BASE else f'{learner} on {run}'
              sources.append(Source(name, greedy, greedy, 1))
      if sources:
        yield Shelf(s, TEST if test == layout.TEST else f'test set {test}', asked, tuple(sources))


def _most(shelves: Sequence[Shelf]) -> int:
  """Problems of each of them that are shown."""
  return max(1, LIMIT // max(1, sum(source.count for shelf in shelves for source in shelf.sources)))


def _graded(
  root: epath.Path, source: Source, ids: Sequence[str]
) -> Iterator[tuple[dict[int, Sample], dict[int, Verdict]]]:
  """The samples of each of some problems, and their verdicts, by index."""
  # Of a sample drawn twice, around a restart, the first; of verdicts on the same sample the last.
  samples = ByProblem(Sample, sorted((root / source.samples).glob(layout.CHUNKS)), of=ids)
  verdicts = ByProblem(Verdict, sorted((root / source.verdicts).glob(layout.VERDICTS)), latest=True, of=ids)
  for pair in zip(samples.read(ids), verdicts.read(ids), strict=True):
    yield tuple({row.index: row for row in rows} for rows in pair)


def _state(sample: Sample, verdict: Verdict, label: str | None) -> str:
  """The letter of `STATES`. On reasoning, a person's word stands before the checker's."""
  if verdict.correct:
    return 'f' if label == 'wrong' or (label != 'right' and verdict.valid is False) else 'r'
  if verdict.reason.startswith(records.UNGRADED):
    return 'u'
  return 't' if sample.finish == 'length' else 'n' if verdict.answer is None else 'w'


def _shown(sample: Sample, verdict: Verdict, label: str | None) -> list[Any]:
  """Text, answer, and what is said of it."""
  same = verdict.reason == STATES[_state(sample, verdict, label)]
  said = [*([] if same else [verdict.reason]), f'{len(sample.tokens)} tokens']
  if verdict.valid is not None:
    said.append(f'reasoning {"right" if verdict.valid else "wrong"} by the checker')
  if label:
    said.append(f'reasoning {label} by a person')
  if verdict.second_reason == 'differs':
    said.append('math-verify differs')
  return [sample.text, verdict.answer, '; '.join(said)]
