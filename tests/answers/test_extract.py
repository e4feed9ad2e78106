"""The first complete number after the first '####', and nothing that only looks like one."""


import pytest

from sweb_jax.answers import answer_line


@pytest.mark.parametrize(
  ('text', 'answer'),
  [
    (' 48/2 = 24 clips.\n48+24 = 72 clips.\n#### 72', '72'),
    ('11 + 5 = 16 ; 3 + 16 = 19 #### 19', '19'),
    ('#### 72\n', '72'),
    ('####72', '72'),
    ('#### 72.', '72'),
    ('#### $1,080.00.', '1080'),
    ('#### -$5', '-5'),
    ('#### −5', '-5'),
    ('#### 18 dollars', '18'),
    ('#### 75%', '75'),
    ('#### 18$', '18'),
    ('#### .50', '0.5'),
    ('#### -0', '0'),
    ('#### 007', '7'),
    ('#### 109,200,000', '109200000'),
    ('##### Second step\n#### 72', '72'),
  ],
)
def test_a_complete_answer_is_read_in_one_spelling(text, answer):
  assert answer_line(text) == answer


@pytest.mark.parametrize(
  'text',
  [
    '#### 26\n\nQuestion: Tom has 3 apples.\nAnswer: 3\n#### 3',
    '#### 26 Question: Tom has 3 apples.\n#### 3',
    '#### 26. Question: Tom has 3 apples.\n#### 3',
    '#### 26\n#### 3',
  ],
)
def test_the_first_answer_counts_where_a_model_runs_on(text):
  assert answer_line(text) == '26'


@pytest.mark.parametrize(
  'text',
  [
    '',
    'The answer is 72.',
    '### 72',
    '##### 72',
    '####',
    '#### \n72',
    '#### twelve',
    '#### \n\nQuestion: Tom has 3 apples.\nAnswer: 3\n#### 3',
    '#### 1e5',
    '#### 1e1000000000',
    '#### 5k',
    '#### 3/4',
    '#### 1 1/2',
    '#### 5 + 3 = 8',
    '#### 5  + 3 = 8',
    '#### 2 x 4',
    '#### 5 % 3',
    '#### 5(3)',
    '#### 10:30',
    '#### 5-10',
    '#### 3.2.1',
    '#### 1,5',
    '#### 1, 5',
    '#### 1234,567',
    '#### 1_000',
    '#### 0x10',
    '#### ٣',
    '#### 3²',
    "#### __import__('os')",
    '#### ' + '9' * 65,
  ],
)
def test_what_is_not_one_complete_number_is_no_answer(text):
  assert answer_line(text) is None


@pytest.mark.parametrize('unit', ['9', '####', '#', '#### ', ' ', '1,', '-', '$', '#### 1', '#### 9,999'])
def test_a_hostile_completion_is_read_in_linear_time(unit, within):
  with within(20):
    answer_line('#### ' + unit * 300_000)
    answer_line(unit * 300_000)
