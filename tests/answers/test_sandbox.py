"""The code sandbox: what passes, what does not, and what each attack comes to."""

import itertools
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import textwrap
import threading
import time

import pytest

from sweb_jax.answers.sandbox import Limits, Outcome, SandboxError, run, run_all

ROOT = pathlib.Path(__file__).parents[2]


def refusal() -> str:
  """What this kernel does not give; '' where it gives all, and for any other fault, which the tests then meet."""
  try:
    run('')
  except SandboxError as e:
    return str(e) if 'here (' in str(e) else ''
  return ''


pytestmark = pytest.mark.skipif(bool(refusal()), reason=f'no sandbox on this machine: {refusal()}')
FREE = {'allow_network': True, 'allow_files': True}


def outcome(program, tests='', **limits):
  return run(textwrap.dedent(program), textwrap.dedent(tests), limits=Limits(**limits))


def answer(program, **limits):
  """What `f()` of the program gives back, seen by a test that fails with its spelling."""
  found = outcome(program, 'raise RuntimeError("answer " + str(f()))', **limits)
  assert found.reason.startswith('RuntimeError: answer '), found
  return found.reason.removeprefix('RuntimeError: answer ')


# Right and wrong.


@pytest.mark.parametrize(
  ('program', 'tests', 'status', 'reason'),
  [
    ('def f(x):\n  return x + 1', 'assert f(1) == 2', 'passed', 'all tests passed'),
    ('def f(x):\n  return x', 'assert f(1) == 2', 'failed', 'AssertionError'),
    ('def f(x):\n  return x', 'assert f(1) == 1\nassert f(2) == 3, "two"', 'failed', 'AssertionError: two'),
    ('def f(x):\n  return y', 'assert f(1) == 1', 'failed', "NameError: name 'y' is not defined"),
    ('def f(x) return x', 'assert f(1) == 1', 'failed', 'SyntaxError: '),
    ('def g(x):\n  return x', 'assert f(1) == 1', 'failed', "NameError: name 'f' is not defined"),
    ('class Odd(Exception): pass\ndef f(): raise Odd("no")', 'f()', 'failed', 'Exception: no'),
    ('def f(): return f()', 'f()', 'failed', 'RecursionError: maximum recursion depth exceeded'),
    ('f = input', 'f()', 'failed', 'EOFError: EOF when reading a line'),
    ('', '', 'passed', 'all tests passed'),
    ('1 / 0', '', 'failed', 'ZeroDivisionError: division by zero'),
  ],
)
def test_a_program_passes_where_every_test_does(program, tests, status, reason):
  found = run(program, tests)
  assert found.status == status
  assert found.reason.startswith(reason)


@pytest.mark.parametrize(
  'value',
  [
    *('None', 'True', '-3', '10**5000', '0.1', 'float("inf")', '2j', '"\\ud800é"', 'b"\\x00"', '[1, (2, {3: [4]})]'),
    *('{1, 2}', 'frozenset({(1,)})', '{(1, 2): {"a": None}}', '[]', '()'),
  ],
)
def test_a_plain_value_crosses_as_it_is(value):
  program = f'def f(): return {value}\ndef same(v): return v == f() and type(v) is type(f())'
  tests = f'v = {value}\nassert f() == v and type(f()) is type(v)\nassert same(v)\nassert f() != [v]'
  assert run(program, tests) == Outcome('passed', 'all tests passed')


