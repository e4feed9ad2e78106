"""A page on which a person judges the reasoning of kept solutions: one file, no server, no network.

The labels are saved as JSON lines, which `labels` reads:

    {"generator": "wc", "question_set": 0, "problem_id": "...", "index": 3, "label": "right"}
"""

from __future__ import annotations

import array
import dataclasses
import hashlib
import itertools
import json
from collections.abc import Collection, Iterator, Mapping, Sequence

import numpy as np
from etils import epath

from sweb_jax import layout, records
from sweb_jax.analysis import style
from sweb_jax.analysis.study import Study
from sweb_jax.records import Problem, Sample, Verdict
from sweb_jax.runtime.by_problem import ByProblem

COUNT = 50
"""Solutions a generator."""


@dataclasses.dataclass(frozen=True)
class Item:
  """One solution to judge."""

  generator: str
  question_set: int
  problem_id: str
  index: int
  problem: str
  gold: str
  solution: str
  """By people; '' where there is none."""
  candidate: str


def choose(workdir: epath.PathLike, study: Study, seed: int, count: int = COUNT) -> list[Item]:
  """`count` correct solutions of each generator, all where there are fewer, in an order that mixes the generators.

  Stratified by difficulty and by the checker's opinion, each stratum with its share of all correct solutions: every
  one has the same chance, so that plain shares of the labels estimate shares of the kept solutions. The choice is a
  function of the solutions' names and `seed`. Generators without grades are left out.
  """
  root = epath.Path(workdir)
  problems: dict[int, dict[str, Problem]] = {}
  for s in study.question_sets:
    path = root / layout.problems(s, 'train') / layout.PROBLEMS
    problems[s] = {p.id: p for p in (records.read(Problem, path) if path.exists() else ())}
  found = []
  for g in study.generators:
    # Of millions of solutions what is held is where they stand: which problem, which sample.
    named = [(s, name) for s in study.question_sets for name in problems[s]]
    strata: dict[tuple[str, str], tuple[array.array, array.array]] = {}
    graded = itertools.chain.from_iterable(
      verdicts(root, s, g, problems[s]).read(problems[s]) for s in study.question_sets
    )
    for n, ((s, name), rows) in enumerate(zip(named, graded, strict=True)):
      for v in rows:
        if v.correct:
          stratum = problems[s][name].level, str(v.valid)
          draws, places = strata.setdefault(stratum, (array.array('d'), array.array('q')))
          draws.append(_draw(seed, g, s, name, v.index))
          places.extend((n, v.index))
    sizes = {stratum: len(strata[stratum][0]) for stratum in sorted(strata)}
    chosen, before = _every(range(sum(sizes.values())), count, _draw(seed, g)), 0
    keys = []
    for stratum, size in sizes.items():
      draws, places = strata[stratum]
      order = np.argsort(draws, kind='stable')
      for at in (order[i - before] for i in chosen if before <= i < before + size):
        keys.append((*named[places[2 * at]], places[2 * at + 1]))
      before += size
    found += _texts(root, g, keys, problems)
  return sorted(found, key=lambda i: _draw(seed, 'order', i.generator, i.question_set, i.problem_id, i.index))


def render(items: Sequence[Item], title: str) -> str:
  """The page."""
  rows = json.dumps([dataclasses.asdict(item) for item in items])
  # What progress is kept under: another choice of solutions starts anew.
  store = 'labels-' + hashlib.sha256(rows.encode()).hexdigest()[:16]
  script = SCRIPT.replace('{store}', store)
  # A solution must not end the element that holds it.
  body = BODY.replace('{items}', rows.replace('<', '\\u003c'))
  return f'{style.head(f"Label: {title}", STYLE, script)}{body}<script>{script}</script>\n</body>\n</html>\n'


def verdicts(root: epath.Path, question_set: int, generator: str, of: Collection[str]) -> ByProblem[Verdict]:
  """Of a generator's samples for some problems, the last on each; none where there are none yet."""
  paths = _files(root / layout.verdicts(question_set, generator), layout.VERDICTS)
  return ByProblem(Verdict, paths, latest=True, of=of)


def _files(folder: epath.Path, pattern: str) -> list[epath.Path]:
  return sorted(folder.glob(pattern)) if folder.exists() else []


def _every(keys: Sequence[int], count: int, start: float) -> Sequence[int]:
  """`count` of `keys` at even distances, the first at `start` of a distance."""
  return keys if len(keys) <= count else [keys[int((i + start) * len(keys) / count)] for i in range(count)]


