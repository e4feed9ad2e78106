"""From text to ids: the one renderer for sampling, training and evaluation.

A row is `BOS few-shot-examples prompt solution EOS`. Each part is tokenised by itself, so that the ids of a prompt are
the same whether a solution follows it or not. Exactly one BOS a row; EOS is a trained target; only the solution and EOS
carry loss.

For an instruction-tuned Gemma (`chat`) the row is `BOS <start_of_turn> user NEWLINE few-shot-examples prompt
<end_of_turn> NEWLINE <start_of_turn> model NEWLINE solution <end_of_turn>`: the prompt with its examples is the user's
turn, and the end of the model's turn takes the place of EOS. Gemma 4's marks are `<|turn>` and `<turn|>`. White space
around the user's turn is trimmed, so that the ids of a zero-shot prompt are those of the chat template that Gemma is
published with. The solution stands as it was written: a function's body begins with spaces that count.
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
  chat: bool = False
  """Prompts and solutions are turns. Raises TokenizerError at first use where the vocabulary has no marks of turns."""

  @functools.cached_property
  def prefix(self) -> tuple[int, ...]:
    """Ids that all prompts share, BOS first; empty without worked examples."""
    return self._begun([self.few_shot])[0] if self.few_shot else ()

  @functools.cached_property
  def stop_ids(self) -> tuple[int, ...]:
    """Ids that end a completion; the first is the one that training teaches."""
    eos = self.tokenizer.eos_id
    return (self.tokenizer.turn_ids()[1], eos) if self.chat else (eos,)

  def prompt(self, text: str) -> tuple[int, ...]:
    """Ids of a prompt as they follow the prefix; with BOS where there is no prefix."""
    return self.prompts([text])[0]

  def prompts(self, texts: Sequence[str]) -> list[tuple[int, ...]]:
    """`prompt` of each text; many are encoded together, which is faster."""
    return self._prompts(texts, first=not self.few_shot)

  def solutions(self, texts: Sequence[str]) -> list[tuple[int, ...]]:
    """Ids that a zero-shot training row has after its prompt: all of them carry loss."""
    return [(*ids, self.stop_ids[0]) for ids in self.tokenizer.encode_all(texts)]

  def example(self, example: Example) -> tuple[tuple[int, ...], int]:
    """Ids of a zero-shot training row, and how many of them (the prompt) carry no loss."""
    (prompt,), (solution,) = self._prompts([example.prompt], first=True), self.solutions([example.solution])
    return prompt + solution, len(prompt)

  def text(self, tokens: Sequence[int], stop_strings: Sequence[str] = ()) -> str:
    """The text of a completion, without its stop token, up to the first stop string."""
    text = self.tokenizer.decode([t for t in tokens if t not in self.stop_ids])
    ends = [i for i in (text.find(s) for s in stop_strings) if i >= 0]
    return text[: min(ends)] if ends else text

  def _prompts(self, texts: Sequence[str], *, first: bool) -> list[tuple[int, ...]]:
    """Ids of prompts that come first in their rows, or after the prefix."""
    ended = [t.rstrip() for t in texts] if self.chat else texts  # The template trims the end of the user's turn.
    begun = self._begun(ended) if first else map(tuple, self.tokenizer.encode_all(ended))
    return [ids + self._answer for ids in begun]

  def _begun(self, texts: Sequence[str]) -> list[tuple[int, ...]]:
    """Rows up to the end of each text, BOS first."""
    if not self.chat:
      return [(self.tokenizer.bos_id, *ids) for ids in self.tokenizer.encode_all(texts)]
    # Together, as the template has it: pieces may span the two.
    begin = self.tokenizer.bos_id, self.tokenizer.turn_ids()[0]
    return [(*begin, *ids) for ids in self.tokenizer.encode_all([f'user\n{t.lstrip()}' for t in texts])]

  @functools.cached_property
  def _answer(self) -> tuple[int, ...]:
    """What stands between a prompt and its solution."""
    if not self.chat:
      return ()
    start, end = self.tokenizer.turn_ids()
    return (end, *self.tokenizer.encode('\n'), start, *self.tokenizer.encode('model\n'))
