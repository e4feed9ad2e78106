"""What hostile programs try to hold, to reach and to fake in the sandbox, and what it comes to."""

import errno
import os
import pathlib
import re
import signal
import struct
import subprocess
import sys
import textwrap
import time

import pytest

from sweb_jax.answers import sandbox_filter
from sweb_jax.answers.sandbox import Limits, Outcome, SandboxError, run, run_all

ROOT = pathlib.Path(__file__).parents[2]
HEADERS = {
  'x86_64': (r'/usr/include/x86_64-linux-gnu/asm/unistd_64.h', r'#define __NR_(\w+) (\d+)'),
  'aarch64': ('/usr/include/asm-generic/unistd.h', r'#define __NR(?:3264)?_(\w+) (\d+)'),
}


def refusal() -> str:
  try:
    run('')
  except SandboxError as e:
    return str(e) if 'here (' in str(e) else ''
  return ''


pytestmark = pytest.mark.skipif(bool(refusal()), reason=f'no sandbox on this machine: {refusal()}')


def outcome(program, tests='', **limits):
  return run(textwrap.dedent(program), textwrap.dedent(tests), limits=Limits(**limits))


def answer(program, **limits):
  """What `f()` of the program gives back, seen by a test that fails with its spelling."""
  found = outcome(program, 'raise RuntimeError("answer " + str(f()))', **limits)
  assert found.reason.startswith('RuntimeError: answer '), found
  return found.reason.removeprefix('RuntimeError: answer ')


# Memory: each way to hold it is tried until it gives no more. Numbers are MB.

HOLDING = """
import ctypes, mmap, os, socket
libc = ctypes.CDLL(None, use_errno=True)
libc.shmat.restype = ctypes.c_void_p
libc.mmap.restype = ctypes.c_void_p
SIZE = 8 << 20
kept = []
def shared_memory():
  name = libc.shmget(0, SIZE, 0o1600)
  at = libc.shmat(name, None, 0)
  if name < 0: raise OSError
  ctypes.memset(at, 1, SIZE)
  libc.shmdt(ctypes.c_void_p(at))
def files_in_memory():
  name = os.memfd_create('x')
  kept.append(name)
  for _ in range(SIZE >> 20): os.write(name, bytes(1 << 20))
def files_in_memory_by_number():
  name = libc.syscall(319 if os.uname().machine == 'x86_64' else 279, b'x', 0)
  if name < 0: raise OSError
  for _ in range(SIZE >> 20): os.write(name, bytes(1 << 20))
def secret_files_in_memory():
  name = libc.syscall(447, 0)
  if name < 0: raise OSError
  os.ftruncate(name, SIZE)
  kept.append(mmap.mmap(name, SIZE))
def message_queues():
  for _ in range(SIZE >> 14):
    queue = libc.msgget(0, 0o1600)
    if queue < 0 or libc.msgsnd(queue, ctypes.byref(ctypes.create_string_buffer(b'x', 1 << 13)), 8184, 2048) < 0:
      raise OSError
def semaphores():
  for _ in range(SIZE // (32000 * 64)):
    if libc.semget(0, 32000, 0o1600) < 0: raise OSError
def what_stays_of_a_shared_mapping():
  at = libc.mmap(None, ctypes.c_size_t(SIZE), 3, 0x21, -1, 0)
  if at in (None, 2**64 - 1): raise OSError
  ctypes.memset(at, 1, SIZE)
  if libc.munmap(ctypes.c_void_p(at), ctypes.c_size_t(SIZE - 4096)): raise OSError
def what_stays_of_a_mapped_device():
  with open('/dev/zero', 'r+b') as zeros:
    at = libc.mmap(None, ctypes.c_size_t(SIZE), 3, 1, zeros.fileno(), 0)
  if at in (None, 2**64 - 1): raise OSError
  ctypes.memset(at, 1, SIZE)
  if libc.munmap(ctypes.c_void_p(at), ctypes.c_size_t(SIZE - 4096)): raise OSError
def files():
  with open(str(len(kept)), 'wb') as out:
    kept.append(1)
    for _ in range(SIZE >> 20): out.write(bytes(1 << 20))
def objects():
  kept.append(b'x' * SIZE)
def other_processes():
  begin, end = os.pipe()
  if os.fork() == 0:
    mine = b'x' * SIZE
    os.write(end, b'x')
    import time; time.sleep(100)
  os.read(begin, 1)
def f(name):
  held = 0
  while held < 640:
    try: globals()[name]()
    except (OSError, MemoryError, AttributeError): break
    held += SIZE >> 20
  return held
"""


