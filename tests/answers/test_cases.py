"""Answers on which graders go wrong, by kind: `cases.jsonl` holds right ones, wrong ones, and what looks alike."""

import json
import pathlib

import pytest

from sweb_jax.answers.grade import compare, grade

CASES = [json.loads(line) for line in pathlib.Path(__file__).with_name('cases.jsonl').read_text().splitlines()]
ANSWERS = [c for c in CASES if 'pred' in c]
COMPLETIONS = [c for c in CASES if 'text' in c]


def name(case: dict) -> str:
  return f'{case["kind"]}: {case["gold"]} | {case.get("pred", case.get("text"))}'


@pytest.mark.parametrize('case', ANSWERS, ids=name)
def test_an_answer_is_right_where_it_is_the_gold_answer_in_any_spelling(case):
  assert compare(case['task'], case['gold'], case['pred']).correct == case['expected']


@pytest.mark.parametrize('case', [c for c in ANSWERS if c['task'] == 'math'], ids=name)
def test_the_verdict_is_the_same_with_gold_and_answer_exchanged(case):
  assert compare('math', case['pred'], case['gold']).correct == case['expected']


@pytest.mark.parametrize('case', COMPLETIONS, ids=name)
def test_a_completion_is_right_where_its_answer_is(case):
  assert grade(case['task'], case['gold'], case['text']).correct == case['expected']


def test_every_kind_has_cases_that_are_right_and_cases_that_are_wrong():
  kinds = {case['kind'] for case in CASES}
  assert len(kinds) > 20
  for kind in kinds - {'other spellings'}:
    assert {case['expected'] for case in CASES if case['kind'] == kind} == {True, False}, kind
