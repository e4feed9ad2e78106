"""SVAMP: word problems of one step, varied to show shallow reading (Patel et al. 2021, arXiv 2103.07191).

A set to test on (1,000 rows); its prompts are those of GSM8K, so that a model trained on GSM8K can be tried on it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from etils import epath

from sweb_jax.answers import grade
from sweb_jax.answers.apart import Keys
from sweb_jax.records import Problem, Sample, Verdict
from sweb_jax.tasks import TaskError, data_files, grading, gsm8k, splits

SOURCE = (
  'point --config.data_dir at a folder with the test file (github.com/ZubinGou/math-evaluation-harness, '
  'data/svamp/test.jsonl, plain or .gz)'
)


class Svamp:
  """The Task of SVAMP: split 'test' only. The text of a problem is its `Body`, then its `Question`."""

  stop_strings = gsm8k.Gsm8k.stop_strings
  zero_shot_stop_strings = gsm8k.Gsm8k.zero_shot_stop_strings
  second_opinion = True

  def __init__(self, data_dir: epath.PathLike):
    """Reads the test file of `data_dir`, a folder or 'tfds:DIR'. Raises TaskError, which names what is at fault."""
    self._data_dir = data_dir
    found = data_files.require(data_dir, 'svamp', 'test', ('test', 'svamp/test'), SOURCE)
    self._splits = {'test': [_problem(row, where) for where, row in found.rows]}
    if len({p.id for p in self._splits['test']}) != len(found.rows):
      raise TaskError(f"{found.place}: an 'ID' stands twice; {SOURCE}")
    self._beside = gsm8k.beside(data_dir)
    splits.warn_of_copies('svamp', self._splits['test'], self._beside, 'question')

  def problems(self, split: str, count: int, seed: int, levels: Sequence[str] = ()) -> list[Problem]:
    """The first `count` problems of 'test' in an order drawn by `seed`; levels are the kinds of step, 'Addition' ...

    Raises TaskError for another split, an unknown level, or more problems than there are.
    """
    return splits.choose('svamp', self._splits, split, count, seed, levels)

  def prompt(self, problem: Problem) -> str:
    """The zero-shot prompt, in the form of GSM8K; a solution, which begins with a space, follows it directly."""
    return gsm8k.prompt(problem)

  def few_shot(self) -> str:
    """The eight worked examples of GSM8K, whose train file must be in 'gsm8k' in the data folder or next to it.

    SVAMP has none of its own. Raises TaskError where the file is not there.
    """
    return gsm8k.worked_examples(self._data_dir, self._beside, self.prompt)

  def verdict(self, problem: Problem, sample: Sample) -> Verdict:
    """Right where the first `#### n` of the sample is the gold number."""
    return grading.verdict('svamp', problem, sample)

  def same(self, problem: Problem, gold: str, answer: str) -> bool:
    """Whether two answers are the same number."""
    return grade.same('svamp', gold, answer)

  def keys(self, answer: str) -> Keys | None:
    """Keys by which answers are told apart (`answers.apart`)."""
    return grade.keys('svamp', answer)


def _problem(row: dict, where: str) -> Problem:
  body, question, name = (data_files.text(row, field, where, SOURCE).strip() for field in ('Body', 'Question', 'ID'))
  try:
    answer = float(row['Answer'])  # A text in what TFDS prepared.
  except (KeyError, TypeError, ValueError):
    answer = math.nan
  if not math.isfinite(answer):
    raise TaskError(f"{where}: the field 'Answer' is missing or not a number; {SOURCE}")
  # A body that ends in the middle of its sentence, 'If 2 are left', goes on into the question.
  text = body + (' ' if body.endswith(('.', '?', '!', ',')) else ', ') + question
  kind = row.get('Type')
  # One row of the public file spells its kind 'Common-Divison'.
  level = kind.strip().replace('Divison', 'Division') if isinstance(kind, str) else ''
  gold = str(int(answer)) if answer == int(answer) else repr(answer)
  return Problem(f'test/{name}', text, gold, level=level)
