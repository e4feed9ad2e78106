"""What all plots of a report share: colours, panels, scales and legends; SVG files, and SVG as a part of a page."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
  from matplotlib.axes import Axes
  from matplotlib.figure import Figure

# Okabe and Ito's colours, which colour-blind readers can tell apart. In a report they stand for generators alone.
COLORS = ('#0072B2', '#D55E00', '#009E73', '#CC79A7', '#E69F00', '#56B4E9')
SEVERAL, GOLD_COLOR, GREY = '#999933', '#000000', '#777777'
"""Data of several generators, gold solutions, and what is no data."""
MARKERS = 'osD^vP*X'
WIDTH = 4.8
"""Inches; at this width a label of 10 points can be read on a phone."""


def colors(generators: Sequence[str]) -> dict[str, str]:
  """A colour for each generator: the same in every figure of a report."""
  return {name: COLORS[i % len(COLORS)] for i, name in enumerate(generators)}


def new_figure(height: float, rows: int = 1, columns: int = 1) -> tuple[Figure, Any]:
  """A figure of its own, its height in inches, and its panels, row by row.

  pyplot's global state and its choice of a display are not touched.
  """
  from matplotlib.figure import Figure

  plot = Figure(figsize=(WIDTH, height), layout='constrained')
  panels = [plot.add_subplot(rows, columns, i + 1) for i in range(rows * columns)]
  for axes in panels:
    axes.spines[['top', 'right']].set_visible(False)
    axes.grid(alpha=0.25, linewidth=0.6)
  return plot, panels


def legend_below(plot: Figure, axes: Axes, columns: int) -> None:
  """What the panel's marks are, below all panels."""
  handles, names = axes.get_legend_handles_labels()
  if names:
    plot.legend(handles, names, loc='outside lower center', ncols=columns, frameon=False, fontsize=8)


def log_costs(axes: Axes, unit: str) -> None:
  """A log scale for costs in `unit`, with labels that read: 3·10⁹, $0.03, 3,000."""
  from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

  axes.set_xscale('log')
  low, high = axes.get_xlim()
  # Powers of ten alone may leave a single label; over many of them more would run into each other.
  axes.xaxis.set_major_locator(LogLocator(subs=(1, 3) if high / low < 1e4 else (1,)))
  axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: amount(x, unit)))
  axes.xaxis.set_minor_locator(NullLocator())


def amount(x: float, unit: str) -> str:
  """A cost as the label of a tick."""
  if unit == 'dollars':
    return '$' + f'{x:,.10f}'.rstrip('0').rstrip('.')
  if not x or 0.01 <= x < 1e6:
    return f'{x:,.10g}'
  digits, power = f'{x:.1e}'.replace('.0e', 'e').split('e')
  raised = str(int(power)).translate(str.maketrans('-0123456789', '⁻⁰¹²³⁴⁵⁶⁷⁸⁹'))
  return f'10{raised}' if digits == '1' else f'{digits}·10{raised}'


def bar(axes: Axes, y: float, value: float, low: float, high: float, color: str, filled: bool = True) -> None:
  """A value with its interval, lying."""
  axes.plot([low, high], [y, y], color=color, linewidth=2, solid_capstyle='butt')
  axes.plot([value], [y], 'o', color=color, markersize=4.5, markerfacecolor=color if filled else 'white')


def name_rows(axes: Axes, labels: Sequence[tuple[float, str]]) -> None:
  """Names rows by their height; the first is on top."""
  axes.set_yticks([y for y, _ in labels], [text for _, text in labels])
  axes.invert_yaxis()


def as_svg(plot: Figure, name: str) -> str:
  """The figure as a standalone SVG; ids carry `name`, to be unique in a page of several."""
  import matplotlib
  from matplotlib.backends.backend_svg import FigureCanvasSVG

  buffer = io.StringIO()
  with matplotlib.rc_context({'svg.fonttype': 'none', 'svg.hashsalt': name}):
    # Not by `savefig`, which draws once more before, for formats and cuts that are not asked for here.
    FigureCanvasSVG(plot).print_svg(buffer, metadata=dict.fromkeys(('Date', 'Creator', 'Format', 'Type')))
  text = buffer.getvalue()
  text = text[text.index('<svg') :]  # Without a document type, which names a file elsewhere.
  text = re.sub(r'(<svg[^>]*?)>', rf'\1 role="img" aria-label="{name}">', text, count=1)
  # A hundredth of a point is finer than any screen; six digits make a page half as large again.
  text = re.sub(r' (?:d|x|y|transform)="[^"]*"', lambda found: re.sub(r'(\.\d\d)\d+', r'\1', found[0]), text)
  return re.sub(r'(\bid="|url\(#|href="#)', rf'\g<1>{name}-', text)


def inline(svg: str) -> str:
  """A standalone SVG as an element to put into a page: it takes the width it is given, and the page's colours.

  Black is drawn in the variable --ink of the page's style, white in --ground and the darkest colour of a generator in
  --blue, so that all can be read by night.
  """
  # In HTML the name spaces are implied; without them nothing in the page looks like a link to elsewhere.
  text = re.sub(r' xmlns(:\w+)?="[^"]*"', '', svg).replace('xlink:href', 'href')
  for size in ('width', 'height'):
    text = re.sub(rf'(<svg[^>]*?) {size}="[^"]*"', r'\1', text, count=1)
  for color, variable in (('#000000', '--ink'), ('#444444', '--ink'), ('#ffffff', '--ground'), ('#0072b2', '--blue')):
    text = text.replace(f': {color}', f': var({variable})')
  return text
