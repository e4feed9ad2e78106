"""How a process heeds Ctrl-C and SIGTERM: a kill, or the notice of about 30 s before a spot machine is taken away.

Python calls a signal's handler in the main thread, between two bytecodes. A main thread that waits in C, for processes
that do not come or for a compiler, hears nothing until its call returns, and a job's thread may wait in a collective
that never ends. So a thread is woken by the signal itself, and ends the process when its time is over.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import signal
import sys
import threading
import time
from collections.abc import Callable

from sweb_jax.runtime.supervisor import AGAIN, TRY_AGAIN, Parent


class Preempted(KeyboardInterrupt):
  """The process was asked to end: the machine goes away, or somebody sent a kill."""


INTERRUPTED = 130
"""Exit code of a command that Ctrl-C ended."""


def end_at_once() -> None:
  """Has Ctrl-C and SIGTERM end the process, until `handle_signals`.

  Nothing is begun by then, and libraries abort where an exception is raised while they are imported.
  """

  def end(number: int, _) -> None:
    _say('Stopped before anything was begun.')
    os._exit(TRY_AGAIN if number == signal.SIGTERM else INTERRUPTED)

  signal.signal(signal.SIGTERM, end)
  _on_ctrl_c(end)


def handle_signals() -> None:
  """Has the first SIGTERM raise Preempted in the main thread, and the first Ctrl-C KeyboardInterrupt.

  Later SIGTERMs do nothing: when a machine shuts down, systemd, `worker.sh` and the supervisor each send one, and the
  second would cut off the save that the first began. A second Ctrl-C is a person's, and ends the process at once.
  Under nohup Ctrl-C is ignored.
  """

  def preempt(*_) -> None:
    signal.signal(signal.SIGTERM, lambda *_: None)  # Not SIG_IGN, which children would inherit.
    raise Preempted

  def interrupt(*_) -> None:
    signal.signal(signal.SIGINT, lambda *_: os._exit(INTERRUPTED))
    _say('Stopping; what was done is kept. Ctrl-C again stops at once.')
    raise KeyboardInterrupt

  signal.signal(signal.SIGTERM, preempt)
  _on_ctrl_c(interrupt)


def _on_ctrl_c(handler: Callable[[int, object], None]) -> None:
  if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
    signal.signal(signal.SIGINT, handler)


def _say(line: str) -> None:
  """To stderr, by the system's call: the interrupted thread may hold the stream's lock."""
  with contextlib.suppress(OSError):
    os.write(2, f'\n{line}\n'.encode())


def show_stacks() -> None:
  """Prints what each thread does, where somebody still reads it."""
  with contextlib.suppress(OSError, ValueError, RuntimeError):
    faulthandler.dump_traceback()


class Deadline:
  """Ends this process a while after it was asked to stop, and shows what it waits for.

  To be made in the main thread, after `fork`: it starts a thread.

  Args:
    seconds: from a SIGTERM, or from `begin`, to the end; what is not saved by then is lost, as at a kill.
    parent: is told; None where there is none.
  """

  def __init__(self, seconds: float, parent: Parent | None = None):
    self._seconds, self._parent, self._asked = seconds, parent, 0.0
    self._met = threading.Event()
    self.end: Callable[[str], None] = self._end
    """Ends the process with a reason; does not return."""
    read, self._write = os.pipe()
    os.set_blocking(self._write, False)
    signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
    os.register_at_fork(after_in_child=lambda: signal.set_wakeup_fd(-1))  # A child's signal is not this process's.
    threading.Thread(target=self._wait, args=(read,), name='deadline', daemon=True).start()

  def begin(self) -> None:
    """Counts from now, where it does not count yet: another process was told to stop."""
    os.write(self._write, bytes([signal.SIGTERM]))

  def meet(self) -> None:
    """Says that the process ends by itself now."""
    self._met.set()

  def left(self) -> float:
    """Seconds until the end; all of them before the process was asked."""
    return self._seconds - (time.monotonic() - self._asked if self._asked else 0.0)

  def _wait(self, read: int) -> None:
    while os.read(read, 1)[0] != signal.SIGTERM:
      pass
    self._asked = time.monotonic()
    if not self._met.wait(self._seconds):
      show_stacks()
      self.end(f'this process still waited {self._seconds:g} s (--grace) after it was asked to stop, as shown above')

  def _end(self, why: str) -> None:
    with contextlib.suppress(OSError, ValueError):
      print(f'Stopped: {why}. {AGAIN}', file=sys.stderr, flush=True)
    if self._parent is not None:
      self._parent.leaving(TRY_AGAIN)
    os._exit(TRY_AGAIN)
