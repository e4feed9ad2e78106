"""Samples from a server that speaks OpenAI's protocol: vLLM, llama.cpp, a gateway, a vendor.

The client library does the retries: with back-off, and as long as a server that is asked too often wants one to wait.
Every reply is handed on as it comes. Once something is wrong nothing more is asked, what is on its way is waited for
and handed on, and only then the error is raised: a reply was paid for.
"""

from __future__ import annotations

import collections
import concurrent.futures
import dataclasses
import functools
import json
import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from sweb_jax.records import UNKNOWN, Sample
from sweb_jax.sampling.rows import share_out

if TYPE_CHECKING:
  import openai

_TURN = 1.0
"""Seconds after which a wait for replies looks whether the run was asked to stop."""
_MOST_READ = 10**9
"""Tokens of a prompt, with what a server puts before it: a larger number is no count."""


class EndpointError(RuntimeError):
  """A server that does not give what is asked; the message names it and what to do."""


class Ask(NamedTuple):
  """One request: some samples of one problem."""

  problem_id: str
  prompt: str
  indices: tuple[int, ...]
  seed: int | None


class Reply(NamedTuple):
  """What came of one."""

  samples: list[Sample]
  prompt_tokens: int
  fault: str = ''
  """Why the number of tokens is not known; the samples are then charged as if they were as long as they may be."""


class Purse:
  """What a model may still cost: requests that are on their way count as if their samples were as long as they may be.

  Args:
    limit: dollars; 0: none.
  """

  def __init__(self, limit: float):
    self.limit = limit
    self.spent: float | None = None
    """Dollars; None until it is known what was spent before."""
    self._prices = 0.0, 0.0
    self._promised = 0.0
    self._lock = threading.Lock()

  def begin(self, prices: tuple[float, float], spent: Callable[[], float]) -> None:
    """Tells, once, the dollars a million tokens read and drawn, and what was spent before this process."""
    with self._lock:
      if self.spent is None:
        self._prices, self.spent = prices, spent()

  def cost(self, read: int, drawn: int) -> float:
    return (self._prices[0] * read + self._prices[1] * drawn) * 1e-6

  def promise(self, most: float) -> bool | None:
    """Whether a request that may cost so much can be paid; None: perhaps, when those on their way are back."""
    with self._lock:
      if not self.limit or self.spent + self._promised + most <= self.limit:
        self._promised += most
        return True
      return None if self._promised else False

  def settle(self, most: float, cost: float) -> None:
    """A promised request is back, and cost so much."""
    with self._lock:
      self._promised -= most
      self.spent += cost


