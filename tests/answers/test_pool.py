"""Every request is answered in order and in time, whatever is sent and whoever dies; no worker outlives its pool."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from sweb_jax.answers import pool as pool_lib
from sweb_jax.answers.pool import Opinion, Pool, PoolError

EQUAL, DIFFERENT = Opinion(True, 'equal'), Opinion(False, 'not equal')
ENDLESS = '2^{10^9}'  # One operation of C code: no exception, alarm or thread gets in.
HOSTILE = [
  '9^{9^{9^9}}',
  '(' * 5000 + '1' + ')' * 5000,
  '(' * 450 + '1' + ')' * 450,
  '7' * 10**6,
  '1e1000000000',
  '\\frac{1}{2',
  '}{',
  "__import__('os').system('touch x')",
  ENDLESS,
  '\\binom{10^9}{10^8}',
  '\\frac{1}{' * 35 + '2' + '}' * 35,
  '\ud800',
  '\x00',
  '',
]

on_linux = pytest.mark.skipif(not Path('/proc/self/stat').exists(), reason='reads /proc')


@pytest.fixture(scope='module')
def shared():
  with Pool(workers=2, deadline=1.5) as pool:
    yield pool


def alive(pid: int) -> bool:
  """Whether the process runs; one that has ended and that nobody has waited for does not."""
  try:
    return Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[0] not in 'ZX'
  except (FileNotFoundError, ProcessLookupError):
    return False


def gone(pids: list[int], seconds: float = 5.0) -> bool:
  end = time.monotonic() + seconds
  while any(map(alive, pids)) and time.monotonic() < end:
    time.sleep(0.05)
  return not any(map(alive, pids))


def start(script: str, *folders: Path) -> tuple[subprocess.Popen, list[int]]:
  """Starts a caller that prints the ids of its workers once they are at work."""
  env = {**os.environ, 'PYTHONPATH': os.pathsep.join(map(str, [*folders, *sys.path]))}
  process = subprocess.Popen([sys.executable, '-c', script], stdout=subprocess.PIPE, text=True, env=env)
  return process, [int(p) for p in process.stdout.readline().split()]


BUSY = f"""
import threading, time
from sweb_jax.answers.pool import Pool
def pairs():
  yield '1', '1'
  yield '1', '1'
  yield '1', {ENDLESS!r}
  yield '1', {ENDLESS!r}
with Pool(workers=2, deadline=30.0) as pool:
  opinions = pool.second_opinions(pairs())
  next(opinions), next(opinions)
  threading.Timer(1.0, lambda: print(*pool.pids, flush=True)).start()
  next(opinions)