def test_tests_use_objects_modules_and_exceptions_of_the_program():
  program = """
    import collections, math
    from dataclasses import dataclass
    @dataclass
    class Pair:
      a: int
      b: int
    class Full(ValueError): pass
    class Node:
      def __init__(self, value): self.value, self.left = value, None
    def total(pair): return pair.a + pair.b
    def swap(pair): return Pair(pair.b, pair.a)
    def depth(node): return 1 + depth(node.left) if node else 0
    def numbers(): yield from (1, 2, 3)
    def refuse(): raise Full('full')
    def append(values): values.append(len(values))
    def count(text): return collections.Counter(text)
    def convert(kind, text): return kind(text)
  """
  tests = """
    assert total(Pair(2, 3)) == 5
    assert swap(Pair(2, 3)) == Pair(3, 2) and swap(Pair(2, 3)) != Pair(2, 3)
    root = Node(1)
    root.left = Node(2)
    assert depth(root) == 2 and root.left.value == 2
    assert list(numbers()) == [1, 2, 3] and sum(numbers()) == 6 and 2 in numbers()
    try:
      refuse()
    except ValueError as e:
      assert 'full' in str(e)
    else:
      assert False
    values = [7]
    append(values)
    assert values == [7, 1]
    assert count('aab') == {'a': 2, 'b': 1}
    assert convert(int, '5') == 5
    assert math.isclose(math.pi, 3.14159, rel_tol=1e-5)
  """
  assert outcome(program, tests) == Outcome('passed', 'all tests passed')


def test_a_main_block_is_not_run():
  assert outcome('if __name__ == "__main__":\n  raise SystemExit(1)').status == 'passed'


# Fake success.


@pytest.mark.parametrize(
  'program',
  [
    'import sys; sys.exit(0)',
    'exit()',
    'import os; os._exit(0)',
    'import os; os.kill(os.getpid(), 9)',
    'import ctypes; ctypes.string_at(0)',
    'import os; os.kill(1, 9)',
    'import os; os.kill(-1, 9)',
    'raise SystemExit(0)',
    'raise KeyboardInterrupt',
    'import atexit, os; atexit.register(os._exit, 0); 1 / 0',
    'print("passed"); import os; os.write(1, b\'["passed", "all tests passed"]\\n\'); os._exit(0)',
    'def f(x):\n  import os; os._exit(0)',
    'def f(x):\n  import sys; sys.exit(0)',
    'def f(x):\n  raise SystemExit',
    'f = exit',
    # The program's end of the socket is all it has: whatever it writes there is read as a reply to a call.
    """
    import os
    for fd in range(256):
      try: os.write(fd, b'["passed", "all tests passed"]\\n')
      except OSError: pass
    os._exit(0)
    """,
    """
    import os, struct, json
    def f(x):
      for fd in range(3, 256):
        for reply in (['passed', 'all tests passed', []], ['value', True, []], ['value', ['h', 'os'], []], [], 7):
          data = json.dumps(reply).encode()
          try: os.write(fd, struct.pack('<I', len(data)) + data)
          except OSError: pass
      os._exit(0)
    """,
    # What compares.
    'class All:\n  __eq__ = lambda s, o: True\n  __hash__ = None\ndef f(x): return All()',
    'class All(int):\n  __eq__ = lambda s, o: True\n  __ne__ = lambda s, o: False\ndef f(x): return All(5)',
    'class All(list):\n  __eq__ = lambda s, o: True\ndef f(x): return All([5])',
    'from unittest.mock import ANY\ndef f(x): return ANY',
    # What the tests are made of.
    'import builtins\nbuiltins.AssertionError = BaseException\nbuiltins.compile = builtins.exec = lambda *a, **k: None',
    """
    import builtins, os
    class E(Exception):
      def __new__(cls, *a): os._exit(0)
    builtins.AssertionError = E
    def f(x): return 0
    """,
    'import sys\nsys.settrace(lambda *a: None)\nsys.excepthook = lambda *a: None\ndef f(x): return 0',
    'import json\njson.dumps = lambda *a, **k: \'["value", true, [null]]\'\ndef f(x): return 0',
    # The tests' own frames, objects and memory.
    """
    import sys, gc
    def f(x):
      frame = sys._getframe()
      while frame:
        for v in [*frame.f_locals.values(), *frame.f_globals.values()]:
          if isinstance(v, str) and 'assert' in v: return 2
        frame = frame.f_back
      for v in gc.get_objects():
        if isinstance(v, dict) and 'tests' in v: return v['tests'] and 2 if 'assert' in str(v['tests']) else 0
    """,
    """
    import ctypes, os
    def f(x):
      libc = ctypes.CDLL(None, use_errno=True)
      if libc.ptrace(16, 1, 0, 0) == 0: return 2
      try: return 2 if os.open('/proc/1/mem', os.O_RDWR) else 0
      except OSError: return 0
    """,
  ],
)
def test_a_fake_success_does_not_pass(program):
  tests = 'assert f(1) == 2\nassert f(2) == 3'
  found = outcome(program, tests)
  assert found.status in ('failed', 'killed'), found


