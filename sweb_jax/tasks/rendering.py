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
    return self._begin(self.few_shot) if self.few_shot else ()

  @functools.cached_property
  def stop_ids(self) -> tuple[int, ...]:
    """Ids that end a completion; the first is the one that training teaches."""
    eos = self.tokenizer.eos_id
    return (self.tokenizer.turn_ids()[1], eos) if self.chat else (eos,)

  def prompt(self, text: str) -> tuple[int, ...]:
    """Ids of a prompt as they follow the prefix; with BOS where there is no prefix."""
    text = self._ended(text)
    begun = tuple(self.tokenizer.encode(text)) if self.few_shot else self._begin(text)
    return begun + self._answer

  def example(self, example: Example) -> tuple[tuple[int, ...], int]:
    """Ids of a zero-shot training row, and how many of them (the prompt) carry no loss."""
    prompt = self._begin(self._ended(example.prompt)) + self._answer
    return (*prompt, *self.tokenizer.encode(example.solution), self.stop_ids[0]), len(prompt)

  def text(self, tokens: Sequence[int], stop_strings: Sequence[str] = ()) -> str:
    """The text of a completion, without its stop token, up to the first stop string."""
    text = self.tokenizer.decode([t for t in tokens if t not in self.stop_ids])
    ends = [i for i in (text.find(s) for s in stop_strings) if i >= 0]
    return text[: min(ends)] if ends else text

  def _ended(self, text: str) -> str:
    """`text` as it stands at the end of the user's turn, trimmed as the template has it."""
    return text.rstrip() if self.chat else text

  def _begin(self, text: str) -> tuple[int, ...]:
    """A row up to the end of `text`, BOS first."""
    if not self.chat:
      return (self.tokenizer.bos_id, *self.tokenizer.encode(text))
    # Together, as the template has it: pieces may span the two.
    return (self.tokenizer.bos_id, self.tokenizer.turn_ids()[0], *self.tokenizer.encode(f'user\n{text.lstrip()}'))

  @functools.cached_property
  def _answer(self) -> tuple[int, ...]:
    """What stands between a prompt and its solution."""
    if not self.chat:
      return ()
    start, end = self.tokenizer.turn_ids()
    return (end, *self.tokenizer.encode('\n'), start, *self.tokenizer.encode('model\n'))
