"""Opinions of libraries on what models wrote, from worker processes that may hang, crash or be killed.

math-verify hands answers to sympy, and there are short answers that keep sympy busy for ever ('9^{9^{9^9}}'), some of
them inside one operation of C code that nothing in the same process can interrupt. So each worker is a process, the
parent watches the clock, and a worker that overruns is killed and replaced.

A worker is a fresh interpreter (see `worker`), neither a fork nor a child of multiprocessing: a fork of a process that
runs JAX may deadlock, and multiprocessing imports the caller's main module, and JAX with it, into every child.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import selectors
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

MAX_LENGTH = 1000
"""Characters of the longest answer that is sent to a worker."""

MAX_DEPTH = 40
"""Brackets inside brackets in an answer that is sent; answers to MATH problems stay below 10."""

WINDOW = 1024
"""Pairs read ahead of the oldest opinion that is still to come; the memory held is bounded by it."""

MAX_SERVED = 10_000
"""Requests after which a worker is replaced: sympy and the parser keep what they have seen."""

MAX_RSS_MB = 512
"""Resident memory of a worker above which it is replaced."""

START_SECONDS = 120.0
"""Time a worker may take to import its library; 0.6 s for math-verify on an idle core, 4 s for the longest."""

MAX_FAILED_STARTS = 5
"""Starts that fail in a row before the pool gives up."""

_BRACKETS = re.compile(r'[][(){}]')
_OPENED = {'}': '{', ')': '(', ']': '['}


class PoolError(RuntimeError):
  """Workers cannot be started, or the pool is used outside its `with`; the message says what to do."""


@dataclasses.dataclass(frozen=True)
class Opinion:
  """What a library says of one pair."""

  equal: bool | None
  """None: no opinion."""
  reason: str
  """'equal', 'not equal', or why there is no opinion: 'timed out', 'worker died', 'too long', 'too deep', ..."""


@dataclasses.dataclass(frozen=True)
class Library:
  """Who is asked."""

  name: str
  """As `worker` knows it."""
  module: str
  """What it imports, for messages."""
  package: str
  """What pip calls it."""
  refused: Callable[[tuple[str, str] | None], str | None]
  """Why a pair is not sent; None where it is."""


@dataclasses.dataclass(eq=False)
class _Worker:
  process: subprocess.Popen
  channel: socket.socket
  expires: float
  """When it is killed: at the deadline of its start or its request; infinity while it waits for work."""
  ready: bool = False
  request: int | None = None
  """Number of the pair it is at."""
  served: int = 0
  buffer: bytes = b''


class Pool:
  """Worker processes that give second opinions; to be used in a `with`, by one thread.

      with Pool(workers=2, deadline=2.0) as pool:
        for opinion in pool.second_opinions([('\\\\frac{1}{2}', '0.5')]):
          ...

  Every request is answered. At the end of the `with`, however it ends, all workers are gone; where the parent is
  killed, they notice and go. The workers' imports are not the caller's: neither JAX nor the caller's main module.
  """

  def __init__(self, workers: int = 2, deadline: float = 2.0, library: Library | None = None):
    """`workers`: processes; `deadline`: wall seconds a request; `library`: who is asked, by default math-verify.

    Raises ValueError where a number is not positive.
    """
    if workers < 1 or not 0 < deadline < float('inf'):
      raise ValueError(f'workers={workers} and deadline={deadline}: both must be positive')
    self._count = workers
    self._deadline = deadline
    self._library = library or MATH_VERIFY
    self._workers: list[_Worker] = []
    self._selector: selectors.BaseSelector | None = None
    self._failed_starts = 0
    self._in_use = False
    self.started = 0
    """Worker processes started so far; what is above the number of workers were replacements."""

  def __enter__(self) -> Pool:
    self._selector = selectors.DefaultSelector()
    try:
      self.at_least(self._count)
    except BaseException:
      self.close()
      raise
    return self

  def __exit__(self, *_) -> None:
    self.close()

  def at_least(self, workers: int) -> None:
    """Starts workers until there are so many."""
    self._count = max(self._count, workers)
    while len(self._workers) < self._count:
      self._start()

  def close(self) -> None:
    """Kills every worker and waits for its end; a second call does nothing."""
    for worker in list(self._workers):
      self._stop(worker)
    if self._selector is not None:
      self._selector.close()
      self._selector = None

  @property
  def pids(self) -> list[int]:
    """Process ids of the workers that run now."""
    return [w.process.pid for w in self._workers]

  def second_opinions(self, pairs: Iterable[tuple[str, str] | None]) -> Iterator[Opinion]:
    """Yields the opinion of each (gold answer, answer), in order; None in place of a pair gives no opinion.

    `pairs` is read as workers become free, at most `WINDOW` ahead. Raises PoolError where no worker can be started.
    """
    if self._selector is None or self._in_use:
      raise PoolError('a Pool gives opinions inside its `with` block, to one caller at a time')
    self._in_use = True
    try:
      yield from self._run(iter(pairs))
    finally:
      self._in_use = False
      for worker in [w for w in self._workers if w.request is not None]:
        self._replace(worker)  # Its reply would belong to a caller that has left.

  def _run(self, pairs: Iterator[tuple[str, str] | None]) -> Iterator[Opinion]:
    opinions: dict[int, Opinion] = {}
    read = given = 0  # Pairs read so far, opinions given so far.
    unsent: tuple[int, bytes] | None = None
    more = True
    while True:
      while more or unsent:
        idle = next((w for w in self._workers if w.ready and w.request is None), None)
        if idle is None:
          break
        if unsent is None:
          if read - given >= WINDOW:
            break
          try:
            pair = next(pairs)
          except StopIteration:
            more = False
            break
          number, read = read, read + 1
          if (why := self._library.refused(pair)) is not None:
            opinions[number] = Opinion(None, why)
            continue
          unsent = number, json.dumps(pair).encode() + b'\n'
        if self._send(idle, *unsent):
          unsent = None
      while given in opinions:
        yield opinions.pop(given)
        given += 1
      if not more and given == read:
        return
      if more and given + WINDOW > read and any(w.ready and w.request is None for w in self._workers):
        continue  # The window was full and has room again.
      opinions.update(self._wait())

  def _wait(self) -> dict[int, Opinion]:
    """Waits for a reply, an end or a deadline, and returns the opinions that came of it, by number."""
    if self._selector is None:
      raise PoolError('the Pool was closed before all its opinions were given')
    timeout = max(0.0, min(w.expires for w in self._workers) - time.monotonic())
    opinions = {}
    for key, _ in self._selector.select(None if timeout == float('inf') else timeout):
      worker: _Worker = key.data
      number = worker.request
      try:
        message = _receive(worker)
        if message is None:
          continue
        opinion = self._heard(worker, message)
      except (OSError, ValueError, KeyError, TypeError):  # Closed, or what came is no reply.
        opinion = None if number is None else Opinion(None, 'worker died')
        self._lost(worker)
      if opinion is not None:
        opinions[number] = opinion
    # After the replies: one that came while the caller was busy elsewhere is not late.
    now = time.monotonic()
    for worker in [w for w in self._workers if w.expires <= now]:
      if worker.request is not None:
        opinions[worker.request] = Opinion(None, 'timed out')
      self._lost(worker)
    return opinions

  def _heard(self, worker: _Worker, message: dict) -> Opinion | None:
    """Takes in one message: that a worker is ready (None), or its reply."""
    if not worker.ready:
      if message['error'] is not None:
        said = f'{self._library.module} cannot be imported: {message["error"]}'
        raise PoolError(f'{said}; pip install {self._library.package}')
      worker.ready = True
      worker.expires = float('inf')
      self._failed_starts = 0
      return None
    opinion = Opinion(message['equal'], message['reason'])
    worker.request = None
    worker.expires = float('inf')
    worker.served += 1
    if worker.served >= MAX_SERVED or message['rss_mb'] > MAX_RSS_MB:
      self._replace(worker)
    return opinion

  def _send(self, worker: _Worker, number: int, line: bytes) -> bool:
    """Whether the request went out; the worker is replaced where it did not."""
    try:
      worker.channel.sendall(line)
    except OSError:  # It died while it waited for work.
      self._lost(worker)
      return False
    worker.request = number
    worker.expires = time.monotonic() + self._deadline
    return True

  def _lost(self, worker: _Worker) -> None:
    """Replaces a worker that died or overran; gives up where none gets as far as being ready."""
    if not worker.ready:
      self._failed_starts += 1
      if self._failed_starts >= MAX_FAILED_STARTS:
        self._stop(worker)
        raise PoolError(
          f'{self._failed_starts} workers in a row did not start (exit code {worker.process.returncode}); '
          f'try: {sys.executable} -c "import {self._library.module}"'
        )
    self._replace(worker)

  def _replace(self, worker: _Worker) -> None:
    self._stop(worker)
    self._start()

  def _start(self) -> None:
    ours, theirs = socket.socketpair()
    ours.settimeout(self._deadline)  # For sending to a worker that does not read; replies are selected for.
    script = str(Path(__file__).with_name('worker.py'))
    with theirs:
      # -P: the folder of the script is not on its path. The caller's path is: the library is where it would find it.
      process = subprocess.Popen(
        [sys.executable, '-P', script, str(theirs.fileno()), str(2 * self._deadline + 1), self._library.name],
        pass_fds=[theirs.fileno()],
        env={**os.environ, 'PYTHONPATH': os.pathsep.join(p for p in sys.path if p)},
        stdin=subprocess.PIPE,  # Never written to: its end tells the worker that the parent is gone.
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
      )
    worker = _Worker(process, ours, expires=time.monotonic() + START_SECONDS)
    self._workers.append(worker)
    self._selector.register(ours, selectors.EVENT_READ, worker)
    self.started += 1

  def _stop(self, worker: _Worker) -> None:
    with contextlib.suppress(KeyError, ValueError):
      self._selector.unregister(worker.channel)
    worker.channel.close()
    worker.process.kill()
    worker.process.wait()
    worker.process.stdin.close()
    if worker in self._workers:
      self._workers.remove(worker)


def _refused(pair: tuple[str, str] | None) -> str | None:
  """Why a pair is not sent; None where it is."""
  if pair is None:
    return 'no answer'
  for text in pair:
    if len(text) > MAX_LENGTH:
      return 'too long'
    depths = _depths(text)
    if depths is None:  # Inside \boxed{} it would end the box, and something else would be compared.
      return 'unbalanced braces'
    if depths > MAX_DEPTH:
      return 'too deep'
  return None


def _depths(text: str) -> int | None:
  """How deep its brackets of all kinds stand in each other, None where its braces do not match."""
  depth = {'{': 0, '(': 0, '[': 0}
  most = 0
  for bracket in _BRACKETS.findall(text.replace('\\\\', '').replace('\\{', '').replace('\\}', '')):
    if (closed := _OPENED.get(bracket)) is None:
      depth[bracket] += 1
      most = max(most, sum(depth.values()))
    elif depth[closed] > 0:
      depth[closed] -= 1
    elif closed == '{':
      return None
  return most if depth['{'] == 0 else None


def _receive(worker: _Worker) -> dict | None:
  """The message of a readable worker, None while half of it is here. Raises OSError where the worker is gone."""
  data = worker.channel.recv(1 << 16)
  if not data:
    raise ConnectionResetError
  worker.buffer += data
  line, end, rest = worker.buffer.partition(b'\n')
  if not end:
    return None
  worker.buffer = rest
  return json.loads(line)


MATH_VERIFY = Library('math_verify', 'math_verify', 'math-verify', _refused)