def test_the_tests_are_not_in_the_memory_of_the_program():
  program = """
    import ctypes, gc, os, sys
    here = 'the mark of the program'
    def f(mark):
      found = 0
      for v in gc.get_objects():
        parts = v.values() if type(v) is dict else v if type(v) in (list, tuple) else ()
        found += any(type(s) is str and mark[::-1] in s for s in parts)
      return found
  """
  tests = """
    expected = 'the mark of the tests'
    assert f('margorp eht fo kram eht') > 0
    assert f('stset eht fo kram eht') == 0
  """
  assert outcome(program, tests) == Outcome('passed', 'all tests passed')


@pytest.mark.parametrize(
  'program',
  [
    'set = sorted = lambda x: 5\ndef f(x): return [1]',
    'import builtins\nbuiltins.set = builtins.sorted = lambda x: 5\ndef f(x): return [1]',
    # A program that speaks for itself on the socket: forged names, and 5 as the answer to every call.
    """
    import json, os, stat, struct
    def socket():
      for fd in range(3, 64):
        try: mode = os.fstat(fd).st_mode
        except OSError: continue
        if stat.S_ISSOCK(mode): return fd
    def send(reply):
      data = json.dumps(reply).encode()
      os.write(socket(), struct.pack('<I', len(data)) + data)
    mine = [['set', ['h', 0]], ['sorted', ['h', 0]]]
    send(['value', ['dict', [['f', ['h', 0]], ['__builtins__', ['dict', mine]], *mine]], []])
    while os.read(socket(), 4096):
      send(['value', 5, []])
    """,
  ],
)
def test_builtins_in_the_tests_are_those_of_python(program):
  found = outcome(program, 'assert set(f(1)) == set([1, 2])\nassert sorted(f(1)) == sorted([2, 1])')
  assert found.status == 'failed', found


def test_a_name_of_a_builtin_can_be_imported_from_the_program():
  assert run('def sum(a, b): return a * b', 'from solution import sum\nassert sum(2, 5) == 10').status == 'passed'


def test_the_reason_is_one_printable_line():
  found = outcome("raise ValueError('a\\n\\ud800\\x00b' + 'x' * 1000)")
  assert found.status == 'failed' and found.reason.startswith('ValueError: a ??bxxx')
  assert len(found.reason) == 200


def test_a_program_that_answers_from_what_it_is_asked_alone_passes_by_values_only():
  """The bound of what is caught: right values pass, wherever they come from."""
  assert outcome('def f(x): return {1: 2}[x]', 'assert f(1) == 2').status == 'passed'
  assert outcome('def f(x): return {1: 2}[x]', 'assert f(1) == 2\nassert f(2) == 3').status == 'failed'


# Limits.


def test_an_endless_loop_is_timed_out_by_its_cpu_seconds():
  found = outcome('def f():\n  while True: pass', 'f()', cpu_seconds=1, seconds=8)
  assert found == Outcome('timed out', 'after 1 s of CPU time')


def test_a_loop_that_ignores_the_signal_of_its_limit_is_timed_out():
  program = 'import signal\nsignal.signal(signal.SIGXCPU, signal.SIG_IGN)\nwhile True: pass'
  assert outcome(program, cpu_seconds=1, seconds=8).status == 'timed out'


@pytest.mark.parametrize(
  'program',
  [
    'import time\ntime.sleep(100)',
    'import signal, time\nfor s in signal.valid_signals() - {9, 19}: signal.signal(s, signal.SIG_IGN)\ntime.sleep(100)',
    'import threading\nthreading.Event().wait()',
  ],
)
def test_a_sleeper_is_timed_out_by_the_clock(program):
  begin = time.monotonic()
  assert outcome(program, seconds=0.5) == Outcome('timed out', 'after 0.5 s')
  assert time.monotonic() - begin < 20


