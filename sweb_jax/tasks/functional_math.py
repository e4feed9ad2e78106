"""Functional MATH: test problems of MATH with other numbers (Srivastava et al. 2024, arXiv 2402.19450).

A set to test on (1,745 rows in the snapshot of October 2023); it is asked like MATH.
"""

from __future__ import annotations

from collections.abc import Sequence

from etils import epath

from sweb_jax.answers import grade
from sweb_jax.answers.apart import Keys
from sweb_jax.records import Problem, Sample, Verdict
from sweb_jax.tasks import data_files, grading, splits
from sweb_jax.tasks import math as math_task

SOURCE = (
  'point --config.data_dir at a folder with Oct-2023.jsonl, plain or .gz: the problems of Oct-2023.tar.gz of '
  "github.com/ConsequentAI/fneval with the fields id ('test/algebra/6'), problem, level and solution"
)

_NAMES = ('Oct-2023', 'functional_math/Oct-2023')


class FunctionalMath:
  """The Task of Functional MATH: split 'test' only. Its solutions are the boxed answer alone, so none is kept."""

  stop_strings = math_task.Math.stop_strings
  zero_shot_stop_strings = math_task.Math.zero_shot_stop_strings
  second_opinion = True

  def __init__(self, data_dir: epath.PathLike):
    """Reads the file of `data_dir`, a folder or 'tfds:DIR'. Raises TaskError, which names what is at fault."""
    self._data_dir = data_dir
    found = data_files.require(data_dir, 'functional_math', 'test', _NAMES, SOURCE)
    rows = math_task.to_problems(found, 'test', 'functional_math', SOURCE)
    self._splits = {'test': [Problem(p.id, p.text, p.gold, level=p.level) for p in rows]}
    self._beside = math_task.beside(data_dir)
    splits.warn_of_copies('functional_math', rows, self._beside, 'problem')

  def problems(self, split: str, count: int, seed: int, levels: Sequence[str] = ()) -> list[Problem]:
    """The first `count` problems of 'test' in an order drawn by `seed`; levels as in MATH.

    Raises TaskError for another split, an unknown level, or more problems than there are.
    """
    return splits.choose('functional_math', self._splits, split, count, seed, levels)

  def prompt(self, problem: Problem) -> str:
    """The zero-shot prompt, that of MATH; a solution, which begins with a space, follows it directly."""
    return math_task.prompt(problem)

  def few_shot(self) -> str:
    """The four worked examples of MATH, whose train file must be in 'math' in the data folder or next to it.

    Functional MATH has none of its own. Raises TaskError where the file is not there.
    """
    return math_task.worked_examples(self._data_dir, self._beside, self.prompt)

  def same(self, problem: Problem, gold: str, answer: str) -> bool:
    """Whether two answers to a problem are equal: as in MATH, decimal ones within the tolerance of `computed`."""
    return grade.same('functional_math', gold, answer, problem.text)

  def keys(self, answer: str) -> Keys | None:
    """Keys by which answers are told apart (`answers.apart`)."""
    return grade.keys('functional_math', answer)

  def verdict(self, problem: Problem, sample: Sample) -> Verdict:
    """Right where the boxed answer equals the gold answer by `same`."""
    return grading.verdict('functional_math', problem, sample)
