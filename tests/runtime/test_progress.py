from __future__ import annotations

import io
import json
import threading

import pytest
from absl import logging
from etils import epath
from rich.console import Console

from sweb_jax.runtime import progress
from sweb_jax.runtime.hosts import Interrupted
from sweb_jax.runtime.progress import Meter, Run


@pytest.fixture
def clock(monkeypatch):
  """Seconds that the test sets."""
  now = [1000.0]
  monkeypatch.setattr(progress.time, 'monotonic', lambda: now[0])
  return now


@pytest.fixture
def logged(monkeypatch):
  """Lines of the log."""
  lines = []
  monkeypatch.setattr(logging, 'info', lambda form, *args: lines.append(form % args))
  return lines


def console(terminal: bool = False) -> Console:
  return Console(file=io.StringIO(), force_terminal=terminal, width=80)


def test_a_line_tells_how_far_how_fast_and_how_long(clock):
  m = Meter('sample', 4800)
  clock[0] += 4
  m.add(1200, tokens=20_000)
  assert m.line(1004.0) == 'sample: 1200 of 4800 (25 %), 300 a second, 5000 tokens/s; 0:12 left'


def test_what_comes_after_the_stage_is_expected_at_the_pace_of_what_was_done(clock):
  m = Meter('sample', 100, seconds=10, later=30)
  clock[0] += 10
  m.add(50)  # 5 s were expected, 10 have passed.
  assert m.line(1010.0).endswith('0:10 left, 1:10 with the stages after it')


def test_the_pace_of_another_machine_tells_nothing_of_what_comes_after_it(clock):
  run = Run([1.0, 30.0], console())
  with run.stage('sample', 100, 1.0, tells=False) as m:
    clock[0] += 50
    m.add(50)  # A second was expected of an endpoint that nothing is known of.
    assert m.left(1050.0) == 50 and m.left_in_all(1050.0) == 80
  with run.stage('train', 10, 30.0) as m:
    assert m.left(1050.0) == 30


def test_before_anything_is_done_the_pace_of_earlier_stages_is_taken(clock):
  assert Meter('train', 10, seconds=100, pace=2.0).left(1000.0) == 200


def test_work_of_an_earlier_run_counts_as_done_but_not_for_the_rate(clock):
  m = Meter('train', 100)
  m.skip(50)
  assert m.line(1010.0).startswith('train: 50 of 100 (50 %), nothing finished in the last minute')
  clock[0] += 10
  m.add(5)
  assert m.line(1010.0) == 'train: 55 of 100 (55 %), 0.5 a second; 1:30 left'


def test_items_of_a_large_model_weigh_what_they_are_expected_to_take(clock):
  m = Meter('train', 20, seconds=100)
  with m.weighing(10, 90):
    clock[0] += 45
    m.add(5)
  assert (m.share, m.left(1045.0)) == (0.45, 55)
  with m.weighing(10, 10):
    m.add(10)
  assert m.share == 0.55


def test_what_another_thread_does_has_its_own_weight():
  m = Meter('train', 20, seconds=100)
  with m.weighing(10, 90):
    other = threading.Thread(target=m.add, args=(2,))
    other.start()
    other.join()
  assert m.share == pytest.approx(0.1)  # Of a step that nobody named: two of 20 items.


def test_seconds_of_the_compiler_are_no_speed_of_the_machine(clock, monkeypatch):
  compiling = progress.Compiling()
  monkeypatch.setattr(progress, 'compiling', compiling)
  m = Meter('train', 100)
  clock[0] += 30
  compiling._add('/jax/core/compile/backend_compile_duration', 20.0)
  assert 'compiling' in m.line(1030.0)
  m.add(10)
  assert m.left(1030.0) == 90  # 10 items took 10 s.
  assert '(20 s of the last minute compiling)' in m.line(1030.0)


def test_rates_are_of_the_last_minute(clock):
  m = Meter('sample', 10_000)
  for _ in range(100):
    clock[0] += 2
    m.add(100 if clock[0] > 1140 else 1)
  assert m.speed(clock[0]) == '50 a second'


@pytest.mark.parametrize(('items', 'rate'), [(25_000, '2500'), (1234, '123'), (12, '1.2'), (1, '0.1')])
def test_rates_are_plain_numbers(clock, items, rate):
  m = Meter('sample', 1_000_000)
  clock[0] += 10
  m.add(items)
  assert f', {rate} a second' in m.line(1010.0)


def test_a_stage_without_work_has_a_line(clock):
  assert Meter('report', 0).line(1000.0).startswith('report: 0 of 0')


def test_threads_lose_no_counts():
  m = Meter('x', 4000)
  threads = [threading.Thread(target=lambda: [m.add(tokens=2) for _ in range(1000)]) for _ in range(4)]
  for t in threads:
    t.start()
  for t in threads:
    t.join()
  assert '4000 of 4000 (100 %)' in m.line(1e12)


def test_away_from_a_terminal_a_line_is_logged_now_and_then_and_one_at_the_end(logged, monkeypatch):
  monkeypatch.setattr(progress, '_LOG_SECONDS', 0.5)
  with Run([10.0], console()).stage('grade', 10, 10.0) as m:
    m.add(2)
    threading.Event().wait(1.3)
  assert logged[0].startswith('grade: 2 of 10 (20 %)') and logged[-1].startswith('grade: 2 in 0:01')


def test_a_stage_that_is_over_says_what_it_took_and_nothing_of_what_is_left(logged):
  with Run([1.0], console()).stage('report', 3, 1.0) as m:
    m.add()  # The others are another process's.
  assert len(logged) == 1 and ' of ' not in logged[0] and '%' not in logged[0]


def test_on_a_terminal_it_is_a_bar_within_80_columns_and_no_log(logged):
  screen = console(terminal=True)
  with Run([1000.0, 9000.0], screen).stage('evaluate', 1000, 1000.0) as m:
    m.add(10, tokens=10_000)
    threading.Event().wait(0.7)
  shown = screen.file.getvalue()
  assert 'evaluate' in shown and '1 %' in shown and logged == []
  plain = Console(file=io.StringIO(), width=80)
  assert all(plain.measure(line).maximum <= 80 for line in shown.split('\r') if '\x1b' not in line)


@pytest.mark.parametrize(
  ('error', 'state'),
  [(None, 'finished'), (KeyboardInterrupt(), 'stopped'), (Interrupted(), 'stopped'), (ValueError('no disk'), 'failed')],
)
def test_the_file_says_how_the_run_ended(tmp_path, error, state):
  path = epath.Path(tmp_path / 'progress.json')
  run = Run([1.0], console(), path)
  try:
    with run, run.stage('grade', 1, 1.0):
      if error:
        raise error
  except BaseException as e:
    assert e is error
  said = json.loads(path.read_text())
  assert said['state'] == state and said['why'] == str(error or '') and said['process'] > 0


def test_while_it_runs_the_file_says_how_far_it_is(tmp_path):
  path = epath.Path(tmp_path / 'progress.json')
  run = Run([10.0, 30.0], console(), path)
  with run, run.stage('sample', 10, 10.0) as m:
    m.add(5)
    threading.Event().wait(0.8)
    said = json.loads(path.read_text())
  assert (said['state'], said['stage'], said['share']) == ('running', 'sample', 0.5)
  assert said['line'].startswith('sample: 5 of 10 (50 %)') and said['seconds_left'] > 0
