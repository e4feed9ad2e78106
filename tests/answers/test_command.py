"""The command grades any file row by row, says which rows are bad, and leaves nothing behind."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

COMMAND = [sys.executable, '-m', 'sweb_jax.answers']
ENV = {**os.environ, 'PYTHONPATH': os.pathsep.join(p for p in sys.path if p)}
on_linux = pytest.mark.skipif(not Path('/proc/self/stat').exists(), reason='reads /proc')


def run(*flags: str, rows: list | bytes = b'') -> subprocess.CompletedProcess:
  if not isinstance(rows, bytes):
    rows = b''.join(json.dumps(r).encode() + b'\n' for r in rows)
  return subprocess.run([*COMMAND, *flags], input=rows, capture_output=True, env=ENV, timeout=120)


def out(done: subprocess.CompletedProcess) -> list[dict]:
  return [json.loads(line) for line in done.stdout.splitlines()]


def children(pid: int) -> list[int]:
  found = []
  for path in Path('/proc').glob('[0-9]*/stat'):
    try:
      state, parent = path.read_text().rpartition(')')[2].split()[:2]
    except OSError:  # It ended meanwhile.
      continue
    if int(parent) == pid and state not in 'ZX':
      found.append(int(path.parent.name))
  return found


def alive(pid: int) -> bool:
  try:
    return Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[0] not in 'ZX'
  except (FileNotFoundError, ProcessLookupError):
    return False


def test_rows_keep_their_order_and_fields_and_get_a_verdict():
  rows = [
    {'id': 7, 'gold': '\\frac{1}{2}', 'text': 'It is $\\boxed{\\frac{1}{2}}$.'},
    {'gold': '4', 'text': 'It is $\\boxed{5}$.', 'model': 'wc'},
    {'gold': '4', 'text': 'I do not know \ud800.'},
  ]
  done = run('--task=math', rows=rows)
  assert done.returncode == 0, done.stderr
  right = {'correct': True, 'reason': 'right', 'lenient_correct': True, 'second_opinion': True}
  wrong = {'correct': False, 'lenient_correct': False}
  no = {'second_opinion': None, 'second_reason': 'agrees'}
  assert out(done) == [
    {**rows[0], 'answer': '\\frac{1}{2}', 'lenient': '\\frac{1}{2}', **right, 'second_reason': 'agrees'},
    {**rows[1], 'answer': '5', 'lenient': '5', **wrong, 'reason': 'wrong answer', **{**no, 'second_opinion': False}},
    {**rows[2], 'answer': None, 'lenient': None, **wrong, 'reason': 'no answer', **no, 'second_reason': 'no answer'},
  ]
  assert b'3 rows, 1 right, 0 bad; math-verify agrees on 2, differs on 0, has no opinion on 1' in done.stderr


@pytest.mark.parametrize('second', ['--second_opinion', '--nosecond_opinion'])
def test_a_bad_row_stops_nothing_and_shows_in_the_exit_code(second):
  good = b'{"gold": "4", "text": "#### 4"}\n'
  bad = [
    b'{"gold": "4", "text": "#### 4"\n',
    b'\xff\xfe\n',
    b'[1]\n',
    b'[' * 100_000 + b'\n',
    b'1' * 10_000 + b'\n',
    b'{"text": "#### 4", "id": 3}\n',
    b'{"gold": "4"}\n',
    b'{"gold": 4, "text": "#### 4"}\n',
    b'{"gold": "4", "text": null}\n',
    b'{"gold": "four", "text": "#### 4"}\n',
  ]
  done = run('--task=gsm8k', second, rows=b'\n'.join(good + b for b in bad) + good)
  assert done.returncode == 1
  rows = out(done)
  assert len(rows) == 2 * len(bad) + 1
  assert all(r['correct'] for r in rows[::2])
  assert all(r['error'].startswith(f'line {3 * i + 2}: ') for i, r in enumerate(rows[1::2]))
  assert rows[11] == {'text': '#### 4', 'id': 3, 'error': "line 17: the field 'gold' is missing or not a text"}
  assert b'21 rows, 11 right, 10 bad' in done.stderr


def test_the_text_of_a_problem_says_whether_pi_may_be_rough():
  row = {'gold': '171.1404', 'text': 'It is \\boxed{171.13}.'}
  rows = [row, {**row, 'problem': 'Find $f(\\pi)$.'}, {**row, 'problem': 7}]
  done = run('--task=functional_math', '--nosecond_opinion', rows=rows)
  assert [r.get('correct') for r in out(done)] == [False, True, None]
  assert "'problem' is not a text" in out(done)[2]['error']


def test_answers_that_are_already_extracted_are_compared():
  rows = [{'gold': '18', 'pred': '$18.00'}, {'gold': '18', 'pred': '19'}, {'gold': '18', 'text': '#### 18'}]
  done = run('--task=svamp', '--equal_only', '--nosecond_opinion', rows=rows)
  assert [r.get('correct') for r in out(done)] == [True, False, None]
  assert "'pred'" in out(done)[2]['error']
  assert done.returncode == 1


@pytest.fixture(scope='module')
def runs():
  from sweb_jax.answers import sandbox

  try:
    sandbox.run('')
  except sandbox.SandboxError as e:
    pytest.skip(f'no sandbox on this machine: {e}')


def test_programs_are_graded_by_their_tests(runs):
  tests = 'assert area(3) == 9'
  rows = [
    {'gold': tests, 'text': '```python\ndef area(a):\n    return a * a\n```', 'id': 1},
    {'gold': tests, 'text': 'def area(a): return a'},
    {'gold': tests, 'text': ''},
    {'gold': 5, 'text': 'def area(a): return a * a'},
    {'gold': tests, 'text': '```bash\nls\n```\n```python\ndef area(a): return a * a\n```'},
  ]
  done = run('--task=mbpp', rows=rows)
  assert done.returncode == 1
  found = out(done)
  assert [r.get('correct') for r in found] == [True, False, False, None, True]
  assert [r.get('reason') for r in found] == ['right', 'failed: AssertionError', 'no answer', None, 'right']
  assert found[0]['id'] == 1 and found[0]['answer'] == 'def area(a):\n    return a * a'
  assert found[3]['error'] == "line 4: the field 'gold' is missing or not a text"
  assert b'5 rows, 2 right, 1 bad' in done.stderr and b'math-verify' not in done.stderr


def test_functions_of_humaneval_are_completed_from_the_problem(runs):
  gold, problem = 'def check(f):\n  assert f(3) == 9\n\ncheck(area)', 'def area(a):\n  """The area."""\n'
  rows = [{'gold': gold, 'problem': problem, 'text': f'  return a {sign} a\n'} for sign in '*+']
  done = run('--task=humaneval', rows=[*rows, {'gold': gold, 'text': '  return a * a'}])
  assert [r.get('correct') for r in out(done)] == [True, False, None]
  assert "line 3: the text of a humaneval problem is the head of its function" in out(done)[2]['error']


def test_programs_are_not_compared_without_tests():
  done = run('--task=mbpp', '--equal_only', rows=[{'gold': 'a', 'pred': 'a'}])
  assert done.returncode != 0 and b'--equal_only: programs of mbpp are not compared' in done.stderr + done.stdout
  assert b'Traceback' not in done.stderr


def test_answers_of_the_embedded_task_are_graded():
  rows = [{'gold': '19', 'text': '11 + 8 = 19 #### 19'}, {'gold': '19', 'text': '11 + 8 = 18 #### 18'}]
  assert [r['correct'] for r in out(run('--task=arithmetic', rows=rows))] == [True, False]


def test_hostile_rows_are_graded_in_time(tmp_path):
  answers = ['9^{9^{9^9}}', '(' * 5000 + '1' + ')' * 5000, '7' * 10**6, '1e1000000000', '{' * 50 + '}' * 50, '2^{10^9}']
  answers += [f"__import__('os').system('touch {tmp_path}/x')", '4']
  begun = time.monotonic()
  rows = [{'gold': '4', 'text': f'It is $\\boxed{{{a}}}$.'} for a in answers]
  done = run('--task=math', '--deadline=0.5', rows=rows)
  assert done.returncode == 0, done.stderr
  assert [r['correct'] for r in out(done)] == [False] * (len(answers) - 1) + [True]
  assert time.monotonic() - begun < 60
  assert not list(tmp_path.iterdir())


def test_no_rows():
  done = run('--task=math')
  assert (done.returncode, done.stdout) == (0, b'')


def test_it_starts_within_a_second_of_computing_and_imports_no_jax(tmp_path):
  script = (
    'import atexit, pathlib, runpy, sys\n'
    'where, *sys.argv[1:] = sys.argv[1:]\n'
    "atexit.register(lambda: pathlib.Path(where).write_text('\\n'.join(sys.modules)))\n"
    "runpy.run_module('sweb_jax.answers', run_name='__main__', alter_sys=True)\n"
  )
  before = resource.getrusage(resource.RUSAGE_CHILDREN)
  command = [sys.executable, '-c', script, tmp_path / 'modules', '--task=math', '--nosecond_opinion']
  subprocess.run(command, input=b'{"gold": "1", "text": "\\\\boxed{1}"}', check=True, env=ENV, capture_output=True)
  after = resource.getrusage(resource.RUSAGE_CHILDREN)
  modules = set((tmp_path / 'modules').read_text().split())
  assert 'sweb_jax.answers.grade' in modules
  assert not modules & {'jax', 'tensorflow', 'gemma', 'sympy', 'math_verify'}
  # Of the processor, as the wall time of a busy machine says little.
  assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1


@on_linux
def test_memory_does_not_grow_with_the_number_of_rows():
  row = json.dumps({'gold': '4', 'text': '#### 4', 'prompt': 'word ' * 100_000}).encode() + b'\n'
  peaks = []
  for count in (20, 150):
    command = [*COMMAND, '--task=gsm8k', '--nosecond_opinion']
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, env=ENV)
    for _ in range(count):
      process.stdin.write(row)
    process.stdin.flush()
    status = Path(f'/proc/{process.pid}/status').read_text()  # Before the end of the input: it still runs.
    peaks.append(int(status.partition('VmHWM:')[2].split()[0]))
    process.stdin.close()
    assert process.wait(60) == 0
  assert peaks[1] < 1.2 * peaks[0]


@on_linux
@pytest.mark.parametrize(
  ('how', 'nohup'), [(signal.SIGINT, False), (signal.SIGTERM, False), (signal.SIGTERM, True), (signal.SIGKILL, False)]
)
def test_nothing_is_left_when_it_is_stopped(how, nohup):
  process = subprocess.Popen(
    [*COMMAND, '--task=math', '--deadline=60'],
    stdin=subprocess.PIPE,
    stdout=subprocess.DEVNULL,
    env=ENV,
    preexec_fn=(lambda: signal.signal(signal.SIGINT, signal.SIG_IGN)) if nohup else None,  # As a shell's `&` does.
  )
  row = {'gold': '4', 'text': '$\\boxed{2^{10^9}}$'}
  process.stdin.write((json.dumps(row) + '\n').encode() * 3)
  process.stdin.flush()
  end = time.monotonic() + 20
  while len(workers := children(process.pid)) < 2 and time.monotonic() < end:
    time.sleep(0.05)
  assert len(workers) == 2
  time.sleep(1)
  process.send_signal(how)
  assert process.wait(20) == (130 if how != signal.SIGKILL else -signal.SIGKILL)
  process.stdin.close()
  end = time.monotonic() + 5
  while any(map(alive, workers)) and time.monotonic() < end:
    time.sleep(0.05)
  assert not any(map(alive, workers))


def test_a_reader_that_leaves_early_gets_no_traceback():
  process = subprocess.Popen(
    [*COMMAND, '--task=gsm8k', '--nosecond_opinion'],
    stdin=subprocess.PIPE,
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    env=ENV,
  )
  process.stdout.close()
  try:
    process.stdin.write(b'{"gold": "4", "text": "#### 4"}\n' * 10_000)
    process.stdin.close()
  except BrokenPipeError:
    pass
  assert b'Traceback' not in process.stderr.read()
  process.stderr.close()
  assert process.wait(20) == 1


def test_agreement_with_labels_is_a_table(tmp_path):
  rows = [
    {'dataset': 'math', 'gold': '\\frac{1}{2}', 'solution': 'It is $\\boxed{\\frac{1}{2}}$.', 'label': True},
    {'dataset': 'math', 'gold': '4', 'solution': 'It is $\\boxed{5}$.', 'label': False},
    {'dataset': 'math', 'gold': '4', 'solution': 'It is $\\boxed{4}$.', 'label': False},
    {'dataset': 'math', 'gold': '4', 'solution': 'It is $\\boxed{6}$.', 'label': True},
  ]
  for name in ('first.jsonl', 'second.jsonl'):
    (tmp_path / name).write_text(''.join(json.dumps(r) + '\n' for r in rows))
  done = run('agreement', str(tmp_path / 'first.jsonl'), str(tmp_path / 'second.jsonl'))
  assert done.returncode == 0, done.stderr
  table = [[cell.strip() for cell in line.strip('|').split('|')] for line in done.stdout.decode().splitlines()]
  assert table[0] == ['file', 'n', 'agreement %', 'false accepts', 'false rejects']
  assert table[2:] == [['first.jsonl', '4', '50.00', '1', '1'], ['second.jsonl', '4', '50.00', '1', '1']]


def test_a_file_that_cannot_be_read_is_named(tmp_path):
  done = run('agreement', str(tmp_path / 'absent.jsonl'))
  assert done.returncode == 1
  assert b'absent.jsonl' in done.stderr and b'Traceback' not in done.stderr


@pytest.mark.parametrize(
  'flags, said',
  [
    ((), b'--task is needed'),
    (('--task=maths',), b'--task=maths'),
    (('--task=math', 'in.jsonl'), b'standard input'),
    (('agreement',), b'name the files'),
    (('--task=math', '--workers=0'), b'--workers=0'),
  ],
)
def test_a_wrong_command_is_explained(flags, said):
  done = run(*flags)
  assert done.returncode != 0
  assert said in done.stderr + done.stdout
  assert b'Traceback' not in done.stderr
