"""GSM8K: grade-school word problems with a whole number as answer (Cobbe et al. 2021, arXiv 2110.14168).

The files are read as published: `train.jsonl` (7,473 rows) and `test.jsonl` (1,319), fields `question` and `answer`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from etils import epath

from sweb_jax import answers
from sweb_jax.answers import grade
from sweb_jax.answers.apart import Keys
from sweb_jax.records import Problem, Sample, Verdict
from sweb_jax.tasks import TaskError, data_files, grading, splits

VALIDATION = 500
"""Problems of the train file that are set aside for validation (paper)."""

FEW_SHOT_ROWS = (
  637,  # Two steps, small numbers: the format at its plainest.
  628,  # A unit rate, with dollars.
  694,  # A fraction of a total.
  55,  # A percentage as answer, written without its sign.
  111,  # Prices and change.
  589,  # Working backwards from a total.
  189,  # A chain of comparisons.
  676,  # Four steps, decimals and a percentage.
)
"""0-based rows of the train file shown to a base model; they are in no split. Easy first, two to four steps each."""

SOURCE = (
  'point --config.data_dir at the folder of the public files '
  '(github.com/openai/grade-school-math, grade_school_math/data: train.jsonl and test.jsonl, plain or .gz)'
)

_ANNOTATION = re.compile(r'<<[^<>\n]*>>')


class Gsm8k:
  """The Task of GSM8K.

  Convention for white space: a prompt ends in 'Answer:' and every solution begins with ' ', the people's in
  `Problem.solutions` as well as a model's completion. So prompt and solution can be tokenised apart and joined:
  SentencePiece attaches a space to the word that follows it.

    prompt    'Question: How many eggs are 2 dozen?\\nAnswer:'
    solution  ' There are 2*12=24 eggs.\\n#### 24'

  `Problem.level` is the number of calculator annotations in the people's solution, 'steps 03'; '' where it has none.
  """

  stop_strings = ('\n\n', 'Question:')
  # Without examples a solution may have blank lines.
  zero_shot_stop_strings = ('\nQuestion:',)
  second_opinion = True

  def __init__(self, data_dir: epath.PathLike):
    """Reads both files of `data_dir`. Raises TaskError, which names the file, the line and the field at fault."""
    train = _read(data_dir, 'train', ('train', 'gsm8k/train'))
    test = _read(data_dir, 'test', ('test', 'gsm8k/test'))
    self._shots = _shots(data_dir, train)
    self._splits = {**splits.hold_out(train, self._shots, VALIDATION), 'test': test}
    splits.warn_of_copies('gsm8k', test, train, 'question')

  def problems(self, split: str, count: int, seed: int, levels: Sequence[str] = ()) -> list[Problem]:
    """The first `count` problems of `split` in an order drawn by `seed`; a smaller count is a prefix of a larger.

    Validation is a fixed set of 500 rows of the train file, chosen by a hash of the question. Raises TaskError for
    an unknown split or more problems than it has.
    """
    return splits.choose('gsm8k', self._splits, split, count, seed, levels)

  def prompt(self, problem: Problem) -> str:
    """The zero-shot prompt; a solution, which begins with a space, follows it directly."""
    return prompt(problem)

  def few_shot(self) -> str:
    """Eight worked examples, each with a blank line after it; the prompt of the problem follows directly."""
    return _examples(self._shots, self.prompt)

  def verdict(self, problem: Problem, sample: Sample) -> Verdict:
    """Right where the first `#### n` of the sample is the gold number; reasoning is not checked (paper)."""
    return grading.verdict('gsm8k', problem, sample)

  def same(self, problem: Problem, gold: str, answer: str) -> bool:
    """Whether two answers are the same number."""
    return grade.same('gsm8k', gold, answer)

  def keys(self, answer: str) -> Keys | None:
    """Keys by which answers are told apart (`answers.apart`)."""
    return grade.keys('gsm8k', answer)


def prompt(problem: Problem) -> str:
  """The zero-shot prompt of GSM8K and of tasks that are asked like it."""
  return f'Question: {problem.text}\nAnswer:'


def beside(data_dir: epath.PathLike) -> list[Problem]:
  """The train file for a task beside GSM8K: from 'gsm8k/train' in `data_dir` or next to it; empty where it is not."""
  names = ('gsm8k/train', '../gsm8k/train')
  return _read(data_dir, 'train', names) if data_files.read(data_dir, 'gsm8k', 'train', names, SOURCE) else []


def worked_examples(data_dir: epath.PathLike, train: Sequence[Problem], prompt: Callable[[Problem], str]) -> str:
  """The eight worked examples for a task beside GSM8K; `train` is from `beside`. Raises TaskError where it is empty."""
  if not train:
    raise TaskError(
      f'{data_dir}: the worked examples for a base model are those of GSM8K, and there is no gsm8k/train.jsonl in this '
      f'folder or next to it; {SOURCE}'
    )
  return _examples(_shots(data_dir, train), prompt)


def _shots(data_dir: epath.PathLike, train: Sequence[Problem]) -> list[Problem]:
  if len(train) <= max(FEW_SHOT_ROWS):
    raise TaskError(
      f'{data_dir}: the train file holds {len(train)} rows, and the few-shot examples are rows up to '
      f'{max(FEW_SHOT_ROWS)} of the public file, which has 7,473; {SOURCE}'
    )
  return [train[row] for row in FEW_SHOT_ROWS]


def _examples(shots: Sequence[Problem], prompt: Callable[[Problem], str]) -> str:
  return ''.join(f'{prompt(p)}{p.solutions[0]}\n\n' for p in shots)


def _read(data_dir: epath.PathLike, name: str, names: Sequence[str]) -> list[Problem]:
  """The rows of a split in file order; the id of a row is '{name}/{0-based row}'."""
  found = data_files.require(data_dir, 'gsm8k', name, names, SOURCE)
  return [_problem(row, f'{name}/{i}', where) for i, (where, row) in enumerate(found.rows)]


def _problem(row: dict, problem_id: str, where: str) -> Problem:
  question, answer = (data_files.text(row, field, where, SOURCE) for field in ('question', 'answer'))
  body, _, tail = answer.rpartition('####')
  gold = answers.normal_number(tail)
  if gold is None or not body.strip():
    raise TaskError(f"{where}: the field 'answer' must be a solution that ends in '#### n', n a number; {SOURCE}")
  # Blank lines go: a blank line ends a completion (`stop_strings`), and a model learns what it is shown.
  lines = [line.rstrip() for line in _ANNOTATION.sub('', body).split('\n') if line.strip()]
  steps = len(_ANNOTATION.findall(body))
  return Problem(
    id=problem_id,
    text=question.strip(),
    gold=gold,
    solutions=(' ' + '\n'.join([*lines, f'#### {gold}']).lstrip(),),
    level=f'steps {steps:02d}' if steps else '',
  )
