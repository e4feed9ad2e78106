"""One process of several runs in a child of a small parent, which says why it ended where it could not say so itself.

JAX's coordination client ends its process at once, with exit code 1 and without a callback, when the coordinator's
connection breaks or not all processes come at the start; the kernel does when memory is short. The parent knows what
the child had told it, and gives the message and the exit code.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import signal
import socket
import sys

TRY_AGAIN = 75
"""Exit code (EX_TEMPFAIL) of a run that was asked to stop, or lost a process: the same command goes on."""
AGAIN = 'Start all processes again with the same command; it goes on from here.'
_PR_SET_PDEATHSIG = 1


class Parent:
  """The way from the child to its parent."""

  def __init__(self, pipe: int):
    self._pipe = pipe
    atexit.register(self.leaving)

  def joined(self, coordinator: str, prefix: str) -> None:
    """Says that the processes are together, where, and how lines of this one begin."""
    os.write(self._pipe, f'{coordinator}\n{prefix}\n'.encode())

  def alone(self) -> None:
    """Says that there are no others."""
    self.joined('', '')

  def leaving(self, code: int | None = None) -> None:
    """Says that this process ends of its own accord, with which code where it knows, and has said why."""
    os.write(self._pipe, b'leaving\n' if code is None else f'leaving {code}\n'.encode())


def fork(start_seconds: float) -> Parent:
  """Goes on in a child process; to be called before there are threads. The parent does not return.

  Args:
    start_seconds: how long the child waits for the other processes, for the message.
  """
  read, write = os.pipe()
  sys.stdout.flush()
  sys.stderr.flush()
  child = os.fork()
  if not child:
    os.close(read)
    os.setpgid(0, 0)  # A terminal's Ctrl-C comes once, from the parent.
    if sys.platform == 'linux':
      ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    return Parent(write)
  os.close(write)
  asked = []

  def pass_on(number: int, _) -> None:
    asked.append(number)
    os.kill(child, number)

  for number in (signal.SIGINT, signal.SIGTERM):
    if signal.getsignal(number) is not signal.SIG_IGN:  # As under nohup.
      signal.signal(number, pass_on)
  code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
  with os.fdopen(read) as pipe:
    said = pipe.read().splitlines()
  if told := [int(line.split()[1]) for line in said if line.startswith('leaving ')]:
    code = told[0]  # JAX may have been faster with a code of its own.
  elif code and 'leaving' not in said and (not asked or (said and code == 1)):  # 1 is JAX's.
    message, code = _explain(code, said, start_seconds)
    print(message, file=sys.stderr, flush=True)
  os._exit(code if code >= 0 else 128 - code)


def _explain(code: int, said: list[str], start_seconds: float) -> tuple[str, int]:
  """Why a child ended without a word, and the exit code to end with."""
  if not said:
    return (
      f'Error: within {start_seconds:g} s (--start_seconds) not all processes came together; is process 0 running, can '
      'its port be reached, were all started with the same --coordinator and --process_count?',
      1,
    )
  coordinator, prefix = said[:2]
  host, _, port = coordinator.rpartition(':')
  try:
    if coordinator:
      socket.create_connection((host.strip('[]'), int(port)), timeout=5).close()
  except OSError:
    return f'{prefix}Stopped: process 0, the coordinator at {coordinator}, is gone. {AGAIN}', TRY_AGAIN
  how = f'with code {code}' if code > 0 else f'by signal {-code}' + (' (out of memory?)' if code == -9 else '')
  return f'{prefix}Stopped: this process was ended {how}. {AGAIN}', TRY_AGAIN
