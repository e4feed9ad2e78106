"""HumanEval: 164 Python functions to complete from their docstring (Chen et al. 2021, arXiv 2107.03374).

The file is read as published: `HumanEval.jsonl`, fields `task_id`, `prompt`, `entry_point`, `canonical_solution` and
`test`. It is a test set and has no other split.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from etils import epath

from sweb_jax.answers import completions
from sweb_jax.records import Problem, Sample, Verdict
from sweb_jax.tasks import TaskError, programs

SOURCE = (
  'point --config.data_dir at the folder of the public file '
  '(github.com/openai/human-eval, data/HumanEval.jsonl, plain or .gz)'
)

_FIELDS = {'task_id': str, 'prompt': str, 'entry_point': str, 'canonical_solution': str, 'test': str}


class HumanEval:
  """The Task of HumanEval.

  A prompt is the head of a function up to the end of its docstring; a solution is the body, indented, and follows it
  directly. `Problem.gold` is the test code: what stands before the function in the prompt (imports and helpers, which
  the tests may use), the published test, and the call of `check`.
  """

  stop_strings = completions.FUNCTION_ENDS
  zero_shot_stop_strings = stop_strings  # There are no worked examples, and a base model goes on all the same.
  second_opinion = False
  same = None  # Programs are not compared.

  def __init__(self, data_dir: epath.PathLike):
    """Reads the file of `data_dir`. Raises TaskError, which names the file, the line and the field at fault."""
    rows = programs.rows(data_dir, 'humaneval', 'HumanEval', ('test',), _FIELDS, SOURCE)
    self._problems = [_problem(row, where) for where, row in rows]

  def problems(self, split: str, count: int, seed: int, levels: Sequence[str] = ()) -> list[Problem]:
    """The first `count` problems of 'test' in an order drawn by `seed`; a smaller count is a prefix of a larger.

    Raises TaskError for any other split, any level, or more problems than there are.
    """
    if split != 'test':
      raise TaskError(f"humaneval has no split={split!r}: it is a test set; train on mbpp and use 'test' here")
    return programs.chosen(self._problems, 'test problems of humaneval', count, seed, levels)

  def prompt(self, problem: Problem) -> str:
    """The head of the function, as published."""
    return problem.text

  def few_shot(self) -> str:
    """Nothing: a base model completes the function as it is (paper)."""
    return ''

  def verdict(self, problem: Problem, sample: Sample) -> Verdict:
    """Right where the completed function passes the published test in the sandbox.

    A completion may be the body, or, as tuned models write it, the whole function again, in a code fence or not.
    """
    (verdict,) = self.verdicts([(problem, sample)])
    return verdict

  def verdicts(self, pairs: Iterable[tuple[Problem, Sample]], workers: int = 1) -> Iterator[Verdict]:
    """The verdict of each pair, in order; many are faster than one by one (`programs.verdicts`)."""
    return programs.verdicts(
      pairs, lambda problem, text: completions.read('humaneval', problem.gold, text, problem.text), workers
    )


def _problem(row: dict, where: str) -> Problem:
  name, text = row['entry_point'], row['prompt']
  if not re.search(rf'^def {re.escape(name)}\(', text, re.MULTILINE):
    raise TaskError(f"{where}: the field 'prompt' has no function of the name in 'entry_point'; {SOURCE}")
  return Problem(
    id=row['task_id'],
    text=text,
    gold=f'{completions.before_function(text, name)}\n{row["test"].strip()}\n\ncheck({name})',
    solutions=(row['canonical_solution'],),
  )