def test_an_endless_test_is_timed_out():
  assert outcome('def f():\n  while True: yield 1', 'list(f())', seconds=1).status == 'timed out'
  assert outcome('def f(): return 7', 'while f(): pass', seconds=1).status == 'timed out'


@pytest.mark.parametrize(
  'program', ["def f(): return len('x' * (1 << 40))", 'def f():\n  x = []\n  while True: x.append(bytearray(1 << 20))']
)
def test_memory_is_bounded(program):
  assert outcome(program, 'f()', memory=256 << 20) == Outcome('failed', 'MemoryError')


def test_a_value_that_is_too_long_to_cross_is_an_error():
  assert outcome("def f(): return 'x' * (20 << 20)", 'f()').reason.startswith('ValueError: a value of')


def test_threads_are_bounded():
  program = """
    import threading
    def f():
      stop = threading.Event()
      for i in range(100):
        try: threading.Thread(target=stop.wait, daemon=True).start()
        except RuntimeError: return i
      return 100
  """
  assert int(answer(program, threads=6)) <= 6


def test_the_disk_is_bounded():
  program = """
    def f():
      written = 0
      try:
        for i in range(1000):
          with open(f'{i}', 'wb') as out:
            for _ in range(64):
              out.write(bytes(1 << 16)); out.flush(); written += 1 << 16
      except OSError as e:
        return [e.strerror, written <= 8 << 20]
  """
  assert answer(program, disk=8 << 20) == str(['No space left on device', True])
  program = "def f():\n  with open('x', 'wb') as out: out.truncate(1 << 40)"
  assert outcome(program, 'f()').reason.startswith('OSError: [Errno 27] File too large')


def test_files_are_bounded_in_number():
  program = """
    def f():
      try:
        for i in range(100_000): open(str(i), 'w').close()
      except OSError as e: return e.strerror
  """
  assert answer(program) == 'No space left on device'


def test_100_mb_of_output_kill_the_program():
  for where in ('stdout', 'stderr'):
    program = f"import sys\nfor _ in range(100): sys.{where}.write('x' * (1 << 20))"
    assert outcome(program) == Outcome('killed', 'printed more than 1048576 bytes')


def test_a_little_output_is_let_pass():
  assert outcome("print('x' * 1000)").status == 'passed'


# What it can reach.


def test_the_folder_is_fresh_empty_and_gone_afterwards():
  program = """
    import os, tempfile
    before = os.listdir()
    open('mine', 'w').write('x')
    def f(): return [before, os.listdir(), os.getcwd() == os.path.expanduser('~') == tempfile.gettempdir()]
  """
  left = set(os.listdir('/tmp'))
  for _ in range(2):
    assert answer(program) == str([[], ['mine'], True])
  assert not [name for name in set(os.listdir('/tmp')) - left if name.startswith('sandbox-')]


def test_the_environment_is_empty(monkeypatch):
  monkeypatch.setenv('SECRET', 'of the parent')
  program = 'import os, sys\ndef f(): return sorted(os.environ) + sys.argv[2:]'
  assert answer(program) == str(['HOME', 'PWD', 'TMPDIR'])
  program = """
    import ctypes
    def f():
      libc = ctypes.CDLL(None)
      libc.getenv.restype = ctypes.c_char_p
      return libc.getenv(b'SECRET')
  """
  assert answer(program) == 'None'


def test_home_data_and_processes_of_the_parent_are_not_there(tmp_path):
  (tmp_path / 'secret').write_text('of the parent')
  paths = [str(p) for p in (tmp_path / 'secret', ROOT, __file__, '/proc/1', '/etc/passwd', '/sys', '/var', '/bin/sh')]
  assert answer(f'import os\ndef f(): return [p for p in {paths} if os.path.exists(p)]') == '[]'
  # What is there of home is at most the way to an interpreter that is installed in it.
  home, library = pathlib.Path.home(), pathlib.Path(os.__file__).parent
  listing = f'import os\ndef f(): return " ".join(os.listdir({str(home)!r})) if os.path.isdir({str(home)!r}) else ""'
  way = library.relative_to(home).parts[0] if library.is_relative_to(home) else ''
  assert answer(listing) == way
  root = set(answer('import os\ndef f(): return " ".join(os.listdir("/"))').split())
  assert root == {'box', 'dev', 'lib', 'usr', library.parts[1]} | ({'lib64'} if os.path.exists('/lib64') else set())


