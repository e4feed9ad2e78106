"""Runs generated programs against tests, shut in."""

from __future__ import annotations

import collections
import concurrent.futures
import contextlib
import dataclasses
import json
import os
import pathlib
import queue
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from typing import BinaryIO, Literal

_CHILD = pathlib.Path(__file__).with_name('sandbox_child.py')
_GRACE = 30.0  # Seconds that the server may take to end a program.


class SandboxError(RuntimeError):
  """No program can be run here as safely as was asked; the message names what is missing."""


@dataclasses.dataclass(frozen=True)
class Limits:
  """What one program may use."""

  seconds: float = 30.0
  """Of wall clock, for program and tests. More than `cpu_seconds`, so that a busy machine gives the same verdicts."""
  cpu_seconds: int = 10
  """Of processor time, of all threads of the program; as much for its tests."""
  memory: int = 512 << 20
  """Bytes of address space of the program; its tests, in a process of their own, may use as much."""
  threads: int = 8
  """Threads at one time, the first included. A program has one process."""
  disk: int = 16 << 20
  """Bytes of all files together; of one file where the file system cannot be hidden."""
  output: int = 1 << 20
  """Bytes printed."""
  open_files: int = 64


@dataclasses.dataclass(frozen=True)
class Outcome:
  """What became of a program."""

  status: Literal['passed', 'failed', 'timed out', 'killed']
  reason: str
  """In a few words, on one line; may quote the message of an exception of the program."""


class Sandbox:
  """Runs programs one after the other; a context manager, for one thread at a time.

  Saves the start of an interpreter for each, which is most of the time of a short program; programs share nothing.
  """

  def __init__(self, limits: Limits = Limits(), *, allow_network: bool = False, allow_files: bool = False):
    if sys.platform != 'linux':
      raise SandboxError(f'programs can be shut in on Linux only, and this is {sys.platform}')
    self._limits = limits
    self._settings = dataclasses.asdict(limits) | {'allow_network': allow_network, 'allow_files': allow_files}
    self._settings['temporary'] = tempfile.gettempdir()
    self._socket, theirs = socket.socketpair()
    with theirs:
      self._server = subprocess.Popen(
        [sys.executable, '-I', '-S', '-B', str(_CHILD), str(theirs.fileno())],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=[theirs.fileno()],
        env={},
        cwd='/',
        start_new_session=True,
      )

  def __enter__(self) -> Sandbox:
    return self

  def __exit__(self, *_) -> None:
    self.close()

  def close(self) -> None:
    """Ends the server, and what still runs."""
    self._socket.close()
    try:
      self._server.wait(_GRACE)
    except subprocess.TimeoutExpired:
      os.killpg(self._server.pid, signal.SIGKILL)
      self._server.wait()

  def run(self, program: str, tests: str = '') -> Outcome:
    """As the function `run`."""
    with contextlib.ExitStack() as stack:
      job = stack.enter_context(open(os.memfd_create('job'), 'w+b'))
      job.write(json.dumps([program, tests]).encode())
      job.seek(0)
      result, result_out = _pipe(stack)
      output, output_out = _pipe(stack)
      settings = json.dumps(self._settings).encode()
      self._socket.settimeout(_GRACE)
      try:
        socket.send_fds(self._socket, [settings], [job.fileno(), output_out.fileno(), result_out.fileno()])
        output_out.close()
        result_out.close()
        try:
          outcome, message = _watch(result.fileno(), output.fileno(), self._limits)
        finally:
          self._socket.send(b'.')
          ended = self._socket.recv(1)
      except OSError as e:
        raise SandboxError(f'the sandbox server does not answer: {e}') from e
      if not ended:
        raise SandboxError(f'the sandbox server ended; it runs as {sys.executable} -I -S {_CHILD}')
    if outcome is not None:
      return outcome
    if not message:
      return Outcome('killed', 'the process of the tests was killed')
    status, reason = json.loads(message)
    if status == 'refused':
      raise SandboxError(reason)
    return Outcome(status, reason)


def _pipe(stack: contextlib.ExitStack) -> list[BinaryIO]:
  read, write = os.pipe()
  return [stack.enter_context(open(read, 'rb', buffering=0)), stack.enter_context(open(write, 'wb', buffering=0))]


