"""Gold answers computed in floating point have a tolerance, which the problem's text widens where it means pi."""


import pytest

from sweb_jax.answers import computed
from sweb_jax.answers.grade import compare


@pytest.mark.parametrize(
  ('gold', 'text', 'share'),
  [
    ('12', 'Why?', 0.0),
    ('0.5', 'Why?', 0.005),
    ('50.5', 'Why?', 0.005 / 50.5),
    ('\\begin{pmatrix} 69.5 \\\\ -45.9 \\end{pmatrix}', 'Why?', 0.005 / 69.5),
    ('0.11_{2}', 'Why?', 0.0),
    ('50.5', 'Find $f(\\pi)$.', 1.1e-3),
    ('50\\pi', 'Find $f(\\pi)$.', 0.0),
  ],
)
def test_the_tolerance_is_for_decimal_gold_answers_alone(gold, text, share):
  assert computed.tolerance(gold, text) == share


@pytest.mark.parametrize(
  ('problem', 'right'), [('What is $f(\\pi)$?', True), ('What is $f(\\pitchfork)$?', False), ('', False)]
)
def test_the_grader_of_files_has_the_same_tolerance(problem, right):
  assert computed.same('171.1404', '171.13', problem) is right
  assert compare('functional_math', '171.1404', '171.13', problem).correct is right
  assert not compare('math', '171.1404', '171.13', problem).correct


@pytest.mark.parametrize('long', ['7' * 10**6, '7' * 499 + '.5', '1.' + '3' * 490, '0.' + '0' * 490 + '1'])
def test_a_long_answer_on_either_side_takes_no_time(long, within):
  with within(0.5):
    assert not computed.same(long, '4', '\\pi')
    assert not computed.same('4.5', long, '\\pi')
