"""One worker of `pool.Pool`: a process of its own that asks math-verify, one request after the other.

Run as a script, by path, so that it imports nothing but the standard library and math-verify. Requests and replies are
lines of JSON over a socket, never pickles:

    {"error": null}                                         ready; or why math-verify cannot be imported
    ["1/2", "0.5"]                                          a request: gold answer, answer
    {"equal": true, "reason": "equal", "rss_mb": 64}        its reply

Whoever started it enforces the deadline, by killing it. math-verify's own alarms stay off: an exception raised anywhere
in a parser can be swallowed by it, or leave its tables half-written for the requests that follow.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import resource
import signal
import socket
import sys
from collections.abc import Iterator

MEMORY = 2 << 30
"""Bytes of address space; what needs more fails inside the worker, not the machine."""

ORPHAN_POLL = 2.0
"""Seconds between two looks of an idle worker at whether its parent lives: a fork may hold the sockets open."""


def main(argv: list[str]) -> None:
  """Serves the socket of file descriptor `argv[1]` until its other end closes; `argv[2]`: CPU seconds a request.

  Standard input is a pipe that nobody writes to; its end is the end of the parent.
  """
  channel = socket.socket(fileno=int(argv[1]))
  channel.settimeout(ORPHAN_POLL)
  cpu_seconds = float(argv[2])
  parent = os.getppid()
  signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides what ends.
  # When the parent is gone the kernel sends SIGIO, which ends the process at once, also inside one long operation of C
  # code, where no thread and no handler of Python runs.
  fcntl.fcntl(0, fcntl.F_SETOWN, os.getpid())
  fcntl.fcntl(0, fcntl.F_SETFL, fcntl.fcntl(0, fcntl.F_GETFL) | os.O_ASYNC)
  try:
    import math_verify
  except Exception as e:
    _send(channel, {'error': f'{type(e).__name__}: {e}'})
    return
  logging.disable(logging.CRITICAL)
  with contextlib.suppress(ValueError, OSError):  # Not every platform limits the address space.
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
  _opinion(math_verify, r'\frac{1}{2}', r'\sqrt{2}')  # Much is loaded at first use, which no request should pay for.
  _send(channel, {'error': None})
  for gold, answer in _requests(channel, parent):
    # SIGPROF ends the process likewise: what a fork of the parent keeps alive, or a parent that looks away, is bounded.
    signal.setitimer(signal.ITIMER_PROF, cpu_seconds)
    equal, reason = _opinion(math_verify, gold, answer)
    signal.setitimer(signal.ITIMER_PROF, 0)
    _send(channel, {'equal': equal, 'reason': reason, 'rss_mb': _rss_mb()})


def _opinion(math_verify, gold: str, answer: str) -> tuple[bool | None, str]:
  # LaTeX alone: math-verify reads bare expressions with sympy's parse_expr, which evaluates Python.
  how = [math_verify.LatexExtractionConfig(boxed_match_priority=0)]
  parsed = []
  for name, text in (('gold answer', gold), ('answer', answer)):
    try:
      found = math_verify.parse(f'\\boxed{{{text}}}', how, parsing_timeout=None, raise_on_error=True)
    except Exception as e:
      return None, f'could not parse the {name}: {type(e).__name__}'
    if not found:
      return None, f'could not parse the {name}'
    parsed.append(found)
  try:
    equal = bool(math_verify.verify(*parsed, timeout_seconds=None, raise_on_error=True))
  except Exception as e:
    return None, f'could not compare: {type(e).__name__}'
  return equal, 'equal' if equal else 'not equal'


def _requests(channel: socket.socket, parent: int) -> Iterator[tuple[str, str]]:
  """Yields the requests as they come, until the other end closes or the parent is gone."""
  buffer = b''
  while os.getppid() == parent:
    try:
      data = channel.recv(1 << 16)
    except TimeoutError:
      continue
    except OSError:
      return
    if not data:
      return
    *lines, buffer = (buffer + data).split(b'\n')
    for line in lines:
      yield json.loads(line)


def _send(channel: socket.socket, message: dict) -> None:
  try:
    channel.sendall(json.dumps(message).encode() + b'\n')
  except OSError:
    os._exit(0)  # Nobody listens any more.


def _rss_mb() -> int:
  """Resident memory: now where /proc tells it, else at its highest."""
  try:
    with open('/proc/self/statm') as f:
      return int(f.read().split()[1]) * resource.getpagesize() >> 20
  except OSError:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> (20 if sys.platform == 'darwin' else 10)


if __name__ == '__main__':
  main(sys.argv)