@pytest.mark.parametrize('way', re.findall(r'^def (\w+)\(\)', HOLDING, re.MULTILINE))
def test_no_way_to_hold_memory_gives_more_than_the_limit(way):
  found = outcome(HOLDING, f'raise RuntimeError(f("{way}"))', memory=256 << 20)
  held = int(found.reason.removeprefix('RuntimeError: '))
  assert held <= {'objects': 256, 'files': 16}.get(way, 0), found


def test_buffers_of_the_kernel_hold_little():
  program = """
    import os, socket
    kept = []
    def f():
      held = 0
      try:
        while True:
          if len(kept) % 2:
            a, b = socket.socketpair(); a.setblocking(False); write, keep = a.send, (a, b)
          else:
            a, b = os.pipe(); os.set_blocking(b, False); write, keep = (lambda data, b=b: os.write(b, data)), (a, b)
          kept.append(keep)
          try:
            while True: held += write(bytes(4096))
          except BlockingIOError: pass
      except OSError: return held
  """
  assert 1 << 20 < int(answer(program)) < 32 << 20


# The network, other processes, other programs.


def test_no_address_family_is_open():
  """Not AF_VSOCK (40) either, which reaches the host of a virtual machine from any network namespace."""
  program = """
    import ctypes, socket
    libc = ctypes.CDLL(None)
    def f():
      opened = []
      for family in range(64):
        for kind in (1, 2, 3, 5):
          if libc.socket(family, kind, 0) >= 0: opened.append((family, kind))
        if family != socket.AF_UNIX and libc.socketpair(family, 1, 0, (ctypes.c_int * 2)()) >= 0:
          opened.append((family, 'pair'))
      return opened
  """
  assert answer(program) == '[]'


def test_the_loop_of_asyncio_threads_and_files_are_there():
  program = """
    import asyncio, concurrent.futures, pathlib, shutil, sqlite3, tempfile, threading, time
    async def wait(x):
      await asyncio.sleep(0.01)
      return x
    async def both(): return await asyncio.gather(wait(1), wait(2))
    def f():
      with concurrent.futures.ThreadPoolExecutor(4) as pool:
        squares = list(pool.map(lambda x: x * x, range(8)))
      with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / 'a'
        path.write_text('text')
        shutil.copytree(folder, folder + '2')
        with sqlite3.connect(folder + '/data') as data:
          data.execute('create table t (x)')
          data.execute('insert into t values (5)')
          (row,) = data.execute('select x from t')
        copied = (pathlib.Path(folder + '2') / 'a').read_text()
      return [asyncio.run(both()), squares, copied, row, time.sleep(0.01), threading.active_count() > 0]
  """
  assert answer(program) == str([[1, 2], [x * x for x in range(8)], 'text', (5,), None, True])


@pytest.mark.parametrize(
  'start',
  [
    'os.fork()',
    'os.forkpty()',
    'os.posix_spawn("/bin/x", ["x"], {})',
    'os.execv("/lib64/ld-linux-x86-64.so.2", ["x"])',
    'subprocess.run(["x"])',
    'subprocess.run(["/lib64/ld-linux-x86-64.so.2"])',
    'multiprocessing.get_context("fork").Process(target=print).start()',
    'failed(libc.vfork())',
    'failed(libc.syscall(435, (ctypes.c_ulong * 11)(), 88))',
    'failed(libc.syscall(56, 17, 0, 0, 0, 0))',
    'failed(libc.syscall(56, 0x10000000 | 17, 0, 0, 0, 0))',
  ],
)
def test_a_program_has_one_process(start):
  program = f"""
    import ctypes, multiprocessing, os, subprocess
    libc = ctypes.CDLL(None)
    def failed(number):
      if number < 0: raise OSError
    def f():
      before = os.getpid()
      try: {start}
      except OSError: return 'refused'
      return 'child' if os.getpid() != before else 'parent'
  """
  assert answer(program) == 'refused'