def run(
  program: str,
  tests: str = '',
  *,
  limits: Limits = Limits(),
  allow_network: bool = False,
  allow_files: bool = False,
) -> Outcome:
  """Runs a generated Python program, then the trusted `tests`, which use the program's names, and says how that went.

  In the tests a name is the tests' own, else Python's (a builtin; a module of the standard library, where the tests
  take something of it, as in `sys.getsizeof`), else the program's; `from solution import sum` says otherwise. The
  program is not the main module: its `__name__` is 'solution'.

  'passed' means: the program's top level ended, and the tests' last line was reached. Program and tests run in two
  processes; calls of the tests cross as plain values (`sandbox_calls`). No exit code and no text that the program
  writes counts, and the program sees neither the tests nor what they expect. So an early exit, a patched builtin, a
  search through frames or memory, forged messages, a signal, or an object that is equal to everything or another
  number each time does not pass. What still passes: the right values, wherever they come from; and where a test
  compares two objects of classes of the program, or asks one for its truth, the word of the program.

  docs/security.md says what a program cannot do, on which features of the kernel that rests, and what is not promised.
  In short: it is one process with an empty root, without network, with the system calls of `sandbox_filter` only, and
  within `limits`. It takes Linux 5.12 on x86_64 or aarch64, as root or where users may make namespaces.

  Raises SandboxError, naming the flag, where the kernel does not give this. With `allow_network`, goes on where no
  network namespace can be made: the program still has no socket to reach the network by. With `allow_files`, goes on
  where the file system cannot be hidden: the program reads and writes what the user may (as root: what 'nobody' may),
  and so may fill disk and memory; that is no protection against malice. Its folder is then a temporary one. Where the
  kernel gives more than a flag waives, it is still taken.
  """
  with Sandbox(limits, allow_network=allow_network, allow_files=allow_files) as sandbox:
    return sandbox.run(program, tests)


def run_all(
  programs: Iterable[tuple[str, str]],
  workers: int,
  *,
  limits: Limits = Limits(),
  allow_network: bool = False,
  allow_files: bool = False,
) -> Iterator[Outcome]:
  """Yields the outcome of each (program, tests), in order; `workers` run at a time, few are read ahead.

  Raises as `run` does; ends its processes when the iterator ends or is closed.
  """
  with contextlib.ExitStack() as stack:
    pool = stack.enter_context(concurrent.futures.ThreadPoolExecutor(workers))
    free: queue.SimpleQueue[Sandbox] = queue.SimpleQueue()
    for _ in range(workers):
      free.put(stack.enter_context(Sandbox(limits, allow_network=allow_network, allow_files=allow_files)))

    def work(job: tuple[str, str]) -> Outcome:
      sandbox = free.get()
      try:
        return sandbox.run(*job)
      finally:
        free.put(sandbox)

    waiting: collections.deque[concurrent.futures.Future[Outcome]] = collections.deque()
    stack.callback(lambda: [future.cancel() for future in waiting])
    for job in programs:
      waiting.append(pool.submit(work, job))
      if len(waiting) >= 2 * workers:
        yield waiting.popleft().result()
    while waiting:
      yield waiting.popleft().result()


def _watch(result: int, output: int, limits: Limits) -> tuple[Outcome | None, bytes]:
  """Reads the pipes until the result closes; an outcome where a limit ended the program first."""
  end = time.monotonic() + limits.seconds
  message, printed = b'', 0
  with selectors.DefaultSelector() as selector:
    selector.register(result, selectors.EVENT_READ)
    selector.register(output, selectors.EVENT_READ)
    while ready := {key.fd for key, _ in selector.select(max(0, end - time.monotonic()))}:
      if output in ready:
        part = os.read(output, 1 << 16)
        printed += len(part)
        if printed > limits.output:
          return Outcome('killed', f'printed more than {limits.output} bytes'), message
        if not part:
          selector.unregister(output)
      if result in ready:
        part = os.read(result, 1 << 16)
        message += part
        if not part:
          return None, message
  return Outcome('timed out', f'after {limits.seconds} s'), message
