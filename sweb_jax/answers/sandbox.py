"""Runs generated programs against tests, shut in."""

from __future__ import annotations

import collections
import concurrent.futures
import contextlib
import dataclasses
import json
import os
import pathlib
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from typing import Literal

_CHILD = pathlib.Path(__file__).with_name('sandbox_child.py')
_GRACE = 5.0  # Seconds after which a judge that has not kept the deadline itself is killed.


class SandboxError(RuntimeError):
  """No program can be run here as safely as was asked; the message names what is missing."""


@dataclasses.dataclass(frozen=True)
class Limits:
  """What one program may use."""

  seconds: float = 10.0
  """Of wall clock, for the program and its tests."""
  cpu_seconds: int = 10
  """Of one process of the program."""
  memory: int = 512 << 20
  """Bytes of address space of one process."""
  processes: int = 8
  """Processes and threads at one time, the first included."""
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


def run(
  program: str,
  tests: str = '',
  *,
  limits: Limits = Limits(),
  allow_network: bool = False,
  allow_files: bool = False,
) -> Outcome:
  """TODO."""
  job = json.dumps([program, tests]).encode()
  with tempfile.TemporaryDirectory(prefix='sandbox-', ignore_cleanup_errors=True) as directory:
    result_in, result_out = os.pipe()
    output_in, output_out = os.pipe()
    job_file = os.memfd_create('job')
    open_here = [result_in, result_out, output_in, output_out, job_file]
    try:
      os.write(job_file, job)
      os.lseek(job_file, 0, os.SEEK_SET)
      settings = dataclasses.asdict(limits)
      settings |= {'allow_network': allow_network, 'allow_files': allow_files}
      settings |= {'directory': os.path.realpath(directory), 'result': result_out}
      process = subprocess.Popen(
        [sys.executable, '-I', '-S', '-B', str(_CHILD), json.dumps(settings)],
        stdin=job_file,
        stdout=output_out,
        stderr=output_out,
        pass_fds=[result_out],
        env={},
        cwd='/',
        start_new_session=True,
      )
      for end in (result_out, output_out, job_file):
        os.close(end)
        open_here.remove(end)
      try:
        outcome, result = _watch(result_in, output_in, limits)
      finally:
        process.terminate()  # The launcher kills the judge, and ends when all processes have.
        try:
          process.wait(_GRACE)
        except subprocess.TimeoutExpired:
          with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
          process.wait()
    finally:
      for end in open_here:
        os.close(end)
  if outcome is not None:
    return outcome
  try:
    status, reason = json.loads(result)
  except ValueError:
    return Outcome('killed', 'the program or its tests were killed')
  if status == 'refused':
    raise SandboxError(reason)
  return Outcome(status, reason)


def _watch(result_in: int, output_in: int, limits: Limits) -> tuple[Outcome | None, bytes]:
  """Reads the pipes until the result is whole; an outcome where a limit ended the program first."""
  end = time.monotonic() + limits.seconds + _GRACE
  result, printed = b'', 0
  with selectors.DefaultSelector() as selector:
    selector.register(result_in, selectors.EVENT_READ)
    selector.register(output_in, selectors.EVENT_READ)
    while True:
      ready = {key.fd for key, _ in selector.select(max(0, end - time.monotonic()))}
      if not ready:
        return Outcome('timed out', f'after {limits.seconds} s'), result
      if output_in in ready:
        part = os.read(output_in, 1 << 16)
        printed += len(part)
        if printed > limits.output:
          return Outcome('killed', f'printed more than {limits.output} bytes'), result
        if not part:
          selector.unregister(output_in)
      if result_in in ready:
        part = os.read(result_in, 1 << 16)
        result += part
        if not part:
          return None, result


def run_all(
  programs: Iterable[tuple[str, str]],
  workers: int,
  *,
  limits: Limits = Limits(),
  allow_network: bool = False,
  allow_files: bool = False,
) -> Iterator[Outcome]:
  """Yields the outcome of each (program, tests), in order; `workers` run at a time, few are read ahead."""
  options = {'limits': limits, 'allow_network': allow_network, 'allow_files': allow_files}
  with concurrent.futures.ThreadPoolExecutor(workers) as pool:
    waiting: collections.deque[concurrent.futures.Future[Outcome]] = collections.deque()
    try:
      for program, tests in programs:
        waiting.append(pool.submit(run, program, tests, **options))
        if len(waiting) >= 2 * workers:
          yield waiting.popleft().result()
      while waiting:
        yield waiting.popleft().result()
    finally:
      for future in waiting:
        future.cancel()
