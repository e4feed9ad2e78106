from __future__ import annotations

import io
import threading

import pytest
from absl import logging
from rich.console import Console

from sweb_jax.runtime import progress
from sweb_jax.runtime.progress import Meter


@pytest.fixture
def clock(monkeypatch):
  """Seconds that the test sets."""
  now = [1000.0]
  monkeypatch.setattr(progress.time, 'monotonic', lambda: now[0])
  return now


def test_a_line_tells_how_far_how_fast_and_how_long(clock):
  m = Meter('sample', 4800, None)
  m.add(1200, tokens=20_000)
  assert m.line(1004.0) == 'sample: 1200 of 4800 (25 %), 300 a second, 5000 tokens/s, 0:12 left'


def test_work_of_an_earlier_run_counts_as_done_but_not_for_the_rate(clock):
  m = Meter('train', 100, None)
  m.skip(50)
  assert m.line(1010.0) == 'train: 50 of 100 (50 %), 0 a second'
  m.add(5)
  assert m.line(1010.0) == 'train: 55 of 100 (55 %), 0.5 a second, 1:30 left'


@pytest.mark.parametrize(('items', 'rate'), [(25_000, '2500'), (1234, '123'), (12, '1.2'), (1, '0.1')])
def test_rates_are_plain_numbers(clock, items, rate):
  m = Meter('sample', 1_000_000, None)
  m.add(items)
  assert f', {rate} a second' in m.line(1010.0)


def test_a_stage_without_work_has_a_line(clock):
  assert Meter('report', 0, None).line(1000.0).startswith('report: 0 of 0')


def test_threads_lose_no_counts():
  m = Meter('x', 4000, None)
  threads = [threading.Thread(target=lambda: [m.add(tokens=2) for _ in range(1000)]) for _ in range(4)]
  for t in threads:
    t.start()
  for t in threads:
    t.join()
  assert '4000 of 4000 (100 %)' in m.line(1e12)


def test_away_from_a_terminal_a_line_a_minute_is_logged_and_one_at_the_end(clock, monkeypatch):
  lines = []
  monkeypatch.setattr(logging, 'info', lambda form, *args: lines.append(form % args))
  with progress.meter('grade', 10, Console(file=io.StringIO())) as m:
    m.add()
    assert lines == []
    clock[0] += 61
    m.add()
    m.add()
    assert len(lines) == 1 and lines[0].startswith('grade: 2 of 10')
  assert len(lines) == 2 and lines[1].startswith('grade: 3 of 10')


def test_on_a_terminal_it_is_a_bar_and_no_log(monkeypatch):
  lines = []
  monkeypatch.setattr(logging, 'info', lambda form, *args: lines.append(form % args))
  screen = io.StringIO()
  with progress.meter('grade', 10, Console(file=screen, force_terminal=True)) as m:
    m.add(10)
  assert 'grade' in screen.getvalue() and '10/10' in screen.getvalue() and lines == []