@pytest.mark.parametrize('number', [int(s) for s in (signal.SIGALRM, signal.SIGINT, signal.SIGTERM, signal.SIGKILL)])
@pytest.mark.parametrize('target', ['kill(1', 'kill(-1', 'kill(0', 'kill(os.getppid()', 'killpg(1', 'tgkill(1, 1'])
def test_signals_to_the_tests_change_nothing(number, target):
  tries = f'libc.syscall(234, 1, 1, {number})' if target == 'tgkill(1, 1' else f'os.{target}, {number})'
  program = f"""
    import ctypes, os, time
    libc = ctypes.CDLL(None)
    def f():
      try: {tries}
      except OSError: pass
      time.sleep(0.05)
      return 5
  """
  if target == 'kill(0' and number != signal.SIGKILL:
    program = f'import signal\nsignal.signal({number}, signal.SIG_IGN)\n' + textwrap.dedent(program)
  found = outcome(program, 'try:\n  x = f()\nexcept Exception as e:\n  x = 0\nassert x == 5')
  assert found == Outcome('passed', 'all tests passed') or (target, number) == ('kill(0', signal.SIGKILL)
  assert found.status in ('passed', 'killed')


def test_a_signal_by_way_of_a_file_does_not_reach_the_tests():
  program = """
    import fcntl, os, signal, time
    def f():
      begin, end = os.pipe()
      sent = 0
      try:
        fcntl.fcntl(begin, fcntl.F_SETOWN, 1); fcntl.fcntl(begin, 10, signal.SIGALRM)
        fcntl.fcntl(begin, fcntl.F_SETFL, os.O_ASYNC); os.write(end, b'x')
        sent = 1
      except OSError: pass
      time.sleep(0.05)
      return sent
  """
  assert outcome(program, 'assert f() == 0') == Outcome('passed', 'all tests passed')


def test_limits_of_the_tests_cannot_be_changed():
  program = """
    import os, resource
    def f():
      changed = []
      for pid in (1, os.getppid() or 1):
        try: resource.prlimit(pid, resource.RLIMIT_CPU, (1, 1)); changed.append(pid)
        except OSError: pass
      return changed
  """
  assert answer(program) == '[]'


# Time.


@pytest.mark.parametrize(
  'start', ['os.fork()', 'threading.Thread(target=loop, daemon=True).start()'], ids=['processes', 'threads']
)
def test_eight_loops_share_the_limit_of_cpu_seconds(start):
  program = f"""
    import hashlib, os, threading
    def loop(): hashlib.pbkdf2_hmac('sha256', b'x' * 1000, b'y', 10**9)
    def f():
      for _ in range(7):
        try: {start}
        except OSError: pass
      loop()
  """
  begin = time.monotonic()
  before = os.times()
  assert outcome(program, 'f()', cpu_seconds=2, threads=10, seconds=25) == Outcome(
    'timed out', 'after 2 s of CPU time'
  )
  used = os.times()
  assert used.children_user + used.children_system - before.children_user - before.children_system < 4
  assert time.monotonic() - begin < 20


def test_a_value_that_takes_long_to_compare_is_timed_out():
  """Whole numbers with one hash, in the tests' own process: the same limit of CPU time."""
  program = 'def f(): return [x * (2**61 - 1) for x in range(60_000)]'
  found = outcome(program, 'assert set(f()) == {1}', cpu_seconds=1, seconds=25)
  assert found == Outcome('timed out', 'the tests, after 1 s of CPU time')


# Names and values.


def odd(body, base='', arguments=''):
  """A program whose `f` gives back an object of its own class."""
  return f'import decimal\nclass Odd({base}):\n  n = 0\n  {body}\ndef f(x): return Odd({arguments})'


def changing(value):
  """The body of a method that gives another value each time."""
  return f'\n    Odd.n += 1\n    return {value}'


