"""Processes of this project that are forked from one that has imported what they need.

Most of what a short command does is to import JAX and what stands on it, and the tests start hundreds. A process here
is a real one, with its own arguments, environment, folder and standard streams; what it leaves out is the imports.

    python tests/forked.py SOCKET    (a file descriptor; serves `Forked` and `run`)
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import gc
import importlib
import json
import os
import runpy
import socket
import subprocess
import sys
from typing import Any

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
IMPORTED = (
  'jax', 'matplotlib.backends.backend_svg', 'matplotlib.figure', 'sweb_jax.config', 'sweb_jax.lowering',
  'sweb_jax.runtime.devices', 'sweb_jax.runtime.distributed', 'sweb_jax.study.command', 'sweb_jax.study.opened',
)  # fmt: skip
READ_AT_IMPORT = ('JAX_', 'LD_', 'PYTHON')
"""How variables of the environment begin that are of no use to a fork: each combination has a server of its own."""


class Forked(subprocess.Popen):
  """`subprocess.Popen` of `python SCRIPT ...`, `-m MODULE ...` or `-c CODE ...`, given without the `python`, on a CPU
  unless `env` says otherwise."""

  def __init__(self, args: list[Any], **how: Any):
    super().__init__([str(a) for a in args], **how)

  def _execute_child(
    self, args, executable, preexec_fn, close_fds, pass_fds, cwd, env, startupinfo, creationflags, shell,
    p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite, *rest,
  ) -> None:  # fmt: skip
    env = {'JAX_PLATFORMS': 'cpu', **os.environ} if env is None else dict(env)
    server, _ = _server(tuple(sorted((k, v) for k, v in env.items() if k.startswith(READ_AT_IMPORT))))
    request = json.dumps({'argv': args, 'cwd': str(cwd or os.getcwd()), 'env': env}).encode()
    streams = [given if given != -1 else own for own, given in enumerate((p2cread, c2pwrite, errwrite))]
    with _adopting():
      socket.send_fds(server, [request], streams)
      self.pid = int(server.recv(32))
    self._child_created = True
    self._close_pipe_fds(p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite)


def run(*args: Any, timeout: float | None = None, **how: Any) -> subprocess.CompletedProcess:
  """`subprocess.run` of the same in this project's folder, with what it prints as text."""
  piped = {'cwd': ROOT, 'text': True, 'stdout': subprocess.PIPE, 'stderr': subprocess.PIPE}
  return ended(Forked(list(args), **piped | how), timeout)


def ended(process: subprocess.Popen, timeout: float | None = None) -> subprocess.CompletedProcess:
  """A process once it has ended; killed where it has not by then."""
  with process:
    try:
      out, err = process.communicate(timeout=timeout)
    except BaseException:
      process.kill()
      raise
  return subprocess.CompletedProcess(process.args, process.returncode, out, err)


@contextlib.contextmanager
def _adopting():
  """In it, processes whose parent ends become children of this process (Linux: PR_SET_CHILD_SUBREAPER)."""
  prctl = functools.partial(ctypes.CDLL(None).prctl, 36)
  prctl(1)
  try:
    yield
  finally:
    prctl(0)


@functools.cache
def _server(variables: tuple[tuple[str, str], ...]) -> tuple[socket.socket, subprocess.Popen]:
  """A server whose environment has these variables, and no others that are read when something is imported."""
  here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
  rest = {k: v for k, v in os.environ.items() if not k.startswith(READ_AT_IMPORT)}
  process = subprocess.Popen(
    [sys.executable, __file__, str(there.fileno())], env=rest | dict(variables), pass_fds=[there.fileno()],
    stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
  )  # fmt: skip
  there.close()
  return here, process  # It ends when this process does.


def _serve(requests: socket.socket) -> list[str]:
  """Forks for every request; comes back in the forks alone, with what each is to run."""
  while True:
    request, streams, *_ = socket.recv_fds(requests, 1 << 20, 3)
    if not request:
      os._exit(0)
    read, write = os.pipe()
    if not (between := os.fork()):
      if pid := os.fork():
        os.write(write, str(pid).encode())
        os._exit(0)  # Its parent is now who asked.
      break
    os.waitpid(between, 0)
    requests.send(os.read(read, 32))
    for descriptor in (read, write, *streams):
      os.close(descriptor)
  requests.close()
  for own, given in enumerate(streams):
    os.dup2(given, own)
  for descriptor in (read, write, *streams):
    os.close(descriptor)
  asked = json.loads(request)
  os.environ.clear()
  os.environ.update(asked['env'])
  os.chdir(asked['cwd'])
  return asked['argv']


if __name__ == '__main__':
  sys.path[0] = ROOT
  for module in IMPORTED:
    importlib.import_module(module)
  gc.freeze()
  gc.set_threshold(50_000, 20, 20)  # Tracing makes much that lives for long.
  sys.argv = _serve(socket.socket(fileno=int(sys.argv[1])))
  if sys.argv[0] == '-m':
    sys.path[0] = os.getcwd()
    sys.argv.pop(0)
    runpy.run_module(sys.argv[0], run_name='__main__', alter_sys=True)
  elif sys.argv[0] == '-c':
    sys.path[0] = os.getcwd()
    exec(compile(sys.argv.pop(1), '<string>', 'exec', dont_inherit=True), {'__name__': '__main__'})
  else:
    sys.path.insert(0, os.path.dirname(os.path.abspath(sys.argv[0])))
    runpy.run_path(sys.argv[0], run_name='__main__')
