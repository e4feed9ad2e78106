"""How processes find each other, wait, and end: real processes, without a study."""

from __future__ import annotations

import collections
import os
import re
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from sweb_jax.runtime.distributed import start
from sweb_jax.runtime.hosts import DistributedError, Hosts
from tests.forked import Forked

HOST = re.escape(socket.gethostname())


def free_port() -> int:
  with socket.socket() as s:
    s.bind(('', 0))
    return s.getsockname()[1]


def join(coordinator: str, *whats: str) -> list[subprocess.Popen]:
  """A process for each `whats`; '': it never starts."""
  command = [Path(__file__).with_name('join.py'), coordinator, len(whats)]
  return [
    Forked(
      [*command, i, what],
      text=True,
      stdout=subprocess.PIPE,
      stderr=subprocess.PIPE,
    )
    for i, what in enumerate(whats)
    if what
  ]


def ends(process: subprocess.Popen, seconds: float = 60) -> tuple[int, str]:
  try:
    _, err = process.communicate(timeout=seconds)
  except BaseException:
    process.kill()
    raise
  return process.returncode, err


@pytest.fixture(scope='module')
def troubles():
  """Every trouble at once, as most of the time is waiting: (exit code, stderr) of the processes that are left."""
  with socket.socket() as taken:
    taken.bind(('', 0))
    taken.listen()
    names = ('absent', 'late', 'fail', 'killed', 'frozen', 'coordinator', 'coordinator frozen', 'hung', 'alone')
    at = {name: f'127.0.0.1:{free_port()}' for name in names}
    begun = time.monotonic()
    running = {
      'port': join(f'127.0.0.1:{taken.getsockname()[1]}', 'wait', ''),
      'absent': join(at['absent'], 'wait', ''),
      'late': join(at['late'], 'wait', 'late'),
      'fail': join(at['fail'], 'wait', 'fail'),
      'killed': join(at['killed'], 'busy', 'busy'),
      'frozen': join(at['frozen'], 'busy', 'busy'),
      'coordinator': join(at['coordinator'], 'busy', 'busy'),
      'coordinator frozen': join(at['coordinator frozen'], 'busy', 'busy'),
      'hung': join(at['hung'], 'hang', 'hang'),
      'alone': join(at['alone'], 'alone'),
      'one hung': join('', 'hang'),
      'one asked often': join('', 'busy'),
      'one unread': join('', 'hang'),
    }
    running['one unread'][0].stderr.close()
    running['one unread'][0].stderr = None
    victims = {
      'killed': (1, signal.SIGKILL),
      'frozen': (1, signal.SIGSTOP),
      'coordinator': (0, signal.SIGKILL),
      'coordinator frozen': (0, signal.SIGSTOP),
      'hung': (1, signal.SIGTERM),
      'alone': (0, signal.SIGKILL),
      'one hung': (0, signal.SIGTERM),
      'one asked often': (0, signal.SIGTERM),
      'one unread': (0, signal.SIGTERM),
    }
    children = {name: [int(p.stdout.readline()) for p in running[name]] for name in victims}
    time.sleep(0.5)  # Those that are to hang in C do so a moment after they said who they are.
    for name, (victim, sent) in victims.items():
      os.kill(running[name][victim].pid if name in ('coordinator', 'hung') else children[name][victim], sent)
    for _ in range(3):
      time.sleep(0.2)
      running['one asked often'][0].send_signal(signal.SIGTERM)
    found = {}
    for name, processes in running.items():
      for i, p in enumerate(processes):
        if (name, i) not in (('frozen', 1), ('coordinator', 0), ('coordinator frozen', 0)):
          found[name, i] = ends(p)
    found['seconds'] = time.monotonic() - begun
    for processes in running.values():
      for p in processes:
        p.kill()
        p.communicate()
  return found


def test_a_port_in_use_is_an_error_that_names_it(troubles):
  code, err = troubles['port', 0]
  assert code == 1 and re.search(r'--coordinator=127\.0\.0\.1:(\d+): port \1 is taken', err), err


def test_a_process_that_never_starts_is_waited_for_so_long(troubles):
  code, err = troubles['absent', 0]
  assert code == 1 and 'within 4 s (--start_seconds) not all processes came together' in err, err


