"""One process of several that join and then do what a test asks. Arguments: flags of the command, then what to do."""

from __future__ import annotations

import ctypes
import os
import sys
import time

from sweb_jax.runtime import distributed, stopping
from sweb_jax.runtime.hosts import DistributedError


def hang() -> None:
  """Waits in C for ever, as for a collective: signals do not end the wait."""
  mutex, library = ctypes.create_string_buffer(64), ctypes.CDLL(None)
  for _ in range(2):
    library.pthread_mutex_lock(mutex)


def main(coordinator: str, count: str, index: str, what: str) -> None:
  stopping.handle_signals()
  given = (coordinator, int(count), int(index)) if int(count) > 1 or what == 'alone' else ()
  mode = 'on' if given else 'off'
  try:
    hosts = distributed.start(mode, *given, start_seconds=4, patience=3, silence=6, grace=2)
    print(os.getpid(), flush=True)
    if what == 'wait' or (what == 'late' and index == '0'):
      hosts.barrier('the end of the test')
    elif what in ('late', 'busy', 'alone'):
      time.sleep(60)
    elif what == 'hang':
      hang()
    elif what == 'fail':
      raise ValueError('the shelf is full')
  except stopping.Preempted:
    time.sleep(1)
    print('saved', file=sys.stderr, flush=True)
    hosts.leave(75, 'it was asked to stop')
    os._exit(75)
  except (DistributedError, ValueError) as e:
    print(f'Error: {e}', file=sys.stderr, flush=True)
    if 'hosts' in locals():
      hosts.leave(1, f'Error: {e}')
    sys.exit(1)


if __name__ == '__main__':
  main(*sys.argv[1:])
