"""MATH: competition problems of five levels (Hendrycks et al. 2021, arXiv 2103.03874).

Train: `train.jsonl` (7,500 rows). Test: MATH-500, the 500 test problems of Lightman et al. 2023 (arXiv 2305.20050).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from absl import logging
from etils import epath

from sweb_jax.answers import extract, grade
from sweb_jax.answers.apart import Keys
from sweb_jax.records import Problem, Sample, Verdict
from sweb_jax.tasks import TaskError, data_files, grading, splits

VALIDATION = 500
"""Problems of the train file that are set aside for validation (paper)."""

FEW_SHOT = ('train/algebra/943', 'train/precalculus/372', 'train/algebra/256', 'train/algebra/1951')
"""Train items shown to a base model; they are in no split. The problems of the Minerva prompt (arXiv 2206.14858)."""

LEVELS = ('Level 1', 'Level 2', 'Level 3', 'Level 4', 'Level 5')

SOURCE = (
  "point --config.data_dir at a folder with train.jsonl (fields id, such as 'train/algebra/943', problem, level and "
  'solution) and math500.jsonl (github.com/openai/prm800k, prm800k/math_splits/test.jsonl), plain or .gz; docs/data.md '
  'names the other places that are looked in'
)

_TRAIN = ('train', 'math/train')
_MATH500 = ('math500', 'math500/test', '../math500/test')
_TEST = ('test', 'math/test')
_BOX = re.compile(r'\\boxed\s*')


class Math:
  """The Task of MATH.

  White space as in GSM8K: a prompt ends in 'Solution:' and every solution begins with ' '.

    prompt    'Problem:\\nWhat is $1+1$?\\n\\nSolution:'
    solution  ' We add, and get $\\\\boxed{2}$.'

  `Problem.level` is 'Level 1' to 'Level 5'; '' where the file does not say. A row without a final answer is left out
  with a warning, one without a level is kept with a warning.
  """

  # Solutions have blank lines, so that the head of the next problem is what ends one.
  stop_strings = ('\n\nProblem:', '\nProblem:')
  zero_shot_stop_strings = stop_strings
  second_opinion = True

  def __init__(self, data_dir: epath.PathLike):
    """Reads the files of `data_dir`, a folder or 'tfds:DIR'.

    Raises TaskError, which names the file, the line and the field at fault, and what to do.
    """
    found = data_files.require(data_dir, 'math', 'train', _TRAIN, SOURCE)
    train = to_problems(found, 'train')
    self._shots = _shots(found.place, train)
    if strangers := sum(p.id.startswith('test/') for p in train):
      message = 'math: %d of the %d rows of %s are of the test set by their ids; the paper trains on the other 7,500'
      logging.warning(message, strangers, len(train), found.place)
    whole = data_files.read(data_dir, 'math', 'test', _TEST, SOURCE)
    math500 = data_files.read(data_dir, 'math', 'math500', _MATH500, SOURCE)
    if math500 is None and whole is None:
      raise TaskError(f'{data_dir}: there is no math500.jsonl or math500.jsonl.gz; {SOURCE}')
    if math500 is None and len(whole.rows) != 500:
      message = 'math: there is no math500.jsonl; the test split is the %d rows of %s, which are not MATH-500'
      logging.warning(message, len(whole.rows), whole.place)
    test = to_problems(math500 or whole, 'test')
    self._splits = {**splits.hold_out(train, self._shots, VALIDATION), 'test': test}
    splits.warn_of_copies('math', test, train, 'problem')
    if math500 is not None and whole is not None:
      chosen = {p.id for p in test}
      rest = [p for p in to_problems(whole, 'test') if p.id not in chosen]
      splits.warn_of_copies(f'math, outside the test split: {whole.place}', rest, train, 'problem')

  def problems(self, split: str, count: int, seed: int, levels: Sequence[str] = ()) -> list[Problem]:
    """The first `count` problems of `split` in an order drawn by `seed`; a smaller count is a prefix of a larger.

    Validation is a fixed set of 500 problems of the train file, chosen by a hash of their text. `levels` are names of
    `LEVELS`. Raises TaskError for an unknown split or level, or more problems than there are.
    """
    return splits.choose('math', self._splits, split, count, seed, levels)

  def prompt(self, problem: Problem) -> str:
    """The zero-shot prompt; a solution, which begins with a space, follows it directly."""
    return prompt(problem)

  def few_shot(self) -> str:
    """Four worked examples, each with a blank line after it; the prompt of the problem follows directly."""
    return _examples(self._shots, self.prompt)

  def verdict(self, problem: Problem, sample: Sample) -> Verdict:
    """Right where the boxed answer of the sample equals the gold answer; reasoning is not checked (paper)."""
    return grading.verdict('math', problem, sample)

  def same(self, problem: Problem, gold: str, answer: str) -> bool:
    """Whether two answers are equal (`answers.math_equal`)."""
    return grade.same('math', gold, answer)

  def keys(self, answer: str) -> Keys | None:
    """Keys by which answers are told apart (`answers.apart`)."""
    return grade.keys('math', answer)


def prompt(problem: Problem) -> str:
  """The zero-shot prompt of MATH and of what is made from it."""
  return f'Problem:\n{problem.text}\n\nSolution:'


def beside(data_dir: epath.PathLike) -> list[Problem]:
  """The train file for a task beside MATH: from 'math/train' in `data_dir` or next to it; empty where it is not."""
  found = data_files.read(data_dir, 'math', 'train', ('math/train', '../math/train'), SOURCE)
  return to_problems(found, 'train') if found else []


def worked_examples(data_dir: epath.PathLike, train: Sequence[Problem], prompt: Callable[[Problem], str]) -> str:
  """The four worked examples for a task beside MATH; `train` is from `beside`. Raises TaskError where it is empty."""
  if not train:
    raise TaskError(
      f'{data_dir}: the worked examples for a base model are those of MATH, and there is no math/train.jsonl in this '
      f'folder or next to it; {SOURCE}'
    )
  return _examples(_shots(data_dir, train), prompt)


def last_box(text: str) -> str | None:
  """The content of the last `\\boxed{...}` of a text, or the character after `\\boxed `; None where there is none.

  Meant for solutions written by people: of a box that is not closed, nothing is returned.
  """
  boxes = list(_BOX.finditer(text))
  if not boxes:
    return None
  start = boxes[-1].end()
  if text[start : start + 1] != '{':
    return text[start : start + 1] if boxes[-1].group().endswith(' ') else None  # '\boxed 2', as TeX reads it.
  depth = 0
  at = start
  while at < len(text):
    if text[at] == '\\':
      at += 1  # What follows a backslash is no brace of TeX's.
    else:
      depth += (text[at] == '{') - (text[at] == '}')
      if not depth:
        return text[start + 1 : at].strip()
    at += 1
  return None


def to_problems(found: data_files.Rows, split: str, name: str = 'math', source: str = SOURCE) -> list[Problem]:
  """The problems of the rows of a MATH file, in the form of its authors or of MATH-500 (`unique_id`, levels 1 to 5).

  Rows without an answer are left out, rows without a level have level ''; a warning names each. Raises TaskError for a
  field that is missing, or an id that stands twice.
  """
  out = {}
  for where, row in found.rows:
    problem_id = _id(row, split)
    if not problem_id:
      raise TaskError(f"{where}: the field 'id' is missing or not a text; {source}")
    if problem_id in out:
      raise TaskError(f"{where}: the id '{problem_id}' stands twice in {found.place}; {source}")
    text, solution = (data_files.text(row, field, where, source).strip() for field in ('problem', 'solution'))
    gold = last_box(solution)
    if not gold:
      logging.warning('%s: %s has no answer: its last \\boxed{} is empty or missing; left out', name, problem_id)
      continue
    gold = extract.boxed(solution) or gold  # '\boxed{-2} and \boxed{1}' is one answer of two values.
    level = row.get('level')
    level = f'Level {level}' if isinstance(level, int) else level
    if level not in LEVELS:
      logging.warning('%s: %s has the level %r; kept, as of no level', name, problem_id, level)
      level = ''
    out[problem_id] = Problem(problem_id, text, gold, (f' {solution}',), level)
  return list(out.values())


def _id(row: dict, split: str) -> str | None:
  """'train/algebra/943', whether the file has it with the split and the ending '.json' or without."""
  value = row.get('id', row.get('unique_id'))
  if not isinstance(value, str) or not value.strip('/ '):
    return None
  value = value.strip('/ ').removesuffix('.json')
  return value if value.startswith(('train/', 'test/')) else f'{split}/{value}'


def _shots(place: epath.PathLike, train: Sequence[Problem]) -> list[Problem]:
  by_id = {p.id: p for p in train}
  if missing := [i for i in FEW_SHOT if i not in by_id]:
    raise TaskError(f'{place}: the few-shot examples {", ".join(missing)} are missing; {SOURCE}')
  return [by_id[i] for i in FEW_SHOT]


def _examples(shots: Sequence[Problem], prompt: Callable[[Problem], str]) -> str:
  return ''.join(f'{prompt(p)}{p.solutions[0]}\n\n' for p in shots)
