"""Prompts with instructions that a program can check, from files in IFEval's published format (arXiv 2311.07911).

    {"key": 7, "prompt": "Name a star. Use no comma.", "instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}]}

docs/own_tasks.md shows a config. What is right is not known of a response, only what it follows; so data is usually
kept without a filter (`config.data.filter = 'none'`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from absl import logging
from etils import epath

from sweb_jax.answers import instructions
from sweb_jax.answers.pool import PoolError
from sweb_jax.records import Problem, Sample, Verdict
from sweb_jax.tasks import Own, TaskError, jsonl, ungraded

FORM = 'instructions'
"""Name in `config.task.answer`."""

NOTHING = instructions.write([])
"""`Problem.gold` of a prompt without instructions."""

_TRIED = 'Here is a text.'


class Instructions(jsonl.Jsonl):
  """The Task of such prompts; `Problem.gold` is the instructions, an answer which of them are followed.

  A prompt without instructions may be trained on; it is in no other split, and nothing is right of it.
  """

  template = 'Instruction: {question}\nResponse:'
  stop_strings = zero_shot_stop_strings = ('\nInstruction:',)
  same = None  # There is nothing to vote on.
  roles: Mapping[str, str] = {
    'question': 'prompt',
    'id': 'key',
    'instructions': 'instruction_id_list',
    'kwargs': 'kwargs',
    'solution': 'solution',
    'level': 'level',
  }
  needed = frozenset({'question'})

  def __init__(self, data_dir: epath.PathLike, own: Own):
    """Reads the files, and tries the instructions of every row. Raises TaskError as `Jsonl` does, and where the
    package with the checks, or data that it needs, is not there."""
    super().__init__(data_dir, own)
    for split in ('validation', 'test'):
      found = self._splits.get(split, [])
      if kept := [p for p in found if p.gold != NOTHING]:
        self._splits[split] = kept
      elif found:
        raise TaskError(f'the {split} problems have no instructions to check: name a file of them in config.task.files')
      if len(kept) < len(found):
        logging.warning('%d %s prompts have no instructions and are left out', len(found) - len(kept), split)

  def verdict(self, problem: Problem, sample: Sample) -> Verdict:
    """Right where all instructions are followed strictly; leniently, loosely."""
    (verdict,) = self.verdicts([(problem, sample)])
    return verdict

  def verdicts(self, pairs: Iterable[tuple[Problem, Sample]], workers: int = 1) -> Iterator[Verdict]:
    """The verdict of each pair, in order; the checks share processes, whose number is their own."""
    asked: list[tuple[Problem, Sample]] = []

    def texts() -> Iterator[tuple[str, str, str]]:
      for problem, sample in pairs:
        asked.append((problem, sample))
        cut = sample.finish == 'length' or problem.gold == NOTHING
        yield (problem.text, NOTHING, '') if cut else (problem.text, problem.gold, sample.text)

    found = instructions.checker().follow(texts())
    for (problem, sample), followed in zip(asked, found, strict=True):
      yield _verdict(problem, sample, followed)

  def _problem(self, said: Mapping[str, Any], problem_id: str) -> Problem:
    return super()._problem({'choices': None, **said}, problem_id)

  def _gold(self, said: Mapping[str, Any], choices: Mapping[str, str]) -> str:
    ids, given = said['instructions'] or [], said['kwargs'] or []
    if not isinstance(ids, list) or not all(isinstance(name, str) for name in ids):
      raise ValueError('its instructions are no list of texts')
    if not isinstance(given, list) or len(given) != len(ids) or not all(isinstance(k, dict) for k in given):
      raise ValueError(f'its kwargs are no list of {len(ids)} objects, one for each instruction')
    return instructions.write([
      (name, {key: value for key, value in kwargs.items() if value is not None})
      for name, kwargs in zip(ids, given, strict=True)
    ])

  def _solution(self, text: str, gold: str) -> str:
    return f' {text}'

  def _faults(self, found: list[Problem]) -> dict[str, str]:
    try:
      tried = instructions.checker().follow((p.text, p.gold, _TRIED) for p in found)
    except PoolError as e:
      raise TaskError(f'config.task.answer={FORM!r}: {e}') from e
    if missing := next((f.fault for f in tried if 'punkt_tab' in f.fault), ''):
      raise TaskError(
        f'config.task.answer={FORM!r}: the checks count sentences and words by data of nltk: {missing} Run python -m '
        'nltk.downloader punkt_tab, or copy its folder tokenizers/punkt_tab into one that NLTK_DATA names'
      )
    return {p.id: f.fault for p, f in zip(found, tried, strict=True) if f.fault}


def _verdict(problem: Problem, sample: Sample, followed: instructions.Followed) -> Verdict:
  name, index = sample.problem_id, sample.index
  if sample.finish == 'length' or problem.gold == NOTHING:
    reason = 'truncated' if sample.finish == 'length' else 'nothing to check'
    return Verdict(name, index, None, False, reason, lenient_correct=False)
  if followed.fault:
    return ungraded(sample, RuntimeError(followed.fault), lenient_correct=False)
  told = instructions.read(problem.gold)
  strict, loose = (instructions.marked(told, marks) for marks in (followed.strict, followed.loose))
  right, done = all(followed.strict), sum(followed.strict)
  reason = 'right' if right else f'follows {done} of {len(told)} instructions'
  return Verdict(name, index, strict, right, reason, lenient=loose, lenient_correct=all(followed.loose))
