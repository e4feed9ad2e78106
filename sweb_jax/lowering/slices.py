"""The devices of TPU slices that are not at hand, for which the TPU's own compiler (libtpu) compiles on any machine."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from typing import IO, Any

from sweb_jax.budget import machines
from sweb_jax.budget.machines import Chip


class CompilerError(ValueError):
  """The TPU's compiler is not there, or is of another version than JAX asks for; the message says what to do."""


@contextlib.contextmanager
def standard_error() -> Iterator[IO[bytes]]:
  """A file that takes what XLA says meanwhile: it speaks to the process's standard error, not to Python's."""
  with tempfile.TemporaryFile() as said:
    own = os.dup(2)
    os.dup2(said.fileno(), 2)
    try:
      yield said
    finally:
      os.dup2(own, 2)
      os.close(own)


def compiler() -> str:
  """The version of libtpu. Raises CompilerError where it is not the one that goes with the installed JAX."""
  (wanted,) = (m[1] for r in importlib.metadata.requires('jax') if (m := re.match(r'libtpu\s*==\s*([\d.]*\d)', r)))
  install = f"`pip install -c constraints/py3{sys.version_info.minor}.txt -e '.[tpu]'` installs it"
  try:
    found = importlib.metadata.version('libtpu')
  except importlib.metadata.PackageNotFoundError:
    raise CompilerError(
      f"the TPU's compiler, libtpu {wanted}, is not installed; {install}. Without it, `python -m sweb_jax.lowering "
      '--devices=N --hosts=N --hbm_gb=N` compiles for simulated devices of a CPU'
    ) from None
  if not f'{found}.'.startswith(f'{wanted}.'):
    raise CompilerError(f'libtpu {found} is installed, and this JAX goes with {wanted}; {install}')
  return found


def parse(name: str) -> tuple[str, int, int]:
  """Generation, chips of a slice, and slices of a name as 'v5e-64', or '2xv5e-16': two that a network joins.

  Raises SliceError that names the flag.
  """
  several, one = re.fullmatch(r'(?:([1-9]\d?)x)?(.*)', name).groups()
  try:
    return *machines.parse_slice(one), int(several or 1)
  except machines.SliceError as e:
    raise machines.SliceError(f'--slice={name}: {e}; several of them 2xv5e-16, for example') from e


def chip(name: str) -> Chip:
  return machines.CHIPS[parse(name)[0]]


def devices(name: str) -> list[Any]:
  """The chips of the slice, or of several, which know their places and hosts, and hold nothing.

  Raises:
    SliceError: there is no such slice.
    CompilerError: the compiler is not there, or does not know the slice.
  """
  kind, chips, count = parse(name)
  version = compiler()
  os.environ.setdefault('TPU_SKIP_MDS_QUERY', '1')  # There is no machine that could be asked what it is.
  os.environ.setdefault('ALLOW_MULTIPLE_LIBTPU_LOAD', '1')  # There is no chip that two processes could want.
  import jax
  from jax.experimental import topologies

  shape = machines.CHIPS[kind].topologies[chips]
  several = {'num_slices': count} if count > 1 else {}
  try:
    with standard_error():  # libtpu tells of all that it did not find here.
      return topologies.get_topology_desc(platform='tpu', topology_name=f'{kind}:{shape}', **several).devices
  except jax.errors.JaxRuntimeError as e:
    raise CompilerError(f'--slice={name}: libtpu {version} does not compile for it: {str(e).splitlines()[0]}') from e
