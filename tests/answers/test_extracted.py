"""The answer of the first solution of a completion, strictly and leniently."""


import pytest

from sweb_jax.answers.extract import MAX_TEXT, Extracted, extract


@pytest.mark.parametrize(
  ('text', 'answer'),
  [
    (r'So $x = \boxed{5}$.', '5'),
    (r'\boxed{\frac{1}{2}}', r'\frac{1}{2}'),
    (r'\fbox{7}', '7'),
    (r'\boxed {7}', '7'),
    (r'\boxed 7$', '7'),
    (r'\boxed{\{1,2\}}', r'\{1,2\}'),
    (r'\boxed{\boxed{3}}', r'\boxed{3}'),
    (r'First \boxed{144}, so the side is \boxed{12}.', '12'),
    (r'\boxed{5} and then \boxed{6', '5'),
    (r'\boxed{5 oh, again: \boxed{6}', '6'),
    (r'\boxed{5} so \boxed{}', '5'),
    ('\\boxed{5}.\n\nProblem: What is 2+2?\n\nSolution: \\boxed{4}', '5'),
    ('\\boxed{5}\n### Question 2: two and two\n\\boxed{4}', '5'),
    ('Problem: find x.\nSolution: \\boxed{4}', '4'),
    ('Final Answer: The final answer is $\\frac{1}{2}$. I hope it is correct.', r'\frac{1}{2}'),
    ('The answer is 2.5.', '2.5'),
    ('The answer is 40 cards, since each card is worth the same amount.', '40 cards'),
    ('The answer is $475$ because it is odd.', '475'),
    ('Final Answer: The volume of $ABCD$ is 120. I hope it is correct.', '120'),
    ('Final Answer: The smallest such $N$ is $14{,}916$.', '14{,}916'),
    ('Final Answer: The volume of the prism is 120. I hope it is correct.', '120'),
    ('Final Answer: The final answer is $[-3, 2]$. I hope it is correct. I apologize: \\boxed{7}', '[-3, 2]'),
    ('So \\boxed{3}. <|im_start|>user And \\boxed{4}?', '3'),
    ('**Answer:** is below. The answer is \\(x+1\\)', 'x+1'),
  ],
)
def test_a_math_answer_is_read_strictly(text, answer):
  for task in ('math', 'functional_math'):
    assert extract(task, text) == Extracted(answer, answer)


@pytest.mark.parametrize(
  ('text', 'lenient'),
  [(r'\boxed{5', '5'), ('so $x = 3$ follows', 'x = 3'), ('it is 17 in all', '17'), ('no idea', None), ('', None)],
)
def test_a_math_text_without_box_or_sentence_has_no_strict_answer(text, lenient):
  assert extract('math', text) == Extracted(None, lenient)


@pytest.mark.parametrize(
  ('text', 'strict', 'lenient'),
  [
    ('2 + 3 = 5\n#### 5', '5', '5'),
    ('2 + 3 = 5\n#### 5\n\nQuestion: 1 + 1?\n#### 2', '5', '5'),
    ('She has 1,080 left.\nA: 1,080', None, '1080'),
    ('The answer is $7.50.', None, '7.5'),
    (r'so \boxed{12} eggs', None, '12'),
    ('3 hens and 12 eggs', None, '12'),
    ('The answer is 4. He has 9 hens', None, '4'),
    ('A: 4\nQ: What is 2+3?\nA: 5', None, '4'),
    ('none', None, None),
  ],
)
def test_a_gsm8k_answer_is_read_strictly_and_leniently(text, strict, lenient):
  for task in ('gsm8k', 'svamp'):
    assert extract(task, text) == Extracted(strict, lenient)


def test_an_unknown_task_is_named():
  with pytest.raises(ValueError, match='chess'):
    extract('chess', 'e4')


@pytest.mark.parametrize(
  'unit',
  [
    r'\boxed{',
    r'\boxed{}',
    '}',
    '{',
    '$',
    r'\(',
    'answer is ',
    'answer to ',
    '\nProblem: ',
    'A:\n',
    '#',
    ' ',
    '\n',
    '9',
    '####',
    r'\boxed{1}' + '\nProblem: ',
  ],
)
def test_a_hostile_completion_is_read_in_linear_time(unit, within):
  with within(20):
    for task in ('math', 'gsm8k'):
      extract(task, unit * (10**6 // len(unit)))


def test_what_stands_after_the_limit_of_a_completion_is_not_read():
  assert extract('math', 'x ' * MAX_TEXT + r'\boxed{5}').strict is None