def test_nothing_outside_the_folder_can_be_written(tmp_path):
  target = tmp_path / 'mine'
  target.write_text('as it was')
  target.chmod(0o666)
  program = f"""
    import os
    def f():
      wrote = []
      for path in [{str(target)!r}, '/x', '/dev/x', '/lib/x', '/usr/lib/x', '/tmp/x', os.__file__, '/old/x']:
        try:
          open(path, 'a').write('x'); wrote.append(path)
        except OSError: pass
      return wrote
  """
  assert answer(program) == '[]'
  assert target.read_text() == 'as it was'


def test_privileges_cannot_be_had_back():
  program = """
    import ctypes, os
    libc = ctypes.CDLL(None, use_errno=True)
    def f():
      tries = [libc.mount(b'none', b'/', None, 1 << 18, None), libc.umount2(b'/lib', 2), libc.chroot(b'.')]
      tries += [libc.mount(None, b'/', None, 32 | 4096, None), libc.sethostname(b'x', 1), libc.unshare(0x10000000)]
      for i in (0, 1):
        try: os.setuid(0); tries.append(0)
        except OSError: tries.append(-1)
      return tries
  """
  assert answer(program) == str([-1] * 8)


def test_no_other_program_can_be_started():
  program = """
    import os, sys
    code = b'#!' + sys.executable.encode()
    open('x', 'wb').write(code); os.chmod('x', 0o755)
    def f():
      failed = 0
      for path in ('./x', sys.executable, '/bin/sh', '/usr/bin/env'):
        try: os.execv(path, [path])
        except OSError: failed += 1
      return failed
  """
  assert answer(program) == '4'


def test_there_is_no_network():
  with socket.create_server(('127.0.0.1', 0)) as server, socket.socket(socket.AF_UNIX) as local:
    local.bind('\0sandbox-test')
    local.listen()
    program = f"""
      import socket
      def f():
        errors = []
        for kind, address in [(socket.AF_INET, {server.getsockname()!r}), (socket.AF_INET, ('8.8.8.8', 53)),
                              (socket.AF_UNIX, '\\0sandbox-test')]:
          try: socket.socket(kind).connect(address)
          except OSError as e: errors.append(type(e).__name__)
        return errors
    """
    assert answer(program) == str(['OSError'] * 3)
    server.settimeout(0)
    with pytest.raises(BlockingIOError):
      server.accept()


# Machines that give less.


IN_A_NAMESPACE = """
import ctypes, os, sys
user, group, me = os.geteuid(), os.getegid(), os.getpid()
maps = [('setgroups', 'deny'), ('uid_map', f'0 {user} 1'), ('gid_map', f'0 {group} 1')]
if user == 0:
  maps = [('uid_map', '0 0 65536'), ('gid_map', '0 0 65536')]
begin, end = os.pipe()
if os.fork() == 0:  # Whoever is outside may map more than one user.
  os.read(begin, 1)
  for name, text in maps:
    with open(f'/proc/{me}/{name}', 'w') as f: f.write(text)
  os._exit(0)
assert ctypes.CDLL(None).unshare(0x10000000) == 0
os.write(end, b'x')
assert os.wait()[1] == 0
for name in sys.argv[2].split():
  with open(f'/proc/sys/user/max_{name}_namespaces', 'w') as f: f.write('0')
sys.path.insert(0, sys.argv[1])
import sandbox
program = '''
import os, socket
def f():
  for what in (socket.socket, os.fork, lambda: os.kill(os.getppid(), 0), lambda: os.kill(1, 0)):
    try: return what()
    except OSError: pass
  return 5
'''
for options in ({}, {'allow_network': True}, {'allow_files': True}, {'allow_network': True, 'allow_files': True}):
  try: print(sandbox.run(program, 'assert f() == 5', **options).status)
  except sandbox.SandboxError as e: print(str(e).split(' here ')[0].split(' for ')[0])
"""