def _texts(
  root: epath.Path, generator: str, keys: Sequence[tuple[int, str, int]], problems: Mapping[int, Mapping[str, Problem]]
) -> Iterator[Item]:
  """The chosen solutions with what stands beside them."""
  for s in sorted({s for s, _, _ in keys}):
    indices: dict[str, set[int]] = {}
    for of, name, index in keys:
      if of == s:
        indices.setdefault(name, set()).add(index)
    samples = ByProblem(Sample, _files(root / layout.samples(s, generator), layout.CHUNKS), of=indices)
    for rows in samples.read(indices):
      for sample in rows:
        if sample.index in indices[sample.problem_id]:
          p = problems[s][sample.problem_id]
          solution = p.solutions[0] if p.solutions else ''
          named = generator, s, p.id, sample.index
          yield Item(*named, p.text, p.gold, solution.strip(), sample.text.strip())


def _draw(*key: str | int) -> float:
  """A number in [0, 1) that is a function of `key`."""
  digest = hashlib.blake2b(json.dumps(key).encode(), digest_size=6).digest()
  return int.from_bytes(digest, 'big') / 2**48


STYLE = """
body { padding-bottom: 8rem; }
h1 { font-size: 1.3rem; margin: .8em 0 .2em; }
h2 { font-size: 1rem; margin: 1em 0 .2em; }
.sides { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 22rem), 1fr)); gap: 0 1rem; }
.bar { position: fixed; left: 0; right: 0; bottom: 0; background: var(--ground); border-top: 1px solid var(--soft);
  padding: .5rem; display: flex; flex-wrap: wrap; gap: .4rem; justify-content: center; }
#candidate { border: 2px solid var(--accent); }
button.chosen { background: var(--ink); color: var(--ground); }
"""

BODY = """<h1>Is the reasoning right?</h1>
<p class="note">Each answer is the right one. Judge the way to it: <b>right</b> when every step is right, <b>wrong</b>
when a step is wrong or the answer comes from nowhere. Who wrote it is not shown. Keys: 1 right, 2 wrong, 3 unsure,
arrows back and forth.</p>
<p><b id="place"></b> <span id="progress"></span> <span id="warning" class="note"></span></p>
<h2>Problem</h2><pre id="problem"></pre>
<div class="sides">
<div><h2>Solution to judge</h2><pre id="candidate"></pre></div>
<div><h2>Right answer: <span id="gold"></span></h2><pre id="solution"></pre></div>
</div>
<noscript><p>This page needs JavaScript; it fetches nothing.</p></noscript>
<div class="bar">
<button id="back" title="left arrow">←</button>
<button data-label="right">1 right</button>
<button data-label="wrong">2 wrong</button>
<button data-label="unsure">3 unsure</button>
<button id="next" title="right arrow">→</button>
<button id="save">Save labels</button>
</div>
<script type="application/json" id="items">{items}</script>
"""

SCRIPT = """
'use strict';
const items = JSON.parse(document.getElementById('items').textContent);
const store = '{store}';
const by = id => document.getElementById(id);
const buttons = [...document.querySelectorAll('[data-label]')];
let labels = {};
let at = 0;

function warn() { by('warning').textContent = 'This browser keeps no progress: save before you leave.'; }

function keep() {
  try { localStorage.setItem(store, JSON.stringify(labels)); } catch (e) { warn(); }
}

function open_(number) {
  at = Math.min(Math.max(number, 0), items.length - 1);
  by('progress').textContent = `${Object.keys(labels).length} of ${items.length} labelled`;
  if (!items.length) {
    by('place').textContent = 'There is no correct solution to label.';
    return;
  }
  by('place').textContent = `Solution ${at + 1}.`;
  for (const field of ['problem', 'candidate', 'gold']) by(field).textContent = items[at][field];
  by('solution').textContent = items[at].solution || '(no worked solution)';
  for (const b of buttons) b.classList.toggle('chosen', labels[at] === b.dataset.label);
  scrollTo(0, 0);
}

function label(name) {
  if (!items.length) return;
  labels[at] = name;
  keep();
  const order = items.map((_, i) => (at + 1 + i) % items.length);
  open_(order.find(i => !(i in labels)) ?? at);
}

function save() {
  const lines = items.flatMap((item, i) => i in labels ? [JSON.stringify({
    generator: item.generator, question_set: item.question_set, problem_id: item.problem_id, index: item.index,
    label: labels[i],
  }) + '\\n'] : []);
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob(lines, {type: 'application/x-ndjson'}));
  link.download = 'labels.jsonl';
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

for (const b of buttons) b.onclick = () => label(b.dataset.label);
by('back').onclick = () => open_(at - 1);
by('next').onclick = () => open_(at + 1);
by('save').onclick = save;
document.onkeydown = event => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  const chosen = buttons['123'.indexOf(event.key)];
  if (chosen) label(chosen.dataset.label);
  if (event.key === 'ArrowLeft') open_(at - 1);
  if (event.key === 'ArrowRight') open_(at + 1);
};
try { labels = JSON.parse(localStorage.getItem(store)) || {}; } catch (e) { warn(); }
open_(Math.max(items.findIndex((_, i) => !(i in labels)), 0));
"""
