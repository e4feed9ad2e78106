"""When a process is dead, the others end in time, whatever they are at; with a store in place of JAX's service."""

import subprocess
import sys
import time

import pytest

DEAD = """
import sys, threading, time
from sweb_jax.runtime import hosts, stopping
class Store:
  def __init__(self, lines): self.lines, self.lock = dict(lines), threading.Lock()
  def key_value_set(self, key, value, overwrite):
    with self.lock: self.lines[key] = value
  def key_value_dir_get(self, folder):
    with self.lock: return [(k, v) for k, v in self.lines.items() if k.startswith(folder)]
class Parent:
  def leaving(self, code): print('leaves with', code, flush=True)
others = (1, 2)
lines = {f'sweb_jax/host/{p}': f'host{p}' for p in others} | {f'sweb_jax/barrier/1/{p}': 'start' for p in others}
parent, deadline = Parent(), stopping.Deadline(60)
mine = hosts.Hosts(0, 3, Store(lines), silence=2, parent=parent, deadline=deadline)
if sys.argv[1] == 'failed':
  mine.stop.set()  # As where a collective broke in a job's thread, before anybody knows why.
elif sys.argv[1] == 'asked':
  mine.ask_to_stop()
elif sys.argv[1] == 'settles':
  import jax
  mine.stop.set()
  mine.settle(jax.errors.JaxRuntimeError('a connection was closed'))
  print('Error: a connection was closed', flush=True)
time.sleep(100)
"""


@pytest.mark.parametrize('state', ['busy', 'failed', 'asked', 'settles'])
def test_a_dead_process_is_noticed_and_named_in_time_whatever_this_one_does(state):
  with subprocess.Popen(
    [sys.executable, '-c', DEAD, state], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
  ) as process:
    begin = time.monotonic()
    try:
      out, err = process.communicate(timeout=25)
    finally:
      process.kill()
  assert (process.returncode, out) == (75, 'leaves with 75\n'), err
  assert 'Stopped: process 1 (host1), process 2 (host2) gave no sign of life for 2 s (--silence).' in err
  assert time.monotonic() - begin < 20
