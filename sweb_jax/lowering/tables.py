"""What was found of a config's steps, as tables, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from sweb_jax.lowering import times
from sweb_jax.lowering.compiling import LESS, Lowered
from sweb_jax.lowering.steps import Step
from sweb_jax.lowering.times import Times


def show(found: Sequence[Lowered], console: Console) -> None:
  """The steps on simulated devices as a table."""
  table = Table(title='A device')
  _columns(table, ('model', 'step', 'mesh'), ('state, GB', 'at most, GB', 'TFLOP'))
  _columns(table, ('messages, MB',), ('largest', 'logits', 'remat'))
  for x in found:
    table.add_row(
      x.model, x.step, x.mesh, f'{x.computed / 1e9:.2f}', f'{x.peak / 1e9:.2f}', f'{x.flops / 1e12:.3f}',
      '\n'.join(f'{n:,.0f} {kind}: {b / 1e6:,.0f}' for kind, (n, b) in x.collectives.items()),
      'x'.join(map(str, x.largest)), ', '.join('x'.join(map(str, s)) for s in x.logits) or 'none',
      str(x.rematerialised),
    )  # fmt: skip
  console.print(table)
  console.print(
    'State: parameters, optimiser and cache, by the sharding alone. At most: with the temporaries of the program for\n'
    'CPU, in 32 bits; a TPU in 16 bits needs less. Or, in training, with the weights that score a checkpoint beside\n'
    'the state. FLOPs and messages: of a step; decode: of a token in every row.'
  )


def show_times(name: str, found: Sequence[tuple[Step, Lowered, Times]], console: Console) -> None:
  """The steps on a slice: what they take of a chip, how long, and what goes over the links."""
  table = Table(title=f'{name}: a chip')
  _columns(table, ('model', 'step', 'mesh'), ('layers', 'GB', 'free', 'compiled in s', 'ms', 'products', 'messages'))
  _columns(table, (), ('bound', 'of bound', 'tokens/s', 'MFU'))
  for step, x, t in found:
    work = step.work(x.layers)
    table.add_row(
      x.model, x.step, x.mesh, f'{x.layers} of {step.layers}' if x.layers < step.layers else 'all',
      f'{x.peak / 1e9:.2f}', f'{t.chip.memory / 1e9 - x.peak / 1e9:.2f}', f'{x.seconds:.0f}',
      f'{t.all * 1e3:.2f}', f'{t.compute * 1e3:.2f}', f'{t.messages * 1e3:.2f}', f'{t.bound * 1e3:.2f}',
      f'{t.bound / t.all:.0%}', f'{work.tokens / t.all / step.mesh.size:,.0f}',
      f'{work.flops / t.all / step.mesh.size / t.chip.flops:.1%}',
    )  # fmt: skip
  console.print(table)
  links = Table(title=f'{name}: messages of a step')
  _columns(links, ('model', 'step', 'kind', 'over'), ('number', 'a layer', 'MB'))
  for step, x, _ in found:
    for (kind, axes), (count, size) in times.by_axes(x.messages, step.mesh).items():
      count, size = count / step.loops, size / step.loops
      links.add_row(
        x.model, x.step, kind, ' x '.join(axes) or 'one chip', f'{count:,.0f}', f'{count / x.layers:.1f}',
        f'{size / 1e6:,.1f}',
      )  # fmt: skip
  console.print(links)
  console.print(
    'A step: a call of prompts, a token in every row, an update; times in ms. GB: the state of all layers, with the\n'
    'temporaries of those compiled. Products: by the cycles that the compiler estimates. Messages: bytes over links\n'
    'of the mesh axes, or over the network between slices, as if nothing else went on. Bound: what a step reads, at\n'
    'the bandwidth, or the FLOPs of the model, none twice, at the peak. MFU: those FLOPs against the peak. Tokens/s:\n'
    'of a chip.'
  )


def _columns(table: Table, left: Sequence[str], right: Sequence[str]) -> None:
  for name in (*left, *right):
    table.add_column(name, justify='left' if name in left else 'right')


def misfits(found: Sequence[Lowered], hbm: float) -> list[str]:
  """What is wrong with the steps on devices of so many bytes, a message each."""
  out = []
  for x in found:
    where = f'{x.model}, {x.step}'
    if x.peak > hbm:
      out.append(
        f'{where}: needs {x.peak / 1e9:.1f} GB a device, {hbm / 1e9:g} GB are there; {LESS}'
      )
    if x.logits:
      out.append(f'{where}: holds logits of every token at once: {x.logits[0]}')
    if x.rematerialised:
      out.append(f'{where}: XLA gathers whole arrays in {x.rematerialised} places to change their sharding')
  return out
