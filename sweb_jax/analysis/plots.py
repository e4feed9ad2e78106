"""Plots of a report as SVG, each drawn from the table that is its CSV: no pixels, no fonts, the same bytes always."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sweb_jax.analysis.drawing import (
  GOLD_COLOR,
  GREY,
  MARKERS,
  SEVERAL,
  amount,
  as_svg,
  bar,
  legend_below,
  log_costs,
  name_rows,
  new_figure,
)
from sweb_jax.analysis.intervals import UNDECIDED
from sweb_jax.analysis.study import MATCHED_BY
from sweb_jax.analysis.table import Table
from sweb_jax.layout import BASE

GOLD = 'gold'


def curve(table: Table, colors: Mapping[str, str], unit: str) -> str:
  """The table's figure against cost, a line for each generator.

  Line: rows of set 'all', with their interval as a band; thin lines: the sets; circles, with their k: rows that name an
  arm.
  """
  plot, (axes,) = new_figure(3.5)
  figure = table.columns[4]
  rows = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
  for g in dict.fromkeys(row['generator'] for row in rows):
    color, mine = colors[g], [row for row in rows if row['generator'] == g]
    lines = {s: [row for row in mine if row['set'] == s] for s in dict.fromkeys(row['set'] for row in mine)}
    for s, line in lines.items():
      x, y = [row['cost'] for row in line], [row[figure] for row in line]
      if s != 'all':
        axes.plot(x, y, color=color, linewidth=0.6, alpha=0.6)
        continue
      bounds = ([row[f'{figure} {end}'] for row in line] for end in ('low', 'high'))
      axes.fill_between(x, *bounds, color=color, alpha=0.18, linewidth=0)
      axes.plot(x, y, color=color, label=g)
      for row in (row for row in line if row['arm']):
        at = row['cost'], row[figure]
        axes.plot(*at, 'o', color=color, markersize=5)
        axes.annotate(str(row['k']), at, textcoords='offset points', xytext=(-3, 6), ha='right', color=color)
  log_costs(axes, unit)
  axes.set_ylim(bottom=0, top=1.02 if figure == 'coverage' else None)
  axes.set_xlabel(f'sampling cost, {unit} a problem')
  axes.set_ylabel(
    'coverage@k: share of problems solved' if figure == 'coverage' else 'diversity@k: unique a solved problem'
  )
  axes.legend(frameon=False, loc='upper left')
  return as_svg(plot, table.name)


def arms(table: Table, figures: Sequence[str], spent: str, unit: str, colors: Mapping[str, str]) -> str:
  """Figures against the column `spent`, a panel each, a point an arm with its interval.

  Arms of nearly one cost stand side by side, to be told apart.
  """
  names, costs, generators = map(table.column, ('arm', spent, 'generator'))
  plot, panels = new_figure(2.3 * len(figures) + 0.16 * len(names), rows=len(figures))
  for axes, figure in zip(panels, figures, strict=True):
    bounds = (table.column(figure + end) for end in ('', ' low', ' high'))
    for i, (name, cost, value, low, high) in enumerate(zip(names, costs, *bounds, strict=True)):
      level = [n for n, c in zip(names, costs, strict=True) if 0.8 < c / cost < 1.25]
      x = cost * 1.08 ** (level.index(name) - (len(level) - 1) / 2)
      color, marker = colors.get(generators[i], SEVERAL), MARKERS[i % len(MARKERS)]
      axes.errorbar(
        [x], [value], [[value - low], [high - value]], fmt=marker, color=color, markersize=5, capsize=2, label=name
      )
    log_costs(axes, unit)
    low, high = axes.get_xlim()
    axes.set_xlim(low / 2, high * 2)
    axes.set_ylim(bottom=0)
    axes.set_ylabel(figure)
  panels[-1].set_xlabel(spent)
  legend_below(plot, panels[0], 3)
  return as_svg(plot, table.name)


def accuracy(table: Table, colors: Mapping[str, str]) -> str:
  """A group of rows for each learner, a row an arm, coloured by generator; 'base' and 'gold' are lines across it.

  Arms that are not of equal cost have hollow points.
  """
  rows = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
  learners = list(dict.fromkeys(row['learner'] for row in rows))
  plot, (axes,) = new_figure(0.9 + 0.21 * (len(rows) + len(learners)))
  labels, y, seen = [], 0.0, set()
  value, low, high = table.columns[5:8]
  for learner in learners:
    labels.append((y, f'{learner}:'))
    top = y - 0.4
    for row in (row for row in rows if row['learner'] == learner and row['source'] not in (BASE, GOLD)):
      y += 1
      if row[value] is not None:
        color = colors.get(row['generator'], SEVERAL)
        bar(axes, y, row[value], row[low], row[high], color, row['matched'] in (*MATCHED_BY.values(), None))
        name = f'{row["generator"]} data' if row['generator'] else 'data of several'
        axes.plot([], [], 'o', color=color, label=None if name in seen else name)
        seen.add(name)
      labels.append((y, row['source']))
    for row in (row for row in rows if row['learner'] == learner and row[value] is not None):
      if line := {BASE: ('--', 'before fine-tuning'), GOLD: (':', 'gold solutions')}.get(row['source']):
        style, name = line
        axes.fill_betweenx([top, y + 0.5], row[low], row[high], color=GREY, alpha=0.1, linewidth=0)
        label = None if name in seen else name
        axes.plot([row[value]] * 2, [top, y + 0.5], style, color='#444444', linewidth=1, label=label)
        seen.add(name)
    y += 1.4
  name_rows(axes, labels)
  axes.set_ylim(y - 0.8, -0.5)
  for text in axes.get_yticklabels():
    if text.get_text().endswith(':'):
      text.set_fontweight('bold')
  axes.set_xlim(left=0)
  axes.set_xlabel('greedy pass@1 on test problems')
  legend_below(plot, axes, 2)
  return as_svg(plot, table.name)


def rates(table: Table, figure: str, colors: Mapping[str, str]) -> str:
  """A row an arm with the interval of `figure`, coloured by generator."""
  plot, (axes,) = new_figure(0.9 + 0.24 * len(table.rows))
  columns = (table.column(c) for c in ('generator', figure, f'{figure} low', f'{figure} high'))
  for y, (generator, value, low, high) in enumerate(zip(*columns, strict=True)):
    bar(axes, y, value, low, high, colors[generator])
  rows = zip(table.column('arm'), table.column('by'), strict=True)
  names = [f'{arm}, by a {by}' if by == 'person' else arm for arm, by in rows]
  name_rows(axes, list(enumerate(names)))
  axes.set_xlim(left=0)
  axes.set_xlabel(f'{figure}: right answer, wrong reasoning')
  return as_svg(plot, table.name)


def majority(table: Table, colors: Mapping[str, str]) -> str:
  """maj@k against k, a panel a learner, a line a source; lines of a generator differ by their markers."""
  rows = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
  learners = list(dict.fromkeys(row['learner'] for row in rows))
  sources = list(dict.fromkeys(row['source'] for row in rows))
  ks = sorted({row['k'] for row in rows})
  plot, panels = new_figure(0.4 + 2.3 * len(learners) + 0.1 * len(sources), rows=len(learners))
  for axes, learner in zip(panels, learners, strict=True):
    for i, source in enumerate(sources):
      line = [row for row in rows if (row['learner'], row['source']) == (learner, source)]
      if not line:
        continue
      x = [row['k'] * 1.03 ** (i - (len(sources) - 1) / 2) for row in line]
      y = [row['maj@k'] for row in line]
      errors = [[row['maj@k'] - row['maj@k low'] for row in line], [row['maj@k high'] - row['maj@k'] for row in line]]
      color = colors.get(line[0]['generator'], {BASE: GREY, GOLD: GOLD_COLOR}.get(source, SEVERAL))
      axes.errorbar(
        x, y, errors, color=color, marker=MARKERS[i % len(MARKERS)], markersize=4, linewidth=1.2, elinewidth=0.7,
        label=source,
      )  # fmt: skip
    axes.set_xscale('log')
    axes.set_xticks(ks, [str(k) for k in ks])
    axes.set_xticks([], minor=True)
    axes.set_ylabel('maj@k')
    axes.set_title(learner, fontsize=10)
  panels[-1].set_xlabel('k samples a test problem')
  legend_below(plot, panels[0], 3)
  return as_svg(plot, table.name)


def levels(table: Table, colors: Mapping[str, str]) -> str:
  """Coverage by difficulty, a line an arm with its intervals; lines of a generator differ by their markers."""
  rows = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
  names = list(dict.fromkeys(row['arm'] for row in rows))
  found = list(dict.fromkeys(row['level'] for row in rows))
  plot, (axes,) = new_figure(3.2 + 0.1 * len(names))
  for i, name in enumerate(names):
    line = [row for row in rows if row['arm'] == name and row['coverage@k'] is not None]
    x = [found.index(row['level']) + 0.05 * (i - (len(names) - 1) / 2) for row in line]
    y = [row['coverage@k'] for row in line]
    low, high = ([row[f'coverage@k {end}'] for row in line] for end in ('low', 'high'))
    errors = [[a - b for a, b in zip(y, low, strict=True)], [b - a for a, b in zip(y, high, strict=True)]]
    axes.errorbar(
      x, y, errors, color=colors[line[0]['generator']] if line else GREY, marker=MARKERS[i % len(MARKERS)],
      markersize=4, linewidth=1.2, elinewidth=0.7, label=name,
    )  # fmt: skip
  axes.set_xticks(range(len(found)), found, **({'rotation': 30, 'ha': 'right'} if len(found) > 5 else {}))
  axes.set_ylim(bottom=0, top=1.02)
  axes.set_ylabel('coverage@k')
  legend_below(plot, axes, 3)
  return as_svg(plot, table.name)


def rounds(table: Table) -> str:
  """Accuracy, coverage, diversity and false positives by round, a panel a figure, a line a learner."""
  figures = [c.removesuffix(' low') for c in table.columns if c.endswith(' low')]
  plot, panels = new_figure(1.9 * len(figures), len(figures))
  learners = list(dict.fromkeys(table.column('learner')))
  for axes, figure in zip(panels, figures, strict=True):
    for i, learner in enumerate(learners):  # Told apart by their points: colours are for generators.
      columns = ('learner', 'round', figure, f'{figure} low', f'{figure} high')
      rows = [row for row in zip(*map(table.column, columns), strict=True) if row[0] == learner and row[2] is not None]
      at = [number + 0.06 * (i - (len(learners) - 1) / 2) for _, number, *_ in rows]  # Side by side.
      axes.plot(at, [row[2] for row in rows], color='black', marker=MARKERS[i % 8], markersize=4, label=learner)
      for x, (_, _, _, low, high) in zip(at, rows, strict=True):
        axes.plot([x, x], [low, high], color='black', linewidth=0.8)
    axes.set_ylabel(figure, fontsize=8)
    axes.set_xticks(sorted(set(table.column('round'))))
  panels[-1].set_xlabel('round')
  legend_below(plot, panels[0], 4)
  return as_svg(plot, table.name)


def spending(table: Table, spent: str, unit: str, colors: Mapping[str, str]) -> str:
  """What each arm was charged as a bar, what was planned as a line in it."""
  from matplotlib.ticker import FuncFormatter, MaxNLocator

  plot, (axes,) = new_figure(1.0 + 0.24 * len(table.rows))
  for y, row in enumerate(dict(zip(table.columns, row, strict=True)) for row in table.rows):
    axes.barh(y, row[spent], height=0.6, color=colors.get(row['generator'], SEVERAL), alpha=0.75)
    if row['planned'] is not None:
      label = None if axes.lines else 'planned'
      axes.plot([row['planned']] * 2, [y - 0.4, y + 0.4], color='black', linewidth=1.5, label=label)
  name_rows(axes, list(enumerate(table.column('arm'))))
  axes.xaxis.set_major_locator(MaxNLocator(4))
  axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: amount(x, unit)))
  axes.set_xlabel(spent)
  legend_below(plot, axes, 1)
  return as_svg(plot, table.name)


def forest(table: Table) -> str:
  """Differences A minus B: thick the deciding interval, thin grey the one within sets.

  A filled point is decided at 95 % by itself, a square also after Holm's correction. Rows name their sides; the axis
  does, where all rows have the same two.
  """
  rows = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
  plot, (axes,) = new_figure(0.9 + 0.37 * len(rows))
  for y, row in enumerate(rows):
    value, low, high = (row[f'difference{end}'] for end in ('', ' low', ' high'))
    if value is not None:
      axes.plot([row['within sets low'], row['within sets high']], [y + 0.2] * 2, color=GREY, linewidth=0.9)
      bar(axes, y, value, low, high, 'black', low > 0 or high < 0)
      if row['verdict, Holm'] != UNDECIDED:
        axes.plot([value], [y], 's', color='black', markersize=7)
    # Above its bar: beside it, a long name would leave no room for the bar.
    a, b = (row['A'], row['B']) if 'A' in row else (row['source'], BASE)
    box = {'facecolor': 'white', 'alpha': 0.8, 'linewidth': 0, 'pad': 0.5}
    at = axes.get_yaxis_transform()
    axes.text(0.01, y - 0.25, f'{row["learner"]}: {a} minus {b}', fontsize=8, va='bottom', bbox=box, transform=at)
  axes.set_ylim(len(rows) - 0.5, -0.8)
  axes.set_yticks([])
  axes.spines['left'].set_visible(False)
  axes.axvline(0, color=GREY, linewidth=0.8, linestyle='--')
  sides = {(row['side A'], row['side B']) if 'side A' in row else ('after', 'before') for row in rows}
  a, b = next(iter(sides)) if len(sides) == 1 else ('first', 'second')
  axes.set_xlabel(f'← {b} better · difference in greedy pass@1 · {a} better →')
  return as_svg(plot, table.name)
