"""Calls from the tests to the program under test: two processes without shared memory, plain values in JSON between.

The tests' process never runs code of the program, and the program's never sees the tests: it learns the arguments of
a call and gives a value back. So a program cannot pass by reaching into what judges it; only values can.

Plain values cross by copy: None, bool, int, float, complex, Fraction, Decimal, str, bytes, list, tuple, dict, set,
frozenset, and what is of a subclass of these, as the plain type. Anything else stays where it is and crosses as a
`Handle`, which a test may call, ask for attributes and truth, iterate over and compare with another one. It is asked
for no number, length, item or spelling: it could answer each time as it suits. Lists, dicts and sets that a call
changes are changed on the tests' side as well.

This module runs under `python -I -S` (`sandbox_child`): standard library only.
"""

from __future__ import annotations

import builtins
import decimal
import fractions
import itertools
import json
import operator
import os
import struct
import sys
import types

MAX_MESSAGE = 16 << 20
"""Bytes of the longest message; a longer value is an error of the call."""

UNREADABLE = (ValueError, TypeError, LookupError, ArithmeticError, RecursionError)
"""What `unpack` raises where a message is not what `pack` writes."""

_PLAIN = (list, tuple, dict, set, frozenset)
_FORWARDED = {'__call__': operator.call, '__getattr__': getattr, '__setattr__': setattr, '__bool__': bool}
_OPERATIONS = {**_FORWARDED, '__iter__': iter, '__next__': next, '__eq__': operator.eq, '__lt__': operator.lt}


class Gone(BaseException):
  """The program's process ended, or ended itself, before it answered. Not an Exception: tests may catch those."""


class ProgramError(Exception):
  """The program raised an exception that is none of Python's own."""


class Channel:
  """Whole JSON messages over a socket, given by its number."""

  def __init__(self, socket: int):
    self._socket = socket

  def send(self, message) -> None:
    data = json.dumps(message).encode()
    if len(data) > MAX_MESSAGE:
      raise ValueError(f'a value of {len(data)} bytes is over the limit of {MAX_MESSAGE}')
    data = memoryview(struct.pack('<I', len(data)) + data)
    while data:
      data = data[os.write(self._socket, data) :]

  def receive(self):
    """The next message. Raises Gone where there will be none, or none that can be read."""
    (size,) = struct.unpack('<I', self._read(4))
    if size > MAX_MESSAGE:
      raise Gone('the program sent a message that is too long')
    try:
      return json.loads(self._read(size))
    except (ValueError, RecursionError) as e:
      raise Gone('the program sent a message that is not JSON') from e

  def _read(self, size: int) -> bytes:
    parts = []
    while size:
      try:
        part = os.read(self._socket, min(size, 1 << 20))
      except OSError:
        part = b''
      if not part:
        raise Gone('the program ended early')
      parts.append(part)
      size -= len(part)
    return b''.join(parts)


def pack(value, reference):
  """`value` as JSON; what is not plain becomes ['h', reference(value)]."""
  if value is None or isinstance(value, bool):
    return value
  if isinstance(value, str):
    return str.__str__(value)
  if isinstance(value, int):
    # Hexadecimal: decimal spelling is quadratic and has a limit of digits.
    return int(value) if -(2**53) < value < 2**53 else ['i', hex(value)]
  if isinstance(value, float):
    return float(value)
  if isinstance(value, complex):
    return ['c', value.real, value.imag]
  if isinstance(value, fractions.Fraction):
    return ['f', pack(value.numerator, reference), pack(value.denominator, reference)]
  if isinstance(value, decimal.Decimal):
    return ['d', decimal.Decimal.__str__(value)]
  if isinstance(value, bytes):
    return ['b', value.hex()]
  if isinstance(value, dict):
    return ['dict', [[pack(k, reference), pack(v, reference)] for k, v in dict.items(value)]]
  for kind in _PLAIN:
    if isinstance(value, kind):
      return [kind.__name__, [pack(v, reference) for v in kind.__iter__(value)]]
  return ['h', reference(value)]


def unpack(packed, resolve):
  """The value that `pack` wrote; ['h', n] becomes resolve(n). On anything else, raises one of UNREADABLE."""
  if not isinstance(packed, list):
    return packed
  tag, *rest = packed
  if tag == 'i':
    return int(rest[0], 16)
  if tag == 'c':
    return complex(*rest)
  if tag == 'f':
    return fractions.Fraction(*(unpack(part, resolve) for part in rest))
  if tag == 'd':
    return decimal.Decimal(rest[0])
  if tag == 'b':
    return bytes.fromhex(rest[0])
  if tag == 'h':
    return resolve(rest[0])
  if tag == 'dict':
    return {unpack(k, resolve): unpack(v, resolve) for k, v in rest[0]}
  for kind in _PLAIN:
    if tag == kind.__name__:
      return kind(unpack(v, resolve) for v in rest[0])
  raise ValueError(f'unknown tag {tag!r}')


# The side of the tests.


