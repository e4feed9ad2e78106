"""From text to ids: the one renderer for sampling, training and evaluation.

A row is `BOS few-shot-examples prompt solution EOS`. Each part is tokenised by itself, so that the ids of a prompt are
the same whether a solution follows it or not. Exactly one BOS a row; EOS is a trained target; only the solution and EOS
carry loss.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence

from sweb_jax.models.tokenizer import Tokenizer
from sweb_jax.records import Example


@dataclasses.dataclass(frozen=True)
class Renderer:
  """Builds ids with one tokenizer and, for base models, worked examples before every prompt."""

  tokenizer: Tokenizer
  few_shot: str = ''

  @functools.cached_property
  def prefix(self) -> tuple[int, ...]:
    """Ids that all prompts share, BOS first; empty without worked examples."""
    return (self.tokenizer.bos_id, *self.tokenizer.encode(self.few_shot)) if self.few_shot else ()

  def prompt(self, text: str) -> tuple[int, ...]:
    """Ids of a prompt as they follow the prefix; with BOS where there is no prefix."""
    ids = tuple(self.tokenizer.encode(text))
    return ids if self.few_shot else (self.tokenizer.bos_id, *ids)

  def example(self, example: Example) -> tuple[tuple[int, ...], int]:
    """Ids of a zero-shot training row, and how many of them (the prompt) carry no loss."""
    prompt = (self.tokenizer.bos_id, *self.tokenizer.encode(example.prompt))
    return (*prompt, *self.tokenizer.encode(example.solution), self.tokenizer.eos_id), len(prompt)

  def text(self, tokens: Sequence[int], stop_strings: Sequence[str] = ()) -> str:
    """The text of a completion, without its stop token, up to the first stop string."""
    text = self.tokenizer.decode([t for t in tokens if t != self.tokenizer.eos_id])
    ends = [i for i in (text.find(s) for s in stop_strings) if i >= 0]
    return text[: min(ends)] if ends else text