@pytest.mark.parametrize(
  ('missing', 'outcomes'),
  [
    ('net', ['programs cannot be kept from the network', 'passed'] * 2),
    ('mnt', ['the file system cannot be hidden from programs'] * 2 + ['passed', 'passed']),
  ],
)
def test_without_namespaces_it_refuses_unless_told_otherwise(missing, outcomes, tmp_path):
  command = [sys.executable, '-c', IN_A_NAMESPACE, str(ROOT / 'sweb_jax/answers'), missing]
  environment = os.environ | {'TMPDIR': str(tmp_path)}
  done = subprocess.run(command, capture_output=True, text=True, env=environment)
  assert done.stdout.split('\n')[:-1] == outcomes, done.stderr
  assert list(tmp_path.iterdir()) == []


AS_NOBODY = """
import os, sys
os.setgroups([])
os.setresgid(65534, 65534, 65534)
os.setresuid(65534, 65534, 65534)
sys.path.insert(0, sys.argv[1])
import sandbox
program = '''
import ctypes, os, threading
libc = ctypes.CDLL(None)
def f(): return [libc.unshare(0x10000000), libc.mount(b'none', b'/box', b'tmpfs', 0, None), os.path.exists('/proc')]
def g():
  stop = threading.Event()
  for made in range(100):
    try: threading.Thread(target=stop.wait, daemon=True).start()
    except RuntimeError: return made
def h():
  try: return os.fork()
  except OSError: return -1
'''
print(sandbox.run(program, 'assert f() == [-1, -1, False]; assert 1 <= g() <= 8; assert h() == -1'))
"""


def open_to_all(path):
  real = pathlib.Path(path).resolve()
  return all(p.stat().st_mode & 0o5 == 0o5 for p in (real, *real.parents))


@pytest.mark.skipif(os.geteuid() != 0, reason='all other tests run as a user that is not root')
def test_a_user_that_is_not_root_has_the_same_sandbox():
  python = next((p for p in (sys.executable, '/usr/bin/python3') if os.path.exists(p) and open_to_all(p)), 'false')
  version = subprocess.run([python, '-c', 'import sys; print(sys.version_info >= (3, 11))'], capture_output=True)
  if version.stdout != b'True\n':
    pytest.skip('there is no interpreter of version 3.11 or later that another user may run')
  with tempfile.TemporaryDirectory() as folder:
    os.chmod(folder, 0o755)
    for path in (ROOT / 'sweb_jax/answers').glob('sandbox*.py'):
      shutil.copy(path, folder)
      os.chmod(f'{folder}/{path.name}', 0o644)
    done = subprocess.run([python, '-c', AS_NOBODY, folder], capture_output=True, text=True, cwd='/')
  if 'here (' in done.stderr:
    pytest.skip(f'users may not make namespaces on this machine: {done.stderr[-300:]}')
  assert done.stdout == "Outcome(status='passed', reason='all tests passed')\n", done.stderr


def test_without_a_hidden_file_system_the_rest_still_holds(tmp_path):
  """`allow_files` where it is not needed changes nothing."""
  (tmp_path / 'secret').write_text('x')
  program = f'import os\ndef f(): return os.path.exists({str(tmp_path / "secret")!r})'
  assert run(program, 'assert f() is False', **FREE).status == 'passed'


# Many.


def test_many_programs_give_outcomes_in_order():
  jobs = [(f'def f(): return {i}', f'assert f() == {i // 2 * 2}') for i in range(12)]
  assert [o.status for o in run_all(jobs, workers=3)] == ['passed', 'failed'] * 6


def test_programs_are_read_as_they_are_needed():
  taken = []
  jobs = (taken.append(i) or ('', '') for i in itertools.count())
  first = next(run_all(jobs, workers=2))
  assert first.status == 'passed' and len(taken) <= 5


def test_no_process_thread_or_file_is_left_behind():
  def state():
    return len(os.listdir('/proc/self/fd')), threading.active_count()

  run('')
  before = state()
  list(run_all([('while True: print(1)', ''), ('import os; os._exit(0)', ''), ('', '')] * 2, workers=2))
  assert state() == before


def test_the_clock_leaves_room_for_a_busy_machine():
  assert Limits().seconds >= 2 * Limits().cpu_seconds