"""


def test_opinions_come_in_order_and_without_opinion_for_no_answer(shared):
  pairs = [('\\frac{1}{2}', '0.5'), None, ('7', '8'), ('(x+1)^2', 'x^2+2x+1')]
  pairs += [(str(i), str(i % 3)) for i in range(40)]
  found = list(shared.second_opinions(pairs))
  assert found[:4] == [EQUAL, Opinion(None, 'no answer'), DIFFERENT, EQUAL]
  assert found[4:] == [EQUAL if i < 3 else DIFFERENT for i in range(40)]


def test_no_pairs_no_opinions(shared):
  assert list(shared.second_opinions([])) == []


def test_hostile_answers_are_answered_and_the_rest_is_untouched(shared, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  pairs = [pair for h in HOSTILE for pair in (('4', h), ('4', '4.0'))]
  begun = time.monotonic()
  found = list(shared.second_opinions(pairs))
  assert found[1::2] == [EQUAL] * len(HOSTILE)
  assert not any(o.equal for o in found[::2])
  assert Opinion(None, 'timed out') in found
  assert found[2] == found[6] == Opinion(None, 'too long')
  assert found[4] == Opinion(None, 'too deep')
  assert found[10] == found[12] == Opinion(None, 'unbalanced braces')
  assert time.monotonic() - begun < 5 * len(HOSTILE)
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
  'answer',
  ['[0, 1)', '(-\\infty, 3]', '\\{1, 2\\}', '\\left\\{x\\right\\}', '\\begin{matrix} 1 \\\\{} 2 \\end{matrix}'],
)
def test_brackets_of_answers_as_they_are_written_are_sent(shared, answer):
  assert list(shared.second_opinions([(answer, answer)])) == [EQUAL]


def test_a_box_in_an_answer_cannot_bring_in_another_answer(shared):
  assert list(shared.second_opinions([('4', '5}\\boxed{4')])) == [Opinion(None, 'unbalanced braces')]


def test_no_opinion_takes_longer_than_the_deadline_and_a_start(shared):
  list(shared.second_opinions([('1', '1')] * 2))
  begun = time.monotonic()
  assert list(shared.second_opinions([('1', ENDLESS)])) == [Opinion(None, 'timed out')]
  assert 1.5 <= time.monotonic() - begun < 5.0


def test_a_worker_killed_at_work_costs_its_request_only():
  with Pool(workers=1, deadline=60.0) as pool:
    assert list(pool.second_opinions([('1', '1')])) == [EQUAL]
    [pid] = pool.pids
    threading.Timer(0.5, os.kill, [pid, signal.SIGKILL]).start()
    pairs = [('1', ENDLESS), ('1', '1'), ('1', '2')]
    assert list(pool.second_opinions(pairs)) == [Opinion(None, 'worker died'), EQUAL, DIFFERENT]


@on_linux
def test_a_worker_killed_between_requests_costs_none():
  with Pool(workers=1, deadline=60.0) as pool:
    assert list(pool.second_opinions([('1', '1')])) == [EQUAL]
    os.kill(pool.pids[0], signal.SIGKILL)
    assert gone(pool.pids)
    assert list(pool.second_opinions([('1', '2'), ('1', '1')])) == [DIFFERENT, EQUAL]


def test_a_worker_that_is_stopped_times_out():
  with Pool(workers=1, deadline=1.0) as pool:
    assert list(pool.second_opinions([('1', '1')])) == [EQUAL]
    os.kill(pool.pids[0], signal.SIGSTOP)
    assert list(pool.second_opinions([('1', '1'), ('1', '1')])) == [Opinion(None, 'timed out'), EQUAL]


def test_opinions_that_nobody_waited_for_reach_nobody_else(shared):
  opinions = shared.second_opinions([('1', '1'), ('1', ENDLESS), ('1', ENDLESS)])
  assert next(opinions) == EQUAL
  opinions.close()
  assert list(shared.second_opinions([('1', '2'), ('1', '1')])) == [DIFFERENT, EQUAL]


def test_pairs_are_read_a_bounded_number_ahead(shared):
  read = 0

  def endless():
    nonlocal read
    while True:
      read += 1
      yield None

  opinions = shared.second_opinions(endless())
  for _ in range(3 * pool_lib.WINDOW):
    next(opinions)
  assert 3 * pool_lib.WINDOW <= read <= 4 * pool_lib.WINDOW
  opinions.close()


def test_an_error_in_the_pairs_reaches_the_caller_and_the_pool_goes_on(shared):
  def broken():
    yield '1', '1'
    raise KeyError('row 2')

  with pytest.raises(KeyError, match='row 2'):
    list(shared.second_opinions(broken()))
  assert list(shared.second_opinions([('1', '1')])) == [EQUAL]


def test_workers_are_replaced_after_a_number_of_requests_and_above_a_size(monkeypatch):
  monkeypatch.setattr(pool_lib, 'MAX_SERVED', 4)
  with Pool(workers=1, deadline=10.0) as pool:
    assert list(pool.second_opinions([('1', '1')] * 6)) == [EQUAL] * 6
    assert pool.started == 2
    monkeypatch.setattr(pool_lib, 'MAX_RSS_MB', 1)
    assert list(pool.second_opinions([('1', '1')])) == [EQUAL]
    assert pool.started == 3


@on_linux
def test_no_worker_is_left_after_an_exception_of_the_caller():
  with pytest.raises(ZeroDivisionError), Pool(workers=2, deadline=30.0) as pool:
    opinions = pool.second_opinions([('1', '1'), ('1', ENDLESS), ('1', ENDLESS)])
    next(opinions)
    pids = pool.pids
    assert len(pids) == 2 and all(map(alive, pids))
    raise ZeroDivisionError
  assert not any(map(alive, pids))
  with pytest.raises(PoolError, match='closed'):
    next(opinions)
  with pytest.raises(PoolError, match='with'):
    next(pool.second_opinions([]))


@on_linux
@pytest.mark.parametrize('how', [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_worker_outlives_a_caller_that_is_ended_at_work(how):
  process, pids = start(BUSY)
  with process:
    assert len(pids) == 2 and all(map(alive, pids))
    process.send_signal(how)
    process.wait(20)
    assert gone(pids)


@on_linux
def test_idle_workers_end_with_their_caller_though_a_fork_holds_its_sockets():
  process, pids = start(
    'import os, time\n'
    'from sweb_jax.answers.pool import Pool\n'
    'with Pool(workers=1, deadline=10.0) as pool:\n'
    "  list(pool.second_opinions([('1', '1')]))\n"
    '  if (fork := os.fork()):\n'
    '    print(*pool.pids, fork, flush=True)\n'
    '  time.sleep(60)\n'
  )
  with process:
    worker, fork = pids
    process.kill()
    process.wait(20)
    assert alive(fork)
    assert gone([worker])
    os.kill(fork, signal.SIGKILL)


def test_it_works_off_the_main_thread_and_leaves_the_alarms_of_the_caller(shared):
  rang = []
  before = signal.signal(signal.SIGALRM, lambda *_: rang.append(True))
  try:
    signal.setitimer(signal.ITIMER_REAL, 100)
    found = []
    thread = threading.Thread(target=lambda: found.extend(shared.second_opinions([('1', '1'), ('1', ENDLESS)])))
    thread.start()
    thread.join()
    assert found == [EQUAL, Opinion(None, 'timed out')]
    assert signal.setitimer(signal.ITIMER_REAL, 0)[0] > 50 and not rang
  finally:
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@on_linux
def test_workers_import_neither_jax_nor_the_main_module_of_the_caller(tmp_path):
  # Without `if __name__ == '__main__'`: a main module that is imported again would start pools for ever.
  script = tmp_path / 'script.py'
  script.write_text(
    'import jax\n'
    'from pathlib import Path\n'
    'from sweb_jax.answers.pool import Pool\n'
    'with Pool(workers=1, deadline=10.0) as pool:\n'
    "  assert next(pool.second_opinions([('1', '1')])).equal\n"
    "  for pid in ('self', pool.pids[0]):\n"
    "    print('jaxlib' in Path(f'/proc/{pid}/maps').read_text())\n"
  )
  env = {**os.environ, 'PYTHONPATH': os.pathsep.join(sys.path), 'JAX_PLATFORMS': 'cpu'}
  run = subprocess.run([sys.executable, script], capture_output=True, text=True, env=env, timeout=100)
  assert run.stdout.split() == ['True', 'False'], run.stderr


def test_a_math_verify_that_cannot_be_imported_is_named(tmp_path, monkeypatch):
  (tmp_path / 'math_verify.py').write_text("raise ImportError('no such luck')\n")
  monkeypatch.syspath_prepend(tmp_path)
  with Pool(workers=2, deadline=1.0) as pool, pytest.raises(PoolError, match='no such luck; pip install math-verify'):
    list(pool.second_opinions([('1', '1')]))


def test_workers_that_die_at_their_start_end_the_pool(tmp_path, monkeypatch):
  (tmp_path / 'math_verify.py').write_text('import os; os._exit(7)\n')
  monkeypatch.syspath_prepend(tmp_path)
  with Pool(workers=2, deadline=1.0) as pool, pytest.raises(PoolError, match='exit code 7'):
    list(pool.second_opinions([('1', '1')]))


@pytest.mark.parametrize('workers, deadline', [(0, 1.0), (1, 0.0), (1, -1.0), (1, float('inf')), (1, float('nan'))])
def test_a_pool_without_workers_or_deadline_is_refused(workers, deadline):
  with pytest.raises(ValueError, match='must be positive'):
    Pool(workers, deadline)


@on_linux
@pytest.mark.slow
def test_hundreds_of_requests_with_hostile_ones_among_them_are_all_answered():
  def pair(i: int) -> tuple[str, str]:
    return ('4', HOSTILE[i // 30 % len(HOSTILE)]) if i % 30 == 15 else (f'\\frac{{{i}}}{{2}}', f'{i / 2}')

  with Pool(workers=2, deadline=1.0) as pool:
    found = list(pool.second_opinions(map(pair, range(600))))
    pids = pool.pids
    assert sum(int(Path(f'/proc/{p}/statm').read_text().split()[1]) for p in pids) * os.sysconf('SC_PAGE_SIZE') < 2**29
  assert [o.equal for i, o in enumerate(found) if i % 30 != 15] == [True] * 580
  assert not any(o.equal for i, o in enumerate(found) if i % 30 == 15)
  assert not any(map(alive, pids))
