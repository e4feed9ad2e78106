"""How JAX is set up, before its first use in a process."""

from __future__ import annotations

import ctypes
import logging
import os
import platform
import re

from etils import epath

from sweb_jax import layout

_THREADS = 8  # A simulated device: as many programs of different jobs may wait, and one runs.


class DevicesError(ValueError):
  """The environment asks for devices in a way that makes no sense; the message names the variable."""


def room_for_simulated_devices() -> None:
  """Gives XLA threads enough for several simulated devices of a CPU; to be called before JAX is used.

  All devices of a CPU share a pool of as many threads as the machine has cores. A program waits in its thread for what
  other devices give to a collective, and one more of those that wait to begin may hold another: with few cores
  nothing is left for the program that all wait for, and the run hangs. XLA takes the pool's size from NPROC.

  Raises:
    DevicesError: JAX_NUM_CPU_DEVICES is no such number.
  """
  wished = os.environ.get('JAX_NUM_CPU_DEVICES', '-1')  # -1 is JAX's own default.
  if not re.fullmatch(r'-1|[1-9]\d*', wished.strip()):
    raise DevicesError(f'JAX_NUM_CPU_DEVICES={wished!r}: give a number of simulated devices, from 1, or unset it')
  told = re.search(r'--xla_force_host_platform_device_count=(\d+)', os.environ.get('XLA_FLAGS', ''))
  devices = int(told[1] if told else wished)
  if devices > 1:
    os.environ.setdefault('NPROC', str(_THREADS * devices))


def keep_memory() -> None:
  """Keeps memory that was freed with the process, where the C library is glibc.

  XLA on CPU frees a program's temporary memory, gigabytes in training, and asks for it again at the next call; coming
  from the kernel each time, every page of it is cleared again.
  """
  if platform.libc_ver()[0] == 'glibc':
    libc = ctypes.CDLL(None)
    libc.mallopt(-4, 0)  # M_MMAP_MAX: large blocks come from the heap as well ...
    libc.mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD: ... which does not shrink.


def prepare(workdir: epath.PathLike) -> None:
  """Keeps compiled programs in the workdir, so that a restart does not wait for the compiler again.

  JAX_COMPILATION_CACHE_DIR and JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS, where set, go first.
  """
  import jax

  keep_memory()
  if 'JAX_COMPILATION_CACHE_DIR' not in os.environ:
    jax.config.update('jax_compilation_cache_dir', str(epath.Path(workdir) / layout.COMPILED))
  if 'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS' not in os.environ:
    jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.5)
  # 'Unable to initialize backend tpu' is no news on a machine without one.
  logging.getLogger('jax._src.xla_bridge').setLevel(logging.WARNING)
  # Orbax tells of every folder it writes, through absl's logger: a dozen lines a checkpoint. What goes wrong it logs
  # with a traceback for every thread, and raises as well.
  logging.getLogger('absl').addFilter(
    lambda r: 'orbax' not in r.pathname or (r.levelno >= logging.WARNING and not r.exc_info)
  )
