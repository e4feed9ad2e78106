"""Prompts with checkable instructions: which are followed, bad rows, hostile texts, and what is missing."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from sweb_jax import tasks
from sweb_jax.answers import instructions
from sweb_jax.records import Problem, Sample
from sweb_jax.tasks import Own, TaskError

NO_COMMA, SUN, TITLE = 'punctuation:no_comma', 'keywords:existence', 'detectable_format:title'


@pytest.fixture
def checks(monkeypatch):
  """Whatever a test changes of the machine, its workers see."""
  monkeypatch.setattr(instructions, 'MAX_WORKERS', 1)
  instructions.checker.cache_clear()
  yield
  instructions.checker.cache_clear()


@pytest.fixture(scope='module')
def real():
  pytest.importorskip('lm_eval', reason='needs the extra ifeval')


def row(key: int, *ids: str, prompt: str = '', **kwargs) -> dict:
  """A row; every instruction gets those of the keyword arguments that it takes."""
  takes = {SUN: ('keywords',), 'keywords:frequency': ('keyword', 'frequency', 'relation')}
  # The published rows name all arguments, and have null for those of other instructions.
  given = [{'num_words': None} | {k: kwargs[k] for k in takes.get(i, ()) if k in kwargs} for i in ids]
  return {'key': key, 'prompt': prompt or f'Prompt {key}.', 'instruction_id_list': list(ids), 'kwargs': given}


def opened(folder: Path, **files: list[dict]):
  for name, rows in files.items():
    (folder / f'{name}.jsonl').write_text(''.join(json.dumps(r) + '\n' for r in rows))
  own = Own({name: f'{name}.jsonl' for name in files}, {}, 'instructions')
  return tasks.get('jsonl', data_dir=str(folder), template='{question}', own=own)


def sample(problem: Problem, text: str, finish: str = 'stop') -> Sample:
  return Sample(problem.id, 0, text, (1,), finish, -1.0)


def test_a_row_as_published_is_a_problem_and_a_response_is_held_against_its_instructions(real, tmp_path):
  task = opened(tmp_path, test=[row(7, SUN, NO_COMMA, prompt='Greet the sun.', keywords=['sun'])])
  (problem,) = task.problems('test', 1, 0)
  assert (problem.id, problem.text, task.prompt(problem)) == ('7', 'Greet the sun.', 'Greet the sun.')
  assert problem.gold == f'[["{SUN}",{{"keywords":["sun"]}}],["{NO_COMMA}",{{}}]]'
  right = task.verdict(problem, sample(problem, 'Good morning sun!'))
  assert (right.correct, right.reason, right.answer) == (True, 'right', f'+{SUN} +{NO_COMMA}')
  half = task.verdict(problem, sample(problem, 'Good morning, sun!'))
  assert (half.correct, half.reason, half.answer) == (False, 'follows 1 of 2 instructions', f'+{SUN} -{NO_COMMA}')
  assert (half.lenient, half.lenient_correct, half.valid) == (half.answer, False, None)
  # Without its first line, which may be a greeting, it has no comma.
  loose = task.verdict(problem, sample(problem, 'Sure, here it is:\nGood morning sun!'))
  assert (loose.correct, loose.lenient_correct, loose.lenient) == (False, True, f'+{SUN} +{NO_COMMA}')
  assert instructions.count(half.answer) == 1 and instructions.count(None) == 0
  cut = task.verdict(problem, sample(problem, 'Good morning sun!', finish='length'))
  assert (cut.correct, cut.reason, cut.answer, cut.lenient_correct) == (False, 'truncated', None, False)
  empty = task.verdict(problem, sample(problem, ' '))
  assert (empty.correct, empty.reason) == (False, 'follows 0 of 2 instructions')
  assert task.same is None and not task.second_opinion


def test_bad_rows_are_told_of_and_left_out(real, tmp_path, caplog):
  rows = [
    row(1, NO_COMMA),
    row(2, 'punctuation:no_dash'),
    row(3, 'keywords:frequency', keyword='sun', frequency=2),
    {**row(4, SUN, NO_COMMA), 'kwargs': [{}]},
    {**row(5, NO_COMMA), 'prompt': None},
    {**row(6), 'instruction_id_list': [3], 'kwargs': [{}]},
    row(1, NO_COMMA, prompt='Another.'),
    row(8, 'keywords:frequency', keyword=3, frequency=2, relation='at least'),
  ]
  with caplog.at_level(logging.WARNING):
    task = opened(tmp_path, test=rows)
  assert [p.id for p in task.problems('test', 1, 0)] == ['1']
  for line, why in (
    (2, 'punctuation:no_dash: no such instruction'),
    (3, 'keywords:frequency: its kwargs lack relation'),
    (4, 'its kwargs are no list of 2 objects, one for each instruction'),
    (5, 'its question is missing or not a text'),
    (6, 'its instructions are no list of texts'),
    (7, "its id '1' is that of "),
    (8, 'AttributeError: '),
  ):
    assert any(f'test.jsonl, line {line}: {why}' in m for m in caplog.messages), (line, caplog.messages)


def test_prompts_without_instructions_are_for_training_alone(real, tmp_path, caplog):
  train = [row(i, *[NO_COMMA] * (i % 2), prompt=f'Tell {i}.') for i in range(200)]
  with caplog.at_level(logging.WARNING):
    task = opened(tmp_path, train=train, test=[row(900, NO_COMMA), row(901)])
  assert '1 test prompts have no instructions and are left out' in caplog.messages
  held = task.problems('validation', 5, 0)
  assert all(p.gold != '[]' for p in held)
  free = next(p for p in task.problems('train', 100, 0) if p.gold == '[]')
  verdict = task.verdict(free, sample(free, 'Anything'))
  assert (verdict.correct, verdict.reason, verdict.answer) == (False, 'nothing to check', None)
  with pytest.raises(TaskError, match='the test problems have no instructions to check: name a file'):
    opened(tmp_path, train=train, test=[row(901)])


@pytest.mark.slow
def test_a_text_that_keeps_a_check_busy_could_not_be_graded_and_the_next_is(real, checks, tmp_path, monkeypatch):
  monkeypatch.setattr(instructions, 'DEADLINE', 1.0)
  kinds = {'detectable_content:number_placeholders': {'num_placeholders': 2}, 'detectable_format:json_format': {}}
  rows = [{**row(i, kind), 'kwargs': [kwargs]} for i, (kind, kwargs) in enumerate(kinds.items())]
  task = opened(tmp_path, test=rows)
  problems = {p.id: p for p in task.problems('test', 2, 0)}
  texts = [('0', '[' * 60_000), ('0', '[name] [city]'), ('1', '[' * 90_000), ('1', '{"a": 1}'), ('0', '[' * 10**6)]
  texts += [('1', "__import__('os').system('touch x')"), ('1', '\x00')]
  found = list(task.verdicts([(problems[p], sample(problems[p], text)) for p, text in texts]))
  reasons = [v.reason for v in found]
  assert reasons[0] == 'could not be graded: RuntimeError: timed out'
  assert reasons[2].startswith('could not be graded: RuntimeError: RecursionError')
  assert reasons[4] == 'could not be graded: RuntimeError: too long'
  assert [v.correct for v in found] == [False, True, False, True, False, False, False]


def test_the_same_text_is_always_of_the_same_language(real, checks, tmp_path):
  task = opened(tmp_path, test=[{**row(1, 'language:response_language'), 'kwargs': [{'language': 'de'}]}])
  (problem,) = task.problems('test', 1, 0)
  found = list(task.verdicts([(problem, sample(problem, 'an den 1 2 in o'))] * 20))  # Short: it may be of several.
  assert len({v.correct for v in found}) == 1
  assert task.verdict(problem, sample(problem, 'Das ist die Sonne, und sie scheint den ganzen Tag.')).correct


def test_sentences_are_counted_by_data_of_nltk_which_are_named_where_they_are_missing(
  real, checks, tmp_path, monkeypatch
):
  rows = [{**row(1, 'length_constraints:number_sentences'), 'kwargs': [{'num_sentences': 2, 'relation': 'at least'}]}]
  data = tmp_path / 'data/tokenizers/punkt_tab/english'
  monkeypatch.setenv('NLTK_DATA', str(tmp_path / 'data'))
  import nltk

  try:
    nltk.data.find('tokenizers/punkt_tab')
  except LookupError:
    with pytest.raises(TaskError, match=r'nltk: LookupError: Resource .*punkt_tab.*Run python -m nltk\.downloader'):
      opened(tmp_path, test=rows)
  data.mkdir(parents=True)
  for name in ('collocations.tab', 'sent_starters.txt', 'abbrev_types.txt', 'ortho_context.tab'):
    (data / name).write_text('')
  instructions.checker.cache_clear()
  task = opened(tmp_path, test=rows)
  (problem,) = task.problems('test', 1, 0)
  one, two = (task.verdict(problem, sample(problem, text)) for text in ('It shines', 'It shines. It is warm.'))
  assert (one.correct, two.correct) == (False, True)


def test_a_package_that_is_missing_is_one_message_with_its_extra(checks, tmp_path, monkeypatch):
  (tmp_path / 'lm_eval').mkdir()
  (tmp_path / 'lm_eval/__init__.py').write_text("raise ModuleNotFoundError(\"No module named 'lm_eval'\")\n")
  monkeypatch.syspath_prepend(tmp_path)
  message = r"config\.task\.answer='instructions': .*No module named 'lm_eval'; pip install 'sweb_jax\[ifeval\]'"
  with pytest.raises(TaskError, match=message):
    opened(tmp_path, test=[row(1, NO_COMMA)])