@pytest.mark.parametrize(
  ('program', 'tests'),
  [
    # MBPP 596: a test that names `sys` and does not import it.
    ('class sys:\n  getsizeof = lambda x: 7\ndef f(x): return 7', 'assert f((1, 2)) == sys.getsizeof((1, 2))'),
    ('class math:\n  sqrt = lambda x: 7\nmath = math()\ndef f(x): return 7', 'assert f(9) == math.sqrt(9)'),
    ('class re:\n  match = max\ndef f(x): return 7', 'def check(f): assert re.match("a", str(f(1)))\ncheck(f)'),
    ('import math\nmath.floor = lambda x: 5\ndef f(x): return 5', 'assert f(1) == math.floor(1)'),
    ('import sys\nsys.modules["math"] = sys\nsys.floor = int\ndef f(x): return 5', 'assert f(1) == math.floor(1)'),
    # HumanEval 32: a number that is another one each time it is asked for.
    (
      odd('def __float__(self):' + changing('[0.0, 0.0, 1 / 3, 0.0][Odd.n]')),
      'import math\nx = f([1, -3, 2])\nassert abs(sum(c * math.pow(x, i) for i, c in enumerate([1, -3, 2]))) < 1e-4',
    ),
    (odd('def __index__(self):' + changing('Odd.n')), 'x = f(1)\nassert int(x) == 1 or int(x) == 1'),
    (odd('__len__ = lambda s: 1'), 'assert len(f(1)) == 1'),
    (odd('__getitem__ = lambda s, i: i'), 'assert f(1)[1] == 1'),
    (odd('__str__ = __repr__ = lambda s: "1"'), 'assert str(f(1)) == "1"'),
    (odd('__str__ = __repr__ = lambda s: "1"'), 'assert f"{f(1)!r}" == "1"'),
    (odd('__sub__ = __rsub__ = lambda s, o: 0'), 'assert f(1) - 1 == 0'),
    (odd('__abs__ = __sub__ = lambda *a: 0', 'int', 5), 'assert abs(f(1) - 1) < 1e-6'),
    (odd('def __float__(self):' + changing('1.0 * Odd.n'), 'float', 0), 'x = f(1)\nassert float(x) != float(x)'),
    (odd('def __iter__(self):' + changing('iter([1, 2][: Odd.n])')), 'x = f(1)\nassert list(x) != list(x)'),
    (odd('__len__ = lambda s: 3', 'list', '[1]'), 'assert len(f(1)) == 3'),
    (odd('__str__ = lambda s: "1"\n  __eq__ = lambda s, o: True', 'str', '"2"'), 'assert f(1) == "1"'),
    (odd('__getitem__ = lambda s, k: 1', 'dict'), 'assert f(1)[1] == 1'),
    (odd('__str__ = lambda s: "1"\n  __eq__ = lambda s, o: True', 'decimal.Decimal', 2), 'assert f(1) == 1'),
  ],
)
def test_names_are_those_of_the_tests_and_values_are_plain(program, tests):
  found = outcome(program, tests)
  assert found.status == 'failed', found


def test_numbers_of_the_standard_library_are_numbers():
  program = """
    from decimal import Decimal
    from fractions import Fraction
    def f(): return [Fraction(10**30, 3), Decimal('0.50'), Decimal('NaN'), {Fraction(1, 2): Decimal(1)}]
  """
  tests = """
    from fractions import Fraction
    third, half, nan, table = f()
    assert third == Fraction(10**30, 3) and half == 0.5 and nan != nan and table == {0.5: 1}
    assert abs(half - 1) == 0.5
  """
  assert outcome(program, tests) == Outcome('passed', 'all tests passed')


def test_a_loop_over_an_object_sees_the_same_twice_and_may_be_endless():
  program = 'import itertools\ndef f(): return itertools.count()\ndef g(): return {1: 2}.keys()'
  tests = """
    import itertools
    x = f()
    assert list(itertools.islice(x, 3)) == [0, 1, 2] == list(itertools.islice(x, 3))
    assert next(f()) == 0
    assert set(g()) == {1} and sorted(g()) == [1] and 1 in g() and tuple(g()) == (1,)
  """
  assert outcome(program, tests) == Outcome('passed', 'all tests passed')


