"""Lengths in tokens of prompts and of solutions by people, which the workdir keeps for the next start of its study."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pydantic
from absl import logging
from etils import epath

from sweb_jax import layout
from sweb_jax.runtime import files, typed
from sweb_jax.study.step import digest
from sweb_jax.tasks.rendering import Renderer

_FORMAT = 1
_AT_ONCE = 1024
"""Texts that are encoded together."""

Known = dict[str, list[pydantic.NonNegativeInt]]
"""Name of some texts and who reads them -> tokens of each."""


class Lengths:
  """The lengths that are asked for while a study is checked.

  Args:
    root: the workdir, which may be there or not; nothing is written there before `keep`.
  """

  def __init__(self, root: epath.Path):
    self._path = root / layout.LENGTHS
    self._kept, self._asked = self._read(), {}

  def prompts(self, renderer: Renderer, texts: Sequence[str]) -> list[int]:
    """Tokens of each prompt."""
    return self._of('prompts', renderer, renderer.prompts, texts)

  def solutions(self, renderer: Renderer, texts: Sequence[str]) -> list[int]:
    """Tokens of each solution, the one that ends it included."""
    return self._of('solutions', renderer, renderer.solutions, texts)

  def keep(self) -> None:
    """Writes what was asked for, unless it is what the workdir has."""
    if self._asked and self._asked != self._kept:
      files.write_json(self._path, self._asked, indent=None)

  def _of(
    self,
    what: str,
    renderer: Renderer,
    encode: Callable[[Sequence[str]], list[tuple[int, ...]]],
    texts: Sequence[str],
  ) -> list[int]:
    name = digest([_FORMAT, what, renderer.tokenizer.fingerprint, renderer.chat, renderer.few_shot, list(texts)])
    found = self._kept.get(name, ())
    if len(found) != len(texts):
      batches = (texts[i : i + _AT_ONCE] for i in range(0, len(texts), _AT_ONCE))
      found = [len(ids) for batch in batches for ids in encode(batch)]
    self._asked[name] = found
    return found

  def _read(self) -> Known:
    if not self._path.exists():
      return {}
    try:
      return typed.from_json(Known, self._path.read_bytes())
    except ValueError as e:
      logging.warning('%s: damaged, and made again: %s', self._path, e)
      return {}
