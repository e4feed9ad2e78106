"""The processes of one run: how they divide the work, wait for each other, and end together.

What processes tell each other goes through the key-value store of JAX's coordination service, which lives in process 0:
it needs no shared clock, no listing of a bucket, and leaves nothing behind. A thread of each process says every second
that it lives and looks at the others, so a process that is dead or stopped is named also while the main thread waits
in a collective that will never end.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from etils import epath
from jaxtyping import Int

from sweb_jax.runtime import files, stopping
from sweb_jax.runtime.supervisor import AGAIN, TRY_AGAIN, Parent

_BEAT_SECONDS = 1.0
_KEY = 'sweb_jax'


class Interrupted(Exception):
  """The run was asked to stop; raised inside jobs that run in threads, and where processes wait for each other."""


class DistributedError(RuntimeError):
  """Processes that do not find each other, or wait in vain; the message names who is missing and what to do."""


class Hosts:
  """The processes of this run; with one, nothing waits and everything is its own.

  Args:
    index: of this process.
    count: of all.
    client: of JAX's coordination service; None with one process.
    patience: seconds that others may be waited for while they do nothing.
    silence: seconds without a sign of life after which a process counts as dead; a stopped process, a dead host and a
      cut network look the same.
    parent: is told when this process ends; None where there is none.
    deadline: of this process once any was asked to stop; None with one process, which has no others to ask it.
  """

  def __init__(
    self,
    index: int = 0,
    count: int = 1,
    client: Any = None,
    patience: float = 1800.0,
    silence: float = 25.0,
    parent: Parent | None = None,
    deadline: stopping.Deadline | None = None,
  ):
    self.index, self.count, self._client, self._parent, self._deadline = index, count, client, parent, deadline
    self._patience, self._silence = patience, silence
    self.together = 1
    """So many neighbouring processes draw as one: those that hold a model between them, or those of a slice."""
    self.stop = threading.Event()
    """Set when any process was asked to stop, and by a job that failed, for those beside it."""
    self._asked = threading.Event()
    self._progress = self._barriers = self._looks = 0
    self._names: dict[int, str] = {}
    self._seen: dict[int, tuple[str, float]] = {}
    self._silent: set[int] = set()
    self._ended = threading.Event()
    self._leaving = threading.Lock()
    if client is not None:
      self._put(f'host/{index}', socket.gethostname())
      self.barrier('start')
      self._names = {p: f'process {p} ({host})' for p, host in self._read('host').items()}
      self._deadline.end = self._lost
      for target in (self._watch, self._guard):
        threading.Thread(target=target, name=target.__name__, daemon=True).start()

  @property
  def leads(self) -> bool:
    """Whether this process writes the files that all share."""
    return self.index == 0

  @property
  def prefix(self) -> str:
    """What names this process in logs and file names: '' where there is only one."""
    return f'{self.index:03d}-' if self.count > 1 else ''

  def ours(self, problem_id: str) -> bool:
    """Whether this process draws for a problem, by itself or with others: a function of the id and their number."""
    return _number(problem_id) % self._groups == self.index // self.together

  def mine(self, problem_id: str) -> bool:
    """Whether this process writes and grades what is drawn for a problem: one of those that draw for it does."""
    mine = _number(problem_id) // self._groups % self.together == self.index % self.together
    return mine and self.ours(problem_id)

  @property
  def _groups(self) -> int:
    """Of processes that draw as one."""
    return self.count // self.together

  def progressed(self) -> None:
    """Notes that this process got on, for those who wait for it."""
    self._progress += 1

  def barrier(self, name: str) -> None:
    """Returns when all processes are here. Raises DistributedError naming those that are missing without getting on."""
    if self.count == 1:
      return
    self._barriers += 1
    place = f'barrier/{self._barriers}'
    self._put(f'{place}/{self.index}', name)
    stuck: dict[int, tuple[str, float]] = {}
    pause = 0.002
    while True:
      here = self._read(place)
      if odd := next((p for p, other in here.items() if other != name), None):
        raise DistributedError(f'{self._name(odd)} is at {here[odd]!r} where this one is at {name!r}; start all anew')
      missing = [p for p in range(self.count) if p not in here]
      if not missing:
        return
      if self.stop.is_set():
        raise Interrupted
      progress, now = self._read('progress'), time.monotonic()
      for p in missing:
        if p not in stuck or stuck[p][0] != progress.get(p, ''):
          stuck[p] = progress.get(p, ''), now
      if all(now - since > self._patience for p, (_, since) in stuck.items() if p in missing):
        names = ', '.join(map(self._name, missing))
        raise DistributedError(
          f'{names} did not come to {name!r} and did nothing for {self._patience:g} s (--patience); see its log, and '
          'start all processes again'
        )
      time.sleep(pause)
      pause = min(0.5, 1.3 * pause)

  def meet(self, name: str) -> None:
    """A barrier where some draw as one: what each has read of shared files was then not yet written on."""
    if self.together > 1:
      self.barrier(name)

  def exchange(self, file: epath.Path, text: str) -> str:
    """All processes' lines for a `file` that process 0 is to write: returned there, '' elsewhere."""
    files.write_text(file.parent / f'{file.name}.part-{self.index:03d}', text)
    self.barrier(f'parts of {file.name}')
    if not self.leads:
      return ''
    text = ''.join((file.parent / f'{file.name}.part-{p:03d}').read_text() for p in range(self.count))
    for part in file.parent.glob(f'{file.name}.part-*'):
      part.unlink()
    return text

  def total(self, numbers: Sequence[int]) -> list[int]:
    """The sum of each number over all processes; a collective, which all call alike."""
    return self._all(numbers).sum(0).tolist()

  def any(self, flag: bool) -> bool:
    """Whether any process says so; a collective, which all call alike."""
    return bool(self._all([flag]).any())

  def _all(self, numbers: Sequence[int]) -> Int[np.ndarray, 'processes n']:
    if self.count == 1:
      return np.asarray([numbers])
    from jax.experimental import multihost_utils

    return multihost_utils.process_allgather(np.asarray(numbers, np.int32))

  def ask_to_stop(self) -> None:
    """Has all processes stop at their next step."""
    self.stop.set()
    self._asked.set()
    if self.count > 1:
      self._deadline.begin()
      self._put(f'stop/{self.index}', '')

  def finish(self) -> None:
    """Ends a run that is done."""
    if self.count == 1:
      return
    self.barrier('end')
    self._ended.set()
    import jax

    jax.distributed.shutdown()

  def leave(self, code: int, why: str) -> None:
    """Ends this process at once, with others busy or not, after telling them. Returns where there are none."""
    if self._parent is not None and self.count == 1:
      self._parent.leaving(code)
    if self.count == 1:
      return
    with self._leaving:
      self._ended.set()
      self._deadline.meet()
      # Others save only where they were asked to stop; `stop` alone may be set by a job of this process that failed.
      seconds = 5 * _BEAT_SECONDS + (max(0.0, self._deadline.left()) if self._asked.is_set() else 0.0)
      # In a thread, as a store whose machine is gone does not answer.
      telling = threading.Thread(target=self._tell, args=(f'{code} {why}', time.monotonic() + seconds), daemon=True)
      telling.start()
      telling.join(seconds)
      with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
      self._parent.leaving(code)
      os._exit(code)

  def _tell(self, end: str, until: float) -> None:
    """Tells the others how this process ends. The first stays until they know: they ask it, and their saves need it."""
    try:
      self._put(f'ended/{self.index}', end)
      while self.leads and len(self._silent | self._read('ended').keys()) < self.count and time.monotonic() < until:
        time.sleep(0.1)
    except RuntimeError:
      pass  # The store is gone: they know by that.

  def settle(self, error: Exception) -> None:
    """After an error that another process may be the cause of: gives the watch time to name it, and then to end.

    Where processes were asked to stop, that is the cause, and this one stops too.
    """
    if self.count > 1:
      import jax

      if isinstance(error, jax.errors.JaxRuntimeError) and self._asked.wait(self._silence + 10 * _BEAT_SECONDS):
        self._lost('others that this one computed with have stopped')
      with self._leaving:  # Where the watch has found the cause and ends this process, this does not return.
        pass

  # --------------------------------------------------------------------------------------------------------------------

  def _watch(self) -> None:
    while not self._ended.wait(_BEAT_SECONDS):
      try:
        self._put(f'alive/{self.index}', str(self._looks))
        self._put(f'progress/{self.index}', str(self._progress))
        alive, ended, stop = self._read('alive'), self._read('ended'), self._read('stop')
      except RuntimeError:
        self._lost(f'{self._name(0)} coordinates the run and is gone')
      self._looks += 1
      now = time.monotonic()
      if stop and not self._asked.is_set():
        self._deadline.begin()
        self.stop.set()
        self._asked.set()
      for p in sorted(self._names.keys() - {self.index}):
        if p in ended:
          code, _, why = ended[p].partition(' ')
          if int(code) not in (TRY_AGAIN, 130):
            if self._name(self.index) in why:  # It waited for this one in vain.
              stopping.show_stacks()
            self._say(f'Error: {self._name(p)} ended: {why}')
            self.leave(int(code), f'{self._name(p)} ended: {why}')
          elif not stop:
            self._lost(f'{self._name(p)} ended: {why}')
        elif self._seen.get(p, ('', 0.0))[0] != alive.get(p, '0'):
          self._seen[p] = alive.get(p, '0'), now
        elif now - self._seen[p][1] > self._silence:
          self._silent.add(p)
      if self._silent:
        names = ', '.join(self._name(p) for p in sorted(self._silent))
        self._lost(f'{names} gave no sign of life for {self._silence:g} s (--silence)')

  def _guard(self) -> None:
    """Watches the watch: where the coordinator's machine is gone, or frozen, its call does not return."""
    looks = unanswered = 0  # Beats are counted, not time: this process may itself have been frozen.
    while not self._ended.wait(_BEAT_SECONDS):
      unanswered = unanswered + 1 if looks == self._looks else 0
      looks = self._looks
      if unanswered * _BEAT_SECONDS > self._silence:
        self._lost(f'{self._name(0)} coordinates the run and gave no answer for {self._silence:g} s (--silence)')

  def _lost(self, why: str) -> None:
    self._say(f'Stopped: {why}. {AGAIN}')
    self.leave(TRY_AGAIN, why)

  def _say(self, text: str) -> None:
    with contextlib.suppress(OSError, ValueError):  # Whoever read it may be gone, and this process goes all the same.
      print(f'{log_prefix(self.index, self.count)}{text}', file=sys.stderr, flush=True)

  def _name(self, process: int) -> str:
    return self._names.get(process, f'process {process}')

  def _put(self, key: str, value: str) -> None:
    self._client.key_value_set(f'{_KEY}/{key}', value, True)

  def _read(self, folder: str) -> dict[int, str]:
    found = self._client.key_value_dir_get(f'{_KEY}/{folder}/')
    return {int(key.rpartition('/')[2]): value for key, value in found}


def _number(problem_id: str) -> int:
  return int.from_bytes(hashlib.sha256(problem_id.encode()).digest()[8:16], 'little')


def log_prefix(index: int, count: int) -> str:
  """What begins every line of a process among several."""
  return f'[{index}/{count} {socket.gethostname()}] ' if count > 1 else ''
