"""`equal` raises on no text and is reflexive and symmetric, and keys tell no equal answers apart: over edited gold
answers, and over other spellings."""

import importlib.util
import json
import os
import pathlib

import hypothesis
import pytest
from hypothesis import strategies as st

from sweb_jax.answers.apart import keys
from sweb_jax.answers.grade import grade
from sweb_jax.answers.math_equal import equal

ROOT = pathlib.Path(__file__).parents[2]
DATA = pathlib.Path(os.environ.get('SWEB_TEST_DATA', ROOT / '../shared/data'))
FILES = [DATA / name for name in ('math/train.jsonl.gz', 'math/test.jsonl.gz', 'functional_math/Oct-2023.jsonl.gz')]
CASES = [json.loads(line) for line in pathlib.Path(__file__).with_name('cases.jsonl').read_text().splitlines()]

_spec = importlib.util.spec_from_file_location('mutations', ROOT / 'benchmarks/mutations.py')
mutations = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(mutations)

GOLDS = list(dict.fromkeys([c['gold'] for c in CASES] + mutations.golds([f for f in FILES if f.exists()])))
EDITS = st.lists(
  st.tuples(st.integers(0, 1 << 16), st.integers(0, 6), st.sampled_from(mutations.FRAGMENTS) | st.text(max_size=4)),
  min_size=1,
  max_size=5,
)
SPELLINGS = {
  'in dollars': lambda gold: f'${gold}$',
  'in a box': lambda gold: rf'\boxed{{{gold}}}',
  'in bold behind words': lambda gold: f'The answer is **${gold}$**.',
  'with display fractions': lambda gold: gold.replace(r'\frac', r'\dfrac'),
  'without sized brackets': lambda gold: gold.replace(r'\left', '').replace(r'\right', ''),
}


def told_apart(one: str, other: str) -> bool:
  found = keys(one), keys(other)
  return None not in found and found[0].isdisjoint(found[1])


@pytest.mark.slow
@hypothesis.settings(max_examples=2000, deadline=None, database=None, derandomize=True)
@hypothesis.given(gold=st.sampled_from(GOLDS), edits=EDITS)
def test_no_text_raises_and_equality_is_reflexive_and_symmetric(gold, edits):
  edited = mutations.edited(gold, edits)
  assert mutations.faults(gold, edited) == []
  assert not (told_apart(gold, edited) and equal(gold, edited))


@pytest.mark.parametrize(
  'answer', [r'\begin', r'\end', r'\begin{', r'\end{pmatrix', r'\begin{pmatrix}\begin', r'\endgroup 5']
)
def test_a_command_without_its_group_is_only_a_wrong_answer(answer):
  for text in (rf'\boxed{{{answer}}}', f'The answer is ${answer}$.'):
    assert not grade('math', '5', text).correct
  assert equal(answer, answer) and not equal('5', answer)


@pytest.mark.parametrize('name', SPELLINGS)
def test_every_gold_answer_is_equal_to_itself_in_other_spellings_in_both_directions(name):
  for gold in GOLDS:
    spelt = SPELLINGS[name](gold)
    assert equal(gold, gold), gold
    assert equal(gold, spelt), (gold, spelt)
    assert equal(spelt, gold), (spelt, gold)
    assert not told_apart(gold, spelt), (gold, spelt)