def test_a_function_may_have_the_name_of_a_module():
  program = 'def numbers(): return [1]\nclass queue:\n  def first(self): return 5'
  assert outcome(program, 'assert numbers() == [1]') == Outcome('passed', 'all tests passed')
  assert outcome(program, 'assert queue().first() == 5') == Outcome('passed', 'all tests passed')
  tests = 'from solution import queue\nassert queue.first(0) == 5'
  assert outcome(program, tests) == Outcome('passed', 'all tests passed')


@pytest.mark.parametrize(
  'value',
  [
    *('["f", 1, 0]', '["f", "x"]', '["d", "x"]', '["d"]', '["c", [], 0]', f'["c", {"9" * 400}, 0]'),
    *('["h", "os"]', '["h", null]', '["dict", [[["list", []], 1]]]', '["set", [["list", []]]]', '["b", "x"]', '[]'),
  ],
)
def test_a_forged_value_is_the_end_of_its_program(value):
  program = f"""
    import json, os, stat, struct
    def f():
      for fd in range(3, 64):
        try:
          if not stat.S_ISSOCK(os.fstat(fd).st_mode): continue
        except OSError: continue
        data = b'["value", ' + {value!r}.encode() + b', []]'
        os.write(fd, struct.pack('<I', len(data)) + data)
      os._exit(0)
  """
  found = outcome(program, 'try:\n  f()\nexcept Exception:\n  pass')
  assert found.status == 'failed' and 'cannot be read' in found.reason, found


# What stays.


GRADER = """
import sys, threading
sys.path.insert(0, sys.argv[1])
import sandbox
print('begins', flush=True)
sandbox.run('import time\\ntime.sleep(100)', **(dict(allow_network=True, allow_files=True) if sys.argv[2:] else {}))
"""


def test_nothing_is_left_where_the_grader_is_killed(tmp_path):
  environment = os.environ | {'TMPDIR': str(tmp_path)}
  command = [sys.executable, '-c', GRADER, str(ROOT / 'sweb_jax/answers')]
  with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as grader:
    assert grader.stdout.readline() == b'begins\n'
    time.sleep(0.5)
    children = pathlib.Path(f'/proc/{grader.pid}/task/{grader.pid}/children').read_text().split()
    grader.kill()
  assert children
  end = time.monotonic() + 20
  while any(os.path.exists(f'/proc/{child}') for child in children) and time.monotonic() < end:
    time.sleep(0.02)
  assert not [child for child in children if os.path.exists(f'/proc/{child}')]
  assert list(tmp_path.iterdir()) == []


def test_a_bad_program_is_not_the_end_of_the_others():
  """Where the user is not root, server and program have the same one, and a group's signal would end the server."""
  bad = ['import os\nos.kill(0, 9)', 'import os\nos.killpg(0, 9)', 'import os\nos.kill(os.getpid(), 9)']
  jobs = [(program, '') for program in bad] + [('def f(): return 5', 'assert f() == 5')]
  found = [o.status for o in run_all(jobs, workers=1, limits=Limits(seconds=1))]
  assert found == ['failed', 'failed', 'killed', 'passed']


# The filter itself.


@pytest.mark.parametrize('machine', HEADERS)
def test_numbers_of_system_calls_are_those_of_the_kernel_headers(machine):
  path, pattern = HEADERS[machine]
  if not os.path.exists(path):
    pytest.skip(f'there is no {path}')
  known = {name: int(number) for name, number in re.findall(pattern, pathlib.Path(path).read_text())}
  known |= {'newfstatat': known['fstatat']} if machine == 'aarch64' else {}
  table = sandbox_filter.table(machine)
  assert {name: known.get(name) for name in table} == table
  assert {'read', 'write', 'mmap', 'futex', 'clone', 'exit_group', 'openat'} <= set(table)


