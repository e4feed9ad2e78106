"""Functional MATH: test problems of MATH with other numbers (Srivastava et al. 2024, arXiv 2402.19450).

A set to test on (1,745 rows in the snapshot of October 2023); it is asked like MATH.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from etils import epath

from sweb_jax import answers
from sweb_jax.answers.math_equal import Policy, equal
from sweb_jax.records import Problem, Sample, Verdict
from sweb_jax.tasks import data_files, grading, splits
from sweb_jax.tasks import math as math_task

SOURCE = (
  'point --config.data_dir at a folder with Oct-2023.jsonl, plain or .gz: the problems of Oct-2023.tar.gz of '
  "github.com/ConsequentAI/fneval with the fields id ('test/algebra/6'), problem, level and solution"
)

ROUNDING = 0.005
"""A decimal gold answer is met within this, or this share of it where that is less: half a unit of the second place."""

ROUGH_PI = 1.1e-3
"""The share instead where the problem speaks of pi: 3.14 ** 2 is 1.01e-3 below pi ** 2."""

_DECIMAL = re.compile(r'[0-9]*\.[0-9]+')
_FRACTION = re.compile(r'(-?)(?:\\[dt]?frac\{([0-9]{1,18})\}\{([0-9]{1,18})\}|([0-9]{1,18})/([0-9]{1,18}))')
_PI = re.compile(r'\\pi(?![a-z])')
_NAMES = ('Oct-2023', 'functional_math/Oct-2023')


class FunctionalMath:
  """The Task of Functional MATH: split 'test' only. Its solutions are the boxed answer alone, so none is kept."""

  stop_strings = math_task.Math.stop_strings

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
    return math_task.worked_examples(self._data_dir, self._beside)

  def verdict(self, problem: Problem, sample: Sample) -> Verdict:
    """Right where the boxed answer equals the gold answer, a decimal one within the tolerance of `policy`."""
    share = tolerance(problem)
    return grading.verdict('functional_math', problem, sample, lambda gold, answer: _same(gold, answer, share))


def tolerance(problem: Problem) -> float:
  """How far from the gold answer a right one may be, as a share of it; 0 where the gold has no decimal point.

  Gold answers with a decimal point came out of floating-point arithmetic: some have 15 digits, some were rounded to two
  or three places without the problem saying so, and some were computed with pi = 3.14. Gold answers without one, and
  those in another base ('0.11_{2}'), are exact, and are compared as in MATH.
  """
  decimals = [float(n) for n in _DECIMAL.findall(problem.gold)]
  if not decimals or '_' in problem.gold:
    return 0.0
  share = ROUNDING / max(1.0, *decimals)
  return max(share, ROUGH_PI) if _PI.search(problem.text) else share


def _same(gold: str, answer: str, share: float) -> bool:
  if not share:
    return equal(gold, answer)
  policy = Policy(decimal_tolerance=share, rounded_gold=True, rough_pi=True)
  if equal(gold, answer, policy):
    return True
  # To `equal`, two values that decimals can spell are never near: 1.375 and 11/8 are not 1.38.
  expected, found = _value(gold), _value(answer)
  if expected is None or found is None:
    return False
  return math.isclose(expected, found, rel_tol=0, abs_tol=share * abs(expected) + 1e-12)


def _value(text: str) -> float | None:
  """The number of a plain decimal ('\\$1.38', '-2') or of a plain fraction ('\\frac{11}{8}', '11/8')."""
  text = text.strip().replace('\\$', '$')
  if fraction := _FRACTION.fullmatch(text):
    sign, *parts = fraction.groups()
    above, below = (int(p) for p in parts if p is not None)
    return None if not below else (-1 if sign else 1) * above / below
  number = answers.normal_number(text)
  return None if number is None else float(number)
