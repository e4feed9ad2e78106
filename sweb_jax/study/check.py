"""Holds the files of a workdir against its manifests, and clears the way for what has to be mended."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

from etils import epath

from sweb_jax import analysis, layout
from sweb_jax.analysis import Listed
from sweb_jax.runtime import files, manifest

_OWN = (layout.CONFIG, layout.STUDY, layout.PROGRESS, layout.LOCK, layout.LABELS, layout.LENGTHS)
_APART = (layout.SUPERSEDED, layout.COMPILED, layout.TOKENISED, layout.SECOND_OPINIONS, layout.ARRIVING, layout.CURVES)


@dataclasses.dataclass(frozen=True)
class Finding:
  """One thing that is not as it should be, or a step that is."""

  folder: str
  """Of the step; '' for what is of no step."""
  what: str
  """'finished', 'no data', 'missing', 'unfinished', 'to be grown', 'of another version', 'of another study', 'unknown';
  or a damage: 'torn', 'changed' or 'lost'."""
  file: str = ''
  """Below the folder."""

  @property
  def damage(self) -> bool:
    """Whether repair mends it."""
    return self.what in ('torn', 'changed', 'lost')


def check(root: epath.Path) -> list[Finding]:
  """Everything that there is to say of a workdir; reads every file once. Raises AnalysisError where it is none."""
  study = analysis.read_study(root)
  found = []
  for step in study.steps:
    found += _step(root, step)
  return [*found, *_strangers(root, study.steps)]


def clear(root: epath.Path, found: Sequence[Finding]) -> list[str]:
  """Moves damaged files to `superseded/` and marks their steps as not finished; returns the steps' folders.

  In the place of a chunk of samples an empty one stays: its rows are lost and will be drawn again, under the name of
  another file, and the ledger keeps what was charged for it.
  """
  damaged = list(dict.fromkeys(f.folder for f in found if f.damage))
  for folder, name in dict.fromkeys((f.folder, _whole(f.file)) for f in found if f.damage):
    path, target = root / folder / name, root / layout.SUPERSEDED / folder / layout.DAMAGED / name
    if path.exists():
      files.set_aside(path, target)
    if path.match(layout.CHUNKS):
      files.write_text(path, '')
  for folder in damaged:
    if (said := manifest.read(root, folder)) is not None:
      bad = [_whole(f.file) for f in found if f.damage and f.folder == folder]
      kept = {name: sums for name, sums in said.files.items() if _whole(name) not in bad}
      manifest.write(root, folder, dataclasses.replace(said, done=False, files=kept))
  return damaged


def _step(root: epath.Path, step: Listed) -> Iterator[Finding]:
  folder = root / step.folder
  said = manifest.read(root, step.folder)
  if said is None:
    if (folder / layout.MANIFEST).exists():
      yield Finding(step.folder, 'torn', layout.MANIFEST)
    else:
      holds = next(manifest.below(folder), None) is not None
      yield Finding(step.folder, 'unknown' if holds else 'missing')
    return
  if step.version != said.version:
    if step.kind != 'report':  # It is made again whenever the study differs.
      yield Finding(step.folder, 'of another version')
    return
  there = {str(p.relative_to(folder)): p for p in manifest.below(folder)}
  bad = []
  for name, (size, digest) in said.files.items():
    if name not in there:
      bad.append(Finding(step.folder, 'lost', name))
    elif there[name].stat().length != size:
      bad.append(Finding(step.folder, 'torn', name))
    elif manifest.checksum(there[name]) != digest:
      bad.append(Finding(step.folder, 'changed', name))
  yield from bad
  if said.done:
    yield from (Finding(step.folder, 'unknown', n) for n in there if n not in said.files and n != layout.MANIFEST)
  if not said.done:
    yield Finding(step.folder, 'unfinished')
  elif not manifest.far_enough(said.extent, step.extent):
    yield Finding(step.folder, 'to be grown')
  elif not bad:
    yield Finding(step.folder, 'no data' if said.nothing else 'finished')


def _strangers(root: epath.Path, steps: Sequence[Listed]) -> Iterator[Finding]:
  """Files that are of no step: of steps that the study has no longer, or put there by somebody."""
  folders = {step.folder for step in steps}
  for path in manifest.below(root):
    name = str(path.relative_to(root))
    parts = name.split('/')
    if name in _OWN or parts[0] in _APART or any('/'.join(parts[:n]) in folders for n in range(1, 9)):
      continue
    if path.name == layout.MANIFEST:
      yield Finding(str(path.parent.relative_to(root)), 'of another study')
    elif not any((root / '/'.join(parts[:n]) / layout.MANIFEST).exists() for n in range(1, len(parts))):
      yield Finding('', 'unknown', name)


def _whole(file: str) -> str:
  """What is moved where a file is damaged: the file, or the whole model that it is a part of."""
  head, best, _ = file.partition(f'/{layout.BEST}/')
  return f'{head}/{layout.BEST}' if best else file
