"""The answer out of its markup, and nothing of the answer with it."""


import pytest

from sweb_jax.answers.markup import bare


@pytest.mark.parametrize(
  ('text', 'answer'),
  [
    ('**73**', '73'),
    ('*73*', '73'),
    ('__73__', '73'),
    ('`73`', '73'),
    ('$73$', '73'),
    ('$$73$$', '73'),
    (r'\(73\)', '73'),
    (r'\[73\]', '73'),
    ('**$73$**.', '73'),
    ('### 73', '73'),
    ('**Answer**: 73', '73'),
    ('**Answer:** 73', '73'),
    ('The final answer is: $73$', '73'),
    ('Therefore, the sum is $73$.', '73'),
    ('So 73', '73'),
    # Left as they are.
    ('$3$ and $5$', '$3$ and $5$'),
    ('2**3', '2**3'),
    ('2*3*4', '2*3*4'),
    ('x_1+x_2', 'x_1+x_2'),
    ('> 5', '> 5'),
    ('The answer is not 5', 'not 5'),
    ('It is not 5', 'It is not 5'),
    ('answer is', 'answer is'),
    ('**', '**'),
    ('[1, 2]', '[1, 2]'),
  ],
)
def test_markup_and_words_before_an_answer_go(text, answer):
  assert bare(text) == answer


@pytest.mark.parametrize('unit', ['*', '**', '`', '$', '_', '#', r'\(', '# ', 'so ', 'is ', 'answer is ', 'the ', 'a'])
def test_a_hostile_answer_is_read_in_no_time(unit, within):
  with within(0.5):
    bare(unit * (500 // len(unit)))