def test_a_barrier_names_who_is_missing(troubles):
  code, err = troubles['late', 0]
  assert code == 1, err
  assert re.search(
    rf"Error: process 1 \({HOST}\) did not come to 'the end of the test' and did nothing for 3 s \(--patience\)", err
  ), err


def test_a_process_that_was_waited_for_in_vain_shows_where_it_is(troubles):
  code, err = troubles['late', 1]
  assert code == 1, err
  assert re.search(r'File ".*join.py", line \d+ in main', err) and "Error: process 0" in err, err
  assert 'in main' not in troubles['fail', 0][1]  # Nobody waited for it.


def test_an_error_of_one_process_ends_the_others_with_its_words(troubles):
  assert troubles['fail', 1][0] == 1
  code, err = troubles['fail', 0]
  assert code == 1 and re.search(rf'process 1 \({HOST}\) ended: Error: the shelf is full', err), err


@pytest.mark.parametrize('how', ['killed', 'frozen'])
def test_a_dead_or_frozen_process_ends_the_others_with_its_name(troubles, how):
  code, err = troubles[how, 0]
  assert code == 75, err
  told = rf'\[0/2 {HOST}\] Stopped: process 1 \({HOST}\) gave no sign of life for 6 s \(--silence\)\. Start all'
  assert re.search(told, err), err
  assert troubles['seconds'] < 60


def test_a_process_that_the_kernel_killed_is_spoken_for(troubles):
  code, err = troubles['killed', 1]
  assert code == 75, err
  assert re.search(rf'\[1/2 {HOST}\] Stopped: this process was ended by signal 9 \(out of memory\?\)\. Start', err), err


def test_a_coordinator_that_vanishes_ends_the_others(troubles):
  code, err = troubles['coordinator', 1]
  assert code == 75 and re.search(rf'\[1/2 {HOST}\] Stopped: process 0.* gone\. Start all processes again', err), err


def test_a_frozen_coordinator_ends_the_others_with_its_name(troubles):
  code, err = troubles['coordinator frozen', 1]
  assert code == 75, err
  told = rf'\[1/2 {HOST}\] Stopped: process 0 \({HOST}\) coordinates the run and gave no answer for 6 s \(--silence\)'
  assert re.search(told, err), err


def test_a_process_that_hangs_in_c_ends_a_while_after_it_was_asked_to_stop_and_shows_where(troubles):
  for name, index, prefix in (('hung', 1, rf'\[1/2 {HOST}\] '), ('one hung', 0, '')):
    code, err = troubles[name, index]
    assert code == 75, err
    assert re.search(rf'^{prefix}Stopped: this process still waited 2 s \(--grace\) after .* stop', err, re.M), err
    assert re.search(r'File ".*join.py", line \d+ in hang', err), err
  assert troubles['one unread', 0][0] == 75  # Nobody reads its stderr any more.
  code, err = troubles['hung', 0]
  assert code == 75 and re.search(rf'Stopped: process 1 \({HOST}\) ended: this process still waited', err), err


def test_a_process_that_is_asked_to_stop_more_than_once_saves_all_the_same(troubles):
  assert troubles['one asked often', 0] == (75, 'saved\n')


def test_a_process_of_a_single_machine_that_the_kernel_killed_is_spoken_for(troubles):
  code, err = troubles['alone', 0]
  assert code == 75 and err.startswith('Stopped: this process was ended by signal 9 (out of memory?). Start'), err


def test_every_problem_is_of_one_process_and_the_shares_are_even():
  ids = [f'problem/{i}' for i in range(2000)]
  for count in (1, 2, 3, 8):
    owners = collections.Counter(p for i in ids for p in range(count) if Hosts(p, count).mine(i))
    assert sum(owners.values()) == len(ids) and len(owners) == count
    assert min(owners.values()) > 0.8 * len(ids) / count


def test_flags_that_do_not_fit_are_named():
  for arguments, message in (
    (('on', 'host:1', 2), 'give --coordinator=HOST:PORT, --process_count and --process_id together'),
    (('auto', 'host:1', 2, 2), '--process_id=2 is not one of 0 to --process_count=2 minus 1'),
    (('on', 'host', 2, 1), '--coordinator=host: give HOST:PORT'),
    (('off', 'host:1', 2, 1), 'make no sense with --distributed=off'),
  ):
    with pytest.raises(DistributedError, match=re.escape(message)):
      start(*arguments)
