"""The code of a completion is found in whatever Markdown it stands, and goes to the tests as one program."""


import pytest

from sweb_jax.answers import completions
from sweb_jax.answers.completions import Program, read, unfenced

CODE = 'def area(a):\n    return a * a'
HEAD = 'import math\n\n\ndef area(a):\n    """The area."""\n'
CHECK = 'def check(f):\n    assert f(3) == 9\n\ncheck(area)'

BLOCKS = {
  'one block': f'Here it is:\n```python\n{CODE}\n```\nIt works.',
  'no fence': CODE,
  'no language': f'```\n{CODE}\n```',
  'another name of Python': f'```py\n{CODE}\n```',
  'attributes': f'```{{.python}}\n{CODE}\n```',
  'tildes': f'~~~python\n{CODE}\n~~~',
  'four ticks': f'````python\n{CODE}\n````',
  'carriage returns': f'```python\r\n{CODE}\r\n```',
  'a shell block before': f'```bash\npip install numpy\n```\n```python\n{CODE}\n```',
  'a shell block after': f'```python\n{CODE}\n```\nRun it:\n```sh\npython area.py\n```',
  'a shell block before code without fence': f'```console\npip install numpy\n```\n{CODE}',
  'output after': f'```\n{CODE}\n```\nOutput:\n```\n9\n```',
  'a call for show after': f'```python\n{CODE}\n```\nUse it:\n```python\nprint(area(3))\n```',
  'other languages after': f'```python\n{CODE}\n```\nIn C:\n```c\nint area(int a) {{ return a * a; }}\n```',
  'a fence in a list item': '1. First\n   ```python\n   def area(a):\n       return a * a\n   ```\n2. Then',
  'a fence with tabs before it': '\t```python\n\tdef area(a):\n\t    return a * a\n\t```',
  'a closing fence at the end of a line': f'```python\n{CODE}```',
  'a closing fence at the end of a line, after a blank': f'```python\n{CODE} ```\nDone.',
  'an opening fence at the end of a line': f'Here it is: ```python\n{CODE}\n```',
  'only an opening fence': f'So:\n```python\n{CODE}',
  'only a closing fence': f'{CODE}\n```\nThat is all.',
  'only a closing fence, then a block': f'{CODE}\n```\nFor example:\n```python\narea(3)\n```',
}


@pytest.mark.parametrize('name', BLOCKS)
def test_the_code_is_what_stands_between_fences(name):
  found = '\n'.join(line.rstrip() for line in unfenced(BLOCKS[name]).splitlines()).strip('\n')
  assert found == CODE


def test_blocks_that_define_something_are_one_program():
  helper = 'def square(a):\n    return a * a'
  text = f'First:\n```python\nimport math\n```\nA helper:\n```python\n{helper}\n```\n```\n{CODE}\n```'
  assert unfenced(text) == f'import math\n\ndef square(a):\n    return a * a\n\n{CODE}'


def test_ticks_within_a_line_of_code_are_code():
  code = 'def fence():\n    return "```" + "x"'
  assert unfenced(f'```python\n{code}\n```') == f'{code}\n'


def test_one_line_between_fences():
  assert unfenced('```area = lambda a: a * a```') == 'area = lambda a: a * a'


def test_where_no_block_is_python_the_first_is_the_answer():
  assert unfenced('```json\n{}\n```\n```c\nint x;\n```') == '{}\n'


@pytest.mark.parametrize(
  'unit', ['```', '``` ', '```\n', '`', '~~~\n', 'a```b', ' ```python\n', 'x = 1\n```', '\n', '\t```', 'x', 'x, ', ' ']
)
def test_a_hostile_completion_is_read_in_linear_time(unit, within):
  with within(20):
    for task in completions.TASKS:
      read(task, CHECK, unit * (200_000 // len(unit)), HEAD)


def test_a_program_of_mbpp_is_the_code_alone():
  assert read('mbpp', 'assert area(3) == 9', f'[BEGIN]\n{CODE}\n[DONE]\n\nWrite') == Program(
    CODE, CODE, 'assert area(3) == 9'
  )


def test_a_program_of_humaneval_continues_its_problem_or_replaces_its_function():
  body = read('humaneval', CHECK, '    return a * a\n\ndef other(): 1 / 0', HEAD)
  assert body.program == f'{HEAD}    return a * a\n'
  whole = read('humaneval', CHECK, f'```python\n{CODE}\n```', HEAD)
  assert whole.program == f'import math\n{CODE}\n'


@pytest.mark.parametrize(
  ('gold', 'problem', 'message'),
  [
    ('assert area(3) == 9', HEAD, r"'check\(NAME\)' as the last line"),
    (CHECK, '', r"has no 'def area\('"),
    (CHECK, 'def volume(a):\n', r"has no 'def area\('"),
  ],
)
def test_a_problem_of_another_form_is_named(gold, problem, message):
  with pytest.raises(ValueError, match=message):
    read('humaneval', gold, CODE, problem)


def test_an_empty_completion_has_no_code():
  for task in completions.TASKS:
    assert read(task, CHECK, ' \n', HEAD).code == ''
