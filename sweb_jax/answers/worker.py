"""One worker of `pool.Pool`: a process of its own that asks a library, one request after the other.

Run as a script, by path, so that it imports nothing but the standard library and that library. Requests and replies are
lines of JSON over a socket, never pickles:

    {"error": null}                                         ready; or why the library cannot be imported
    ["1/2", "0.5"]                                          a request: gold answer, answer
    {"equal": true, "reason": "equal", "rss_mb": 64}        its reply

Whoever started it enforces the deadline, by killing it. math-verify's own alarms stay off: an exception raised anywhere
in a parser can be swallowed by it, or leave its tables half-written for the requests that follow.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import json
import logging
import os
import random
import resource
import signal
import socket
import sys
from collections.abc import Callable, Iterator

MEMORY = {'math_verify': 2 << 30, 'instructions': 4 << 30}
"""Bytes of address space by what is asked; what needs more fails inside the worker, not the machine."""

ORPHAN_POLL = 2.0
"""Seconds between two looks of an idle worker at whether its parent lives: a fork may hold the sockets open."""


def main(argv: list[str]) -> None:
  """Serves the socket of file descriptor `argv[1]` until its other end closes.

  `argv[2]`: CPU seconds a request; `argv[3]`: what is asked, of `MEMORY`. Standard input is a pipe that nobody writes
  to; its end is the end of the parent.
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
    opinion, *first = {'math_verify': _math_verify, 'instructions': _instructions}[argv[3]]()
  except Exception as e:
    _send(channel, {'error': f'{type(e).__name__}: {e}'})
    return
  logging.disable(logging.CRITICAL)
  with contextlib.suppress(ValueError, OSError):  # Not every platform limits the address space.
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY[argv[3]],) * 2)
  opinion(*first)  # Much is loaded at first use, which no request should pay for.
  _send(channel, {'error': None})
  for gold, answer in _requests(channel, parent):
    # SIGPROF ends the process likewise: what a fork of the parent keeps alive, or a parent that looks away, is bounded.
    signal.setitimer(signal.ITIMER_PROF, cpu_seconds)
    equal, reason = opinion(gold, answer)
    signal.setitimer(signal.ITIMER_PROF, 0)
    _send(channel, {'equal': equal, 'reason': reason, 'rss_mb': _rss_mb()})


def _math_verify() -> tuple[Callable[[str, str], tuple[bool | None, str]], str, str]:
  """What answers a request, and a first one."""
  import math_verify

  return functools.partial(_opinion, math_verify), r'\frac{1}{2}', r'\sqrt{2}'


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


def _instructions() -> tuple[Callable[[str, str], tuple[bool | None, str]], str, str]:
  """The same for IFEval's instructions, as `instructions.Checker` asks."""
  os.environ['LOCAL_RANK'] = '1'  # Else the import looks for data of nltk's over the network.
  from lm_eval.tasks.ifeval import instructions_registry, utils  # isort: skip (it is what is missing if one is)
  import langdetect

  langdetect.DetectorFactory.seed = 0  # By itself it draws another one each time.
  first = json.dumps(['Answer in English.', ['language:response_language'], [{'language': 'en'}]])
  return functools.partial(_followed, utils, instructions_registry.INSTRUCTION_DICT), first, 'This is English.'


def _followed(utils, known: dict[str, type], said: str, text: str) -> tuple[bool | None, str]:
  """Whether all are followed strictly, and a mark for each of them, read strictly, and again read loosely: '10 11'."""
  prompt, ids, kwargs = json.loads(said)
  for name, given in zip(ids, kwargs, strict=True):
    if name not in known:
      return None, f'{name}: no such instruction'
    # The library would draw by chance what is not given; what is false is not given either.
    wanted = known[name](name).get_instruction_args_keys()
    if lacking := [key for key in wanted if not given.get(key)]:
      return None, f'{name}: its kwargs lack {", ".join(lacking)}'
  asked = utils.InputExample(0, ids, prompt, kwargs)
  random.seed(0)
  try:
    strict = utils.test_instruction_following_strict(asked, text).follow_instruction_list
    loose = utils.test_instruction_following_loose(asked, text).follow_instruction_list
  except Exception as e:
    lines = [line.strip(' *') for line in str(e).splitlines()]
    return None, f'{type(e).__name__}: {next(filter(None, lines), "")}'
  return all(strict), ' '.join(''.join('01'[bool(x)] for x in marks) for marks in (strict, loose))


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