@dataclasses.dataclass(frozen=True)
class Endpoint:
  """A server's model, and how it is asked."""

  name: str
  """In `config.models`, for messages."""
  url: str
  model: str
  key: str = dataclasses.field(repr=False)
  """Sent to the server; kept nowhere else. '': a server of one's own asks for none."""
  key_from: str
  """The variable of the environment that the key is from."""
  chat: bool
  """The prompt is a user's turn; else the model continues it."""
  max_new_tokens: int
  temperature: float
  top_p: float
  top_k: int
  stop: tuple[str, ...]
  concurrency: int = 8
  retries: int = 8
  timeout: float = 600.0
  encode: Callable[[str, str], Sequence[int]] | None = None
  """Counts the tokens of a text, in place of what the server says."""

  @functools.cached_property
  def _client(self) -> openai.OpenAI:
    import openai

    for library in ('httpx', 'httpx2'):  # They tell of every request.
      logging.getLogger(library).setLevel(logging.WARNING)
    # The library wants a key, and finds none by itself.
    key = self.key or 'none'
    return openai.OpenAI(base_url=self.url, api_key=key, max_retries=self.retries, timeout=self.timeout)

  def draw(self, asks: Iterable[Ask], purse: Purse, stopped: Callable[[], bool]) -> Iterator[Reply]:
    """Yields each reply as it comes.

    Args:
      asks: what to ask; where a reply has fewer samples than asked, the others are asked again.
      purse: pays.
      stopped: whether nothing more is to be asked; what is on its way is still waited for.

    Raises:
      EndpointError: the server does not answer as it should, or the purse is empty. What was drawn was yielded before.
    """
    waiting = collections.deque(asks)
    on_its_way: dict[concurrent.futures.Future, tuple[Ask, float]] = {}
    error: EndpointError | None = None
    with concurrent.futures.ThreadPoolExecutor(self.concurrency) as pool:
      while on_its_way or (waiting and not error and not stopped()):
        paid: bool | None = True
        while paid and waiting and not error and not stopped() and len(on_its_way) < self.concurrency:
          # A token has at least a byte, and the marks of a chat are fewer than a hundred.
          most = purse.cost(len(waiting[0].prompt.encode()) + 100, self.max_new_tokens * len(waiting[0].indices))
          if paid := purse.promise(most):
            ask = waiting.popleft()
            on_its_way[pool.submit(self._ask, ask)] = ask, most
        if paid is False:
          error = EndpointError(self._empty(purse, most))
        if not on_its_way:
          time.sleep(_TURN if paid is None else 0)  # Another job's requests are on their way.
          continue
        for future in concurrent.futures.wait(on_its_way, _TURN, concurrent.futures.FIRST_COMPLETED).done:
          ask, most = on_its_way.pop(future)
          try:
            reply = future.result()
          except Exception as e:  # Whatever it is: what else is on its way was paid for.
            purse.settle(most, most)  # It may have been billed.
            known = isinstance(e, EndpointError)
            error = error or (e if known else EndpointError(f'{self._where}: an answer of another form: {e!r}'))
            continue
          purse.settle(most, purse.cost(reply.prompt_tokens, sum(len(s.tokens) for s in reply.samples)))
          yield reply
          if reply.fault:
            error = error or EndpointError(reply.fault)
          elif rest := ask.indices[len(reply.samples) :]:
            waiting.append(ask._replace(indices=rest))
    if error:
      raise error

  def _ask(self, ask: Ask) -> Reply:
    import openai

    said: dict[str, Any] = {
      'model': self.model, 'n': len(ask.indices), 'max_tokens': self.max_new_tokens, 'temperature': self.temperature,
      'top_p': self.top_p,
    }  # fmt: skip
    said |= {'seed': ask.seed} if ask.seed is not None else {}
    said |= {'stop': list(self.stop)} if self.stop else {}
    said |= {'extra_body': {'top_k': self.top_k}} if self.top_k else {}
    try:
      if self.chat:
        messages = [{'role': 'user', 'content': ask.prompt}]
        reply = self._client.chat.completions.create(messages=messages, **said)
      else:
        reply = self._client.completions.create(prompt=ask.prompt, **said)
    except openai.OpenAIError as e:
      raise EndpointError(self._message(e)) from e
    except json.JSONDecodeError as e:
      raise EndpointError(f'{self._where}: answers with what is cut or no JSON: {e}; ask it again later') from e
    return self._read(ask, reply)

  def _read(self, ask: Ask, reply: Any) -> Reply:
    """The samples of a reply that came whole."""
    choices = getattr(reply, 'choices', None)
    if not choices:
      begun = ' '.join(str(reply).split())[:60]
      raise EndpointError(f'{self._where}: answers with {begun!r} and not with completions; such a URL ends in /v1')
    choices = choices[: len(ask.indices)]
    # A message may be empty, as where a model refuses; a choice without a text is none.
    texts = [(c.message.content or '') if self.chat else '' + c.text for c in choices]
    ends = ['length' if c.finish_reason == 'length' else 'stop' for c in choices]
    read, drawn = (getattr(reply.usage, name, None) for name in ('prompt_tokens', 'completion_tokens'))
    fault = ''
    if self.encode:
      read = len(self.encode(ask.prompt, 'length'))
      counts = [len(self.encode(text, end)) for text, end in zip(texts, ends, strict=True)]
    elif self._fits(read, drawn, texts, ends, len(ask.indices)):
      counts = share_out(drawn, texts)
    else:
      counts = [self.max_new_tokens] * len(texts)
      fault = (
        f'{self._where}: says that {drawn!r:.40} tokens were drawn and {read!r:.40} read for {len(texts)} samples of '
        f'problem {ask.problem_id!r} of at most {self.max_new_tokens}; they are kept, charged as if they were as long; '
        f'name a tokenizer in config.endpoints.{self.name}.tokenizer and run the same command again'
      )
    samples = [
      Sample(ask.problem_id, i, self._text(text), (UNKNOWN,) * n, end, 0.0)
      for i, text, n, end in zip(ask.indices, texts, counts, ends, strict=False)
    ]
    return Reply(samples, len(ask.prompt.encode()) if fault else read, fault)

  def _fits(self, read: Any, drawn: Any, texts: Sequence[str], ends: Sequence[str], asked: int) -> bool:
    """Whether the numbers of tokens can be those of a prompt and these texts, of as many as were asked."""
    if not (type(read) is int and type(drawn) is int and 0 < read < _MOST_READ):
      return False
    # Some servers count only one of several samples. One alone may be cut by the end of the context.
    least = self.max_new_tokens * ends.count('length') if len(texts) > 1 else bool(texts[0])
    return least <= drawn <= self.max_new_tokens * asked

  def _text(self, text: str) -> str:
    """Up to the first stop string; servers differ in whether they cut it off."""
    ends = [at for at in (text.find(s) for s in self.stop) if at >= 0]
    return text[: min(ends)] if ends else text

  @property
  def _where(self) -> str:
    return f'config.models.{self.name}: {self.url}'

  def _empty(self, purse: Purse, most: float) -> str:
    return (
      f'config.endpoints.{self.name}.limit={purse.limit:g} dollars: {purse.spent:.6g} are spent, and a request may '
      f'cost {most:.3g}; what was drawn is kept; raise the limit to go on'
    )

  def _message(self, error: openai.OpenAIError) -> str:
    import openai

    said = f'{self._where}: {" ".join(str(error).split())[:300]}'
    if self.key:  # It may stand in what a server says about it.
      said = said.replace(self.key, '...')
    match error:
      case openai.AuthenticationError() | openai.PermissionDeniedError():
        return f'{said}; the key is missing or refused: set {self.key_from} in the environment'
      case openai.RateLimitError():
        return f'{said}; it wants fewer requests or more money: lower config.endpoints.{self.name}.concurrency, or wait'
      case openai.NotFoundError():
        return f'{said}; it has no model {self.model!r}, or the URL is another: such a URL ends in /v1'
      case openai.BadRequestError() | openai.UnprocessableEntityError():
        return (
          f'{said}; where it knows no seeds, several samples a request or top_k, set '
          f'config.endpoints.{self.name}.seeds=False, config.endpoints.{self.name}.n=1 or config.sampling.top_k=0'
        )
      case openai.APITimeoutError():
        return f'{said}; nothing came in {self.timeout:g} s: raise config.endpoints.{self.name}.timeout, or wait'
      case openai.APIConnectionError():
        return f'{said} ({error.__cause__}); is it running, and is the URL right?'
      case _:
        return f'{said}; it was asked {self.retries + 1} times: wait, and run the same command again'
