"""One process of several that join and then do what a test asks. Arguments: flags of the command, then what to do."""

from __future__ import annotations

import os
import sys
import time

from sweb_jax.runtime import distributed
from sweb_jax.runtime.hosts import DistributedError


def main(coordinator: str, count: str, index: str, what: str) -> None:
  try:
    hosts = distributed.start('on', coordinator, int(count), int(index), start_seconds=4, patience=3, silence=6)
    print(os.getpid(), flush=True)
    if what == 'wait' or (what == 'late' and index == '0'):
      hosts.barrier('the end of the test')
    elif what in ('late', 'busy'):
      time.sleep(60)
    elif what == 'fail':
      raise ValueError('the shelf is full')
  except (DistributedError, ValueError) as e:
    print(f'Error: {e}', file=sys.stderr, flush=True)
    if 'hosts' in locals():
      hosts.leave(1, f'Error: {e}')
    sys.exit(1)


if __name__ == '__main__':
  main(*sys.argv[1:])
