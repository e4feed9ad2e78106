"""How the processes of a run find each other."""

from __future__ import annotations

import logging as stdlib_logging
import os
import signal
import socket

from absl import logging

from sweb_jax.runtime.hosts import DistributedError, Hosts, log_prefix
from sweb_jax.runtime.stopping import Deadline
from sweb_jax.runtime.supervisor import fork


def start(
  mode: str,
  coordinator: str = '',
  count: int = 0,
  index: int = -1,
  *,
  start_seconds: float = 300.0,
  patience: float = 1800.0,
  silence: float = 25.0,
  grace: float = 45.0,
) -> Hosts:
  """Joins the other processes of a run; to be called before JAX is imported.

  The process goes on as a child: see `supervisor`.

  Args:
    mode: 'off': one process. 'on': several, by the other arguments or, without them, by what JAX finds in the
      environment (a TPU pod, Slurm, ...). 'auto': 'on' where the arguments are given or there is a TPU or a variable
      that tells of several processes; else 'off'.
    coordinator: HOST:PORT of process 0.
    count: number of processes.
    index: of this one, from 0.
    start_seconds: how long the others are waited for.
    patience: of `Hosts`.
    silence: of `Hosts`.
    grace: seconds from a SIGTERM to this process to its end, whatever it waits for.

  Raises:
    DistributedError: the flags do not fit together, the port is taken, or not all processes came.
  """
  given = bool(coordinator), count > 0, index >= 0
  if mode == 'off' and any(given):
    raise DistributedError('--coordinator, --process_count and --process_id make no sense with --distributed=off')
  if mode == 'off' or (mode == 'auto' and not any(given) and not _may_be_several()):
    Deadline(grace)
    return Hosts()
  if any(given):
    if not all(given):
      raise DistributedError('give --coordinator=HOST:PORT, --process_count and --process_id together')
    _check(coordinator, count, index)
  parent = fork(start_seconds)
  deadline = Deadline(grace, parent)
  import jax

  stdlib_logging.getLogger('jax._src.distributed').setLevel(stdlib_logging.WARNING)
  on_kill = signal.getsignal(signal.SIGTERM)
  try:
    jax.distributed.initialize(
      coordinator or None,
      count or None,
      index if index >= 0 else None,
      initialization_timeout=int(start_seconds),
      heartbeat_timeout_seconds=int(100 + 2 * silence),  # The watch is faster, and has names.
      shutdown_timeout_seconds=30,
    )
  except (RuntimeError, ValueError) as e:
    if not any(given) and isinstance(e, ValueError):
      if mode == 'auto':
        parent.alone()
        return Hosts(parent=parent)
      raise DistributedError(
        f'--distributed={mode}: the environment does not tell who takes part ({e}); give --coordinator, '
        '--process_count and --process_id, or --distributed=off'
      ) from e
    where = coordinator or 'the coordinator'
    raise DistributedError(
      f'{where}: within {start_seconds:g} s (--start_seconds) not all processes came together; is '
      f'process 0 running, is its port reachable, were all started? ({str(e).splitlines()[0][:200]})'
    ) from e
  signal.signal(signal.SIGTERM, on_kill)  # JAX's service took it, for a notice that only Orbax would look at.
  from jax._src import distributed as jax_distributed

  index, count = jax.process_index(), jax.process_count()
  if count == 1:
    parent.alone()
    return Hosts(parent=parent)
  parent.joined(jax_distributed.global_state.coordinator_address, log_prefix(index, count))
  hosts = Hosts(index, count, jax_distributed.global_state.client, patience, silence, parent, deadline)
  logging.get_absl_handler().setFormatter(_Prefixed(log_prefix(index, count)))
  return hosts


class _Prefixed(logging.PythonFormatter):
  def __init__(self, prefix: str):
    super().__init__()
    self._prefix = prefix

  def format(self, record) -> str:
    return self._prefix + super().format(record)


def _may_be_several() -> bool:
  """Whether it is worth asking JAX, which takes a port and a child process."""
  told = 'JAX_COORDINATOR_ADDRESS' in os.environ or ',' in os.environ.get('TPU_WORKER_HOSTNAMES', '')
  return told or any(os.path.exists(device) for device in ('/dev/accel0', '/dev/vfio/0'))


def _check(coordinator: str, count: int, index: int) -> None:
  if not 0 <= index < count:
    raise DistributedError(f'--process_id={index} is not one of 0 to --process_count={count} minus 1')
  host, _, port = coordinator.rpartition(':')
  if not host or not port.isdigit() or not 0 < int(port) < 65536:
    raise DistributedError(f'--coordinator={coordinator}: give HOST:PORT')
  if index == 0:  # The service itself would share the port with whoever has it.
    with socket.socket() as s:
      try:
        s.bind(('', int(port)))
      except OSError as e:
        raise DistributedError(f'--coordinator={coordinator}: port {port} is taken ({e}); name another') from e