@pytest.mark.parametrize(
  ('there', 'instead', 'message'),
  [
    ('os.uname().machine', '"riscv64"', 'system calls are known for 64-bit x86_64 and aarch64, and this is riscv64'),
    ('_PR_SET_SECCOMP, _MODE_FILTER = 22', '_PR_SET_SECCOMP, _MODE_FILTER = 1000', 'prctl(PR_SET_SECCOMP): '),
  ],
)
def test_without_a_filter_no_program_is_run(tmp_path, there, instead, message):
  for path in (ROOT / 'sweb_jax/answers').glob('sandbox*.py'):
    (tmp_path / path.name).write_text(path.read_text().replace(there, instead))
  code = f'import sys\nsys.path.insert(0, {str(tmp_path)!r})\nimport sandbox\nsandbox.run("", allow_files=True)'
  done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
  assert 'SandboxError: the system calls of programs cannot be limited here (' in done.stderr
  assert message in done.stderr


def ruling(code, architecture, number, *arguments):
  """What a BPF program returns for a system call: an interpreter of the four operations that the filter is made of."""
  halves = [half for a in (*arguments, *(6 - len(arguments)) * [0]) for half in (a & 0xFFFFFFFF, a >> 32)]
  data = [number, architecture, 0, 0, *halves]
  at = accumulator = 0
  while True:
    operation, holds, otherwise, value = struct.unpack('<HBBI', code[at])
    at += 1
    if operation == 0x20:
      accumulator = data[value // 4]
    elif operation == 0x54:
      accumulator &= value
    elif operation == 0x15:
      at += holds if accumulator == value else otherwise
    else:
      assert operation == 0x06
      return value


ALLOWED, UNKNOWN, REFUSED = 0x7FFF0000, 0x50000 | errno.ENOSYS, 0x50000 | errno.EPERM
RULINGS = [
  *[('clone', (0x3D0F00,), ALLOWED), ('clone', (0x3D0F00 | 0x10000000,), REFUSED), ('clone', (17,), REFUSED)],
  *[('clone', (0x3D0F00 | 0x20000,), REFUSED), ('clone', (0x3D0F00 | 0x40000000,), REFUSED)],
  *[('mmap', (0, 9, 3, 0x22), ALLOWED), ('mmap', (0, 9, 3, 0x01), ALLOWED), ('mmap', (0, 9, 3, 0x21), REFUSED)],
  *[('mmap', (0, 9, 3, 0x23), REFUSED), ('mmap', (0, 9, 3, 0x40021), REFUSED)],
  *[('socketpair', (1, 1), ALLOWED), ('socketpair', (40, 1), REFUSED), ('socketpair', (2, 1), REFUSED)],
  *[('kill', (77, 14), ALLOWED), ('kill', (1, 14), REFUSED), ('kill', (2**64 - 1, 9), REFUSED)],
  *[('tgkill', (77, 78, 9), ALLOWED), ('tgkill', (1, 1, 9), REFUSED)],
  *[('prlimit64', (0, 1), ALLOWED), ('prlimit64', (77, 1), ALLOWED), ('prlimit64', (1, 1), REFUSED)],
  *[('fcntl', (5, 3), ALLOWED), ('fcntl', (5, 8), REFUSED), ('fcntl', (5, 15), REFUSED), ('fcntl', (5, 1031), REFUSED)],
  *[('ioctl', (5, 0x5421), ALLOWED), ('ioctl', (5, 0x8901), REFUSED), ('ioctl', (5, 0x5412), REFUSED)],
  *[('prctl', (15,), ALLOWED), ('prctl', (1,), REFUSED), ('prctl', (38,), REFUSED)],
]


@pytest.mark.parametrize('machine', HEADERS)
def test_the_filter_allows_what_is_listed_and_nothing_else(machine):
  table = sandbox_filter.table(machine)
  code = sandbox_filter.instructions(machine, 77)
  assert len(code) < 4096
  architecture, other = (0xC000003E, 0x40000003) if machine == 'x86_64' else (0xC00000B7, 0x40000028)
  conditional = {name for name, _, _ in RULINGS}
  for number in range(600):
    names = [name for name, n in table.items() if n == number]
    if not conditional.intersection(names):
      assert ruling(code, architecture, number) == (ALLOWED if names else UNKNOWN)
    assert ruling(code, other, number) == UNKNOWN
    assert ruling(code, architecture, number | 0x40000000) == UNKNOWN
  for name, arguments, expected in RULINGS:
    assert ruling(code, architecture, table[name], *arguments) == expected, (name, arguments)
