"""Which request runs where: slots in blocks, and in each block places for the prompts its rows share. No JAX.

A block of b slots is given a problem, and its slots take the problem's samples one after the other. When they run out,
the block's free slots go on with another problem in another place, while the first one's last rows still run; so no
slot waits for a straggler. At the end of a run, when no problem is left to begin, samples that wait in one block are
given to idle slots of others.
"""

from __future__ import annotations

import bisect
import collections
import dataclasses
from collections.abc import Iterable

from sweb_jax.sampling.request import Request

# Sharing a prompt pays where there is something to share: its keys are then read once for several rows, but each row
# also passes over those of the block's other places.
_SHARED_PROMPT = 32
_SHARED_SAMPLES = 4


@dataclasses.dataclass(eq=False)
class _Group:
  """Requests of one prompt that a block works off."""

  prompt: tuple[int, ...]
  waiting: collections.deque[Request]
  live: int = 0


@dataclasses.dataclass(eq=False)
class Row:
  """A request in its slot."""

  request: Request
  place: int
  """Within its block."""
  limit: int
  """Tokens it may draw."""


class Slots:
  """Gives requests to slots.

  Args:
    requests: what to draw; equal prompts become one group, wherever they stand.
    slots: how many rows run at a time; a multiple of `block`.
    block: slots that share places.
    places: prompts a block can hold.
    limit: tokens of a request that names no limit.
    at_least: free slots to wait for before new prompts are begun, unless all are free: prompts are computed several at
      a time.
  """

  def __init__(self, requests: Iterable[Request], *, slots: int, block: int, places: int, limit: int, at_least: int):
    groups: dict[tuple[int, ...], _Group] = {}
    for r in requests:
      groups.setdefault(r.prompt, _Group(r.prompt, collections.deque())).waiting.append(r)
    # The longest expected first, so that a run does not end with one long row: by limit, then by prompt, as longer
    # problems have longer solutions. Neighbours are then of one length, too, and padded little.
    order = sorted(groups.values(), key=lambda g: (g.waiting[0].limit or limit, len(g.prompt)), reverse=True)
    self._queue = collections.deque(order)
    self._block, self._limit, self._at_least = block, limit, at_least
    self._places: list[list[_Group | None]] = [[None] * places for _ in range(slots // block)]
    self._free = [list(range(b * block, (b + 1) * block)) for b in range(slots // block)]
    """By block, the lowest first."""
    self.rows: list[Row | None] = [None] * slots
    self.live = 0
    """Slots in use."""
    self.filled: list[int] = []
    """Slots that the last call of `assign` has filled."""

  def assign(self) -> list[tuple[tuple[int, ...], int]]:
    """Fills free slots. Returns the prompts to compute first, each with its place, counted over all blocks."""
    self.filled = []
    for block, free in enumerate(self._free):
      if free:
        self._fill(block)
    begun = []
    if len(self.rows) - self.live < self._at_least and self.live:
      return begun
    while (block := self._roomiest()) is not None and (group := self._next(len(self._free[block]))) is not None:
      place = self._places[block].index(None)
      self._places[block][place] = group
      begun.append((group.prompt, block * len(self._places[block]) + place))
      self._fill(block)
    return begun

  def release(self, slot: int) -> None:
    """Frees the slot of a finished row."""
    row = self.rows[slot]
    places = self._places[slot // self._block]
    places[row.place].live -= 1
    places[row.place] = _unless_done(places[row.place])
    self.rows[slot] = None
    self.live -= 1
    bisect.insort(self._free[slot // self._block], slot)

  def _fill(self, block: int) -> None:
    """Free slots take samples of the problems their block holds, the earliest begun first."""
    free = self._free[block]
    for place, group in enumerate(self._places[block]):
      while group is not None and group.waiting and free:
        r, slot = group.waiting.popleft(), free.pop(0)
        self.rows[slot] = Row(r, place, r.limit or self._limit)
        self.filled.append(slot)
        self.live += 1
        group.live += 1

  def _roomiest(self) -> int | None:
    """The block with a free place and the most free slots."""
    blocks = [b for b, free in enumerate(self._free) if free and None in self._places[b]]
    return max(blocks, key=lambda b: len(self._free[b]), default=None)

  def _next(self, room: int) -> _Group | None:
    """The next group to begin: one from the queue or, when it is empty, part of one that waits elsewhere."""
    if self._queue:
      return self._queue.popleft()
    held = [(len(g.waiting), b, p) for b, places in enumerate(self._places) for p, g in enumerate(places) if g]
    waiting, block, place = max(held, default=(0, 0, 0))
    if not waiting:
      return None
    group = self._places[block][place]
    moved = collections.deque(group.waiting.popleft() for _ in range(min(waiting, max(room, waiting // 2))))
    self._places[block][place] = _unless_done(group)
    return _Group(group.prompt, moved)


def share(
  prompts: int, samples: int, slots: int, *, ways: int, prompt_length: int, tokens: int = 0
) -> tuple[int, int, int]:
  """Slots a block, places a block, and how many prompts to compute in one call.

  Args:
    prompts: different ones.
    samples: of each, on average.
    slots: rows decoded together.
    ways: parts of the devices, which the slots are split over.
    prompt_length: the longest prompt.
    tokens: of prompts in one call, on each part of the devices, at most; 0: no limit.
  """
  block = 1
  if samples >= _SHARED_SAMPLES and prompt_length >= _SHARED_PROMPT:
    while 2 * block <= samples and slots // ways % (2 * block) == 0:
      block *= 2
  # About log(b) earlier problems of a block still have a row running when its next one begins; a run that is over
  # before then needs fewer places.
  places = min(block.bit_length(), -(-prompts // (slots // block)))
  # Computing as many prompts as there are slots at once would leave slots idle until that many are free.
  at_once = slots // 8 // samples // ways * ways
  if tokens:
    at_once = min(at_once, tokens // prompt_length * ways)
  return block, places, max(ways, at_once)


def _unless_done(group: _Group) -> _Group | None:
  return group if group.live or group.waiting else None
