"""What of a study is in a workdir already: what is reused, what is new, and what would have to be made again."""

from __future__ import annotations

import collections
import os
import shutil
from collections.abc import Mapping, Sequence

from etils import epath
from rich.console import Console
from rich.text import Text

from sweb_jax import layout
from sweb_jax.runtime import files, manifest
from sweb_jax.runtime.manifest import WorkdirError
from sweb_jax.study import state as state_lib
from sweb_jax.study.estimate import minutes
from sweb_jax.study.state import State
from sweb_jax.study.step import Step
from sweb_jax.study.work import Assumed

_SHOWN = 8
"""Steps, or fields, that a list names; the others are counted."""


def states(root: epath.Path, steps: Sequence[Step]) -> dict[str, State]:
  """Folder -> how it stands to the step; without steps that are made again unasked."""
  return {step.folder: state_lib.state(root, step) for step in steps if not step.derived}


def show(console: Console, found: Mapping[str, State]) -> None:
  """A line: how many steps are reused, grown, new, changed."""
  counts = collections.Counter(found.values())
  if set(counts) != {State.NEW}:
    told = ', '.join(f'{counts[state]} {state}' for state in State if counts[state])
    console.print(Text(f'Steps in the workdir: {told}.'))


def tell(console: Console, root: epath.Path, steps: Sequence[Step], of: Assumed) -> None:
  """For a plan: what a workdir has of the steps, what is left with its cost, and what a run would refuse to do."""
  found = states(root, steps)
  if set(found.values()) <= {State.NEW}:
    return
  show(console, found)
  left = [s for s in steps if found.get(s.folder, State.DONE) is not State.DONE]
  most = 'at most ' if {State.BEGUN, State.SHORT} & set(found.values()) else ''  # Of these a part is done.
  cost = f'{len(left)} of {len(found)} steps, {most}{_cost(left, of)}' if left else f'none of {len(found)} steps'
  console.print(Text(f'Left to do: {cost}.'))
  try:
    refuse(root, steps, found, of, redo=False)
  except WorkdirError as e:
    console.print(Text(f'A run would stop: {e}'))


def refuse(root: epath.Path, steps: Sequence[Step], found: Mapping[str, State], of: Assumed, redo: bool) -> None:
  """Raises WorkdirError where something that is there would be made again and `redo` does not ask for it.

  Files of unknown origin are never touched.
  """
  if foreign := [name for name, state in found.items() if state is State.FOREIGN]:
    if (path := root / foreign[0] / layout.MANIFEST).exists():
      raise WorkdirError(f'{path} is damaged; `python -m sweb_jax.study check {root} --repair` makes it again')
    raise WorkdirError(
      f'{root / foreign[0]} holds files and no {layout.MANIFEST}: they were put there by hand, or by a version '
      'that kept no manifest; move them away, or name another --workdir'
    )
  changed = [s for s in steps if found.get(s.folder) is State.CHANGED]
  if not changed or redo:
    return
  raise WorkdirError(
    f'--workdir={root}: {len(changed)} steps were made for another config, and would be made again for '
    f'{_cost(changed, of)}:\n{_causes(root, changed)}\n'
    f'Set the fields back{_except_unknown(root, changed)}, name another --workdir (--from_workdir={root} takes over '
    f'what fits), or give --redo: what is there is then moved to {layout.SUPERSEDED}/'
  )


def supersede(root: epath.Path, steps: Sequence[Step], found: Mapping[str, State]) -> None:
  """Moves the folders of changed steps out of the way."""
  for step in steps:
    if found.get(step.folder) is State.CHANGED:
      state_lib.supersede(root, step.folder)


def check_workdir(old: epath.Path) -> None:
  """Raises WorkdirError where nothing can be taken over from `old`."""
  if not (old / layout.CONFIG).exists():
    raise WorkdirError(f'--from_workdir={old} holds no {layout.CONFIG}: not a workdir')


def take_over(root: epath.Path, old: epath.Path, steps: Sequence[Step]) -> tuple[int, str]:
  """Takes over every finished step of equal version that `root` has not; returns how many, and how.

  Files of the same file system are linked (they are never changed under their name), others copied.
  """
  count, how = 0, 'by reference (hard links)'
  for step in steps:
    there = manifest.read(old, step.folder)
    if step.derived or there is None or not there.done or there.version != step.version:
      continue
    if state_lib.state(root, step) is not State.NEW:
      continue
    # First beside the steps: a run that is killed meanwhile leaves no half of a step.
    aside = root / layout.ARRIVING if not files.on_object_store(root) else root
    if aside != root:
      files.remove(aside)
    last = old / step.folder / layout.MANIFEST
    for path in (*(p for p in manifest.below(old / step.folder) if p != last), last):
      if not _link(path, aside / path.relative_to(old)):
        how = 'by copy'
    if aside != root:
      (root / step.folder).parent.mkdir(parents=True, exist_ok=True)
      (aside / step.folder).rename(root / step.folder)
      aside.rmtree()
    count += 1
  return count, how


def _link(source: epath.Path, target: epath.Path) -> bool:
  """Gives a file a second name; copies it and returns False where that cannot be."""
  target.parent.mkdir(parents=True, exist_ok=True)
  if not files.on_object_store(source) and not files.on_object_store(target):
    try:
      os.link(source, target)
      return True
    except OSError:
      shutil.copyfile(source, target)
      return False
  source.copy(target)
  return False


def _cost(steps: Sequence[Step], of: Assumed) -> str:
  works = [work for step in steps for work in step.estimate(of)]
  return f'{sum(w.flops for w in works):.2e} FLOPs, {minutes(works):.1f} minutes by the plan'


def _causes(root: epath.Path, changed: Sequence[Step]) -> str:
  """What differs, field by field, with the steps it is of; steps that only read others that differ are counted."""
  of: dict[str, list[str]] = {}
  followers = 0
  for step in changed:
    differ = state_lib.differences(step, manifest.read(root, step.folder))
    followers += not differ
    for field, (before, now) in differ.items():
      values = ('not known' if x is state_lib.NOT_KNOWN else repr(x) for x in (before, now))
      of.setdefault('{}: {} there, {} here'.format(field, *values), []).append(step.folder)
  lines = [f'  {line} ({_some(names)})' for line, names in list(of.items())[:_SHOWN]]
  if len(of) > _SHOWN:
    lines.append(f'  and {len(of) - _SHOWN} more fields')
  if followers:
    lines.append(f'  {followers} more only read what is changed')
  return '\n'.join(lines)


def _except_unknown(root: epath.Path, changed: Sequence[Step]) -> str:
  """What cannot be set back: a field that another version of the package has, and this or that one has not."""
  differ = (state_lib.differences(step, manifest.read(root, step.folder)) for step in changed)
  unknown = any(state_lib.NOT_KNOWN in pair for fields in differ for pair in fields.values())
  return ' (but those not known: another version of the package made this workdir, and can go on with it)' * unknown


def _some(names: Sequence[str]) -> str:
  more = f' and {len(names) - 2} more' if len(names) > 2 else ''
  return f'{", ".join(names[:2])}{more}'