class Handle:
  """An object of the program, used by the tests; lives in the program's process."""

  def __init__(self, program: Program, number: int):
    object.__setattr__(self, '_handle', (program, number))
    object.__setattr__(self, '_iterated', None)

  def __iter__(self):
    """What the program gives, asked for once: a second loop over the object sees the same values."""
    values = object.__getattribute__(self, '_iterated')
    if values is None:
      source = _operation('__iter__')(self)
      values = iter(lambda: next(source), object())
    mine, kept = itertools.tee(values)
    object.__setattr__(self, '_iterated', kept)
    return mine

  # With a plain value, never: a comparison of the program's own could say that all is well.

  def __eq__(self, other):
    return isinstance(other, Handle) and bool(_operation('__eq__')(self, other))

  def __lt__(self, other):
    return bool(_operation('__lt__')(self, other)) if isinstance(other, Handle) else NotImplemented

  __hash__ = object.__hash__


def _operation(name: str):
  def forward(self, *args, **kwargs):
    return object.__getattribute__(self, '_handle')[0].ask(name, [self, *args], kwargs)

  return forward


for _name in (*_FORWARDED, '__next__'):
  setattr(Handle, _name, _operation(_name))


class Program:
  """The program under test, as the tests see it."""

  def __init__(self, channel: Channel):
    self._channel = channel

  def load(self, source: str) -> dict:
    """Runs the program's top level; its names. Raises what it raised, or Gone."""
    names = self.ask('load', [source], {})
    if not isinstance(names, dict):
      raise Gone('the program sent a reply that cannot be read')
    # Checked on this side: the program's side can send what it likes, '__builtins__' as well.
    return {k: v for k, v in names.items() if isinstance(k, str) and not k.startswith('__')}

  def ask(self, operation: str, args: list, kwargs: dict):
    """The value of `operation` in the program's process. Raises what it raised there, or Gone."""
    packed = [pack(a, self._number) for a in args]
    self._channel.send([operation, packed, {k: pack(v, self._number) for k, v in kwargs.items()}])
    reply = self._channel.receive()
    try:
      if reply[0] == 'value':
        for arg, now in zip(args, reply[2], strict=False):
          _update(arg, now if now is None else unpack(now, self._handle))
        return unpack(reply[1], self._handle)
      kind, name, text = str(reply[0]), str(reply[1]), str(reply[2])
    except UNREADABLE as e:
      raise Gone('the program sent a reply that cannot be read') from e
    if kind != 'error':
      raise Gone(text)
    cause = getattr(builtins, name, None)
    if isinstance(cause, type) and issubclass(cause, Exception) and not issubclass(cause, UnicodeError):
      raise cause(text)
    raise ProgramError(f'{name}: {text}')

  def _handle(self, reference):
    return Handle(self, int(reference))

  def _number(self, value):
    if isinstance(value, Handle):
      return object.__getattribute__(value, '_handle')[1]
    if getattr(builtins, getattr(value, '__name__', ''), None) is value:
      return value.__name__
    raise TypeError(f'a test passes a {type(value).__name__} to the program, which cannot cross')


def _update(value, now) -> None:
  if now is None or type(now) is not type(value):
    return
  if isinstance(value, list):
    value[:] = now
  elif isinstance(value, dict | set):
    value.clear()
    value.update(now)


# The side of the program.


def serve(channel: Channel) -> None:
  """Loads the program and answers calls until the tests' side closes; runs the generated code."""
  objects: list = []
  owner = os.getpid()

  def reference(value):
    objects.append(value)
    return len(objects) - 1

  def resolve(number):
    return getattr(builtins, number) if isinstance(number, str) else objects[number]

  while True:
    try:
      operation, packed, named = channel.receive()
    except Gone:
      return
    try:
      args = [unpack(a, resolve) for a in packed]
      work = _load if operation == 'load' else _OPERATIONS[operation]
      value = work(*args, **{k: unpack(v, resolve) for k, v in named.items()})
      changed = [_changed(a, p, reference) for a, p in zip(args, packed, strict=True)]
      reply = ['value', pack(value, reference), changed]
    except Exception as e:
      reply = ['error', _builtin_name(e), _text(e)]
    except SystemExit as e:
      reply = ['exit', 'SystemExit', f'the program exited (code {_text(e) or 0}) before its tests had run']
    except BaseException as e:
      reply = ['exit', type(e).__name__, f'the program raised {type(e).__name__}']
    if os.getpid() != owner:  # A process that the program forked has run into this loop.
      os._exit(1)
    try:
      channel.send(reply)
    except (ValueError, RecursionError) as e:
      channel.send(['error', 'ValueError', _text(e)])


def _load(source: str) -> dict:
  # A module of a name, so that dataclasses and pickle find it; not '__main__': a main block is not part of the answer.
  module = types.ModuleType('solution')
  sys.modules['solution'] = module
  exec(compile(source, 'solution.py', 'exec', dont_inherit=True), module.__dict__)
  return module.__dict__ | {'__builtins__': None}  # The builtins are of no use to the tests, and long.


def _changed(value, packed, reference):
  if not isinstance(value, list | dict | set):
    return None
  now = pack(value, reference)
  return None if now == packed else now


def _builtin_name(error: Exception) -> str:
  return next(t.__name__ for t in type(error).__mro__ if t.__module__ == 'builtins')


def _text(error: BaseException) -> str:
  try:
    return str(error)[:300]
  except Exception:
    return ''
