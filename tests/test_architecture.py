"""The house keeps its plan: which way imports run, one layout, one enumeration, what is free of JAX."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / 'sweb_jax'
MODULES = sorted(p.relative_to(PACKAGE) for p in PACKAGE.rglob('*.py'))

# Imports run from a floor to those below it, and within a floor.
FLOORS = (
  {'main', 'cli', 'status', 'lowering', 'pretrain', 'comparison', 'export'},
  {'study'},
  {'config'},
  {'tasks', 'answers', 'curation', 'budget', 'sampling', 'training', 'analysis'},
  {'models'},
  {'layout', 'records', 'runtime'},
)
# Folders of libraries that know no other at their floor but these.
BESIDE = {
  'answers': set(),
  'curation': set(),
  'tasks': {'answers'},
  'budget': set(),
  'sampling': set(),
  'training': set(),
  'analysis': {'answers', 'budget', 'tasks'},
  'config': set(),
}
FREE_OF_JAX = ('records', 'layout', 'budget', 'answers', 'tasks', 'curation', 'analysis', 'runtime.manifest', 'config')
FREE_OF_JAX += ('export',)


def room(module: str) -> str:
  """'study' of 'sweb_jax.study.graph'."""
  return module.split('.')[1] if module.count('.') else ''


def imports(path: Path) -> set[str]:
  """Modules of the package that a file imports, also inside functions."""
  found = set()
  for node in ast.walk(ast.parse((PACKAGE / path).read_text())):
    if isinstance(node, ast.ImportFrom) and (node.module or '').split('.')[0] == 'sweb_jax':
      inner = node.module if node.module != 'sweb_jax' else None
      found |= {inner} if inner else {f'sweb_jax.{a.name}' for a in node.names}
      if inner and (PACKAGE / Path(*inner.split('.')[1:])).is_dir():
        names = {f'{inner}.{a.name}' for a in node.names}
        found |= {n for n in names if (PACKAGE / Path(*n.split('.')[1:])).with_suffix('.py').exists()}
    if isinstance(node, ast.Import):
      found |= {a.name for a in node.names if a.name.split('.')[0] == 'sweb_jax'}
  return {m for m in found if room(m)}


def floor(name: str) -> int:
  return next(i for i, rooms in enumerate(FLOORS) if name in rooms)


@pytest.mark.parametrize('path', MODULES, ids=str)
def test_imports_run_down(path):
  own = path.parts[0].removesuffix('.py')
  if own == '__init__' or path.name == '__main__.py':  # A command may ask for anything.
    return
  for module in imports(path):
    other = room(module)
    if other == own:
      continue
    assert floor(other) >= floor(own), f'{path} imports {module}, which is above it'
    if floor(other) == floor(own) and own in BESIDE:
      assert other in BESIDE[own], f'{path} imports {module}, which is beside it'


def test_no_modules_import_each_other_in_a_circle():
  of = {}
  for path in MODULES:
    name = '.'.join(('sweb_jax', *path.with_suffix('').parts)).removesuffix('.__init__')
    of[name] = {m for m in imports(path) if m != name}
  while of:
    free = [m for m, needs in of.items() if not needs & of.keys()]
    # A package's face imports its modules, and they may import what it shows: that is no circle of theirs.
    faces = [m for m in of if (PACKAGE / Path(*m.split('.')[1:])).is_dir()]
    assert free or faces, sorted(of)
    for m in free or faces:
      del of[m]


def strings(path: Path) -> list[str]:
  """All texts of a file but its docstrings."""
  tree = ast.parse((PACKAGE / path).read_text())
  told = {
    node.value for node in ast.walk(tree)
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
  }  # fmt: skip
  return [
    node.value for node in ast.walk(tree)
    if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in told
  ]  # fmt: skip


def test_one_module_spells_the_names_of_the_files_of_a_workdir():
  names = re.compile(
    r'/set$|^(problems|samples|verdicts|opinions|allocations|examples|models|scores)/'
    r'|chunk-|ledger-|verdicts-|selection\.json|result\.json|manifest\.json|study\.json|problems\.jsonl|examples\.jsonl'
    r'|prompts\.json|superseded|^report/|rate_'
  )
  found = [(str(path), text) for path in MODULES if path != Path('layout.py') for text in strings(path)]
  # What people read may name a file; what joins paths may not.
  assert [(p, t) for p, t in found if names.search(t) and ' ' not in t] == []


def test_one_module_lists_the_steps_of_a_study():
  kinds = ('Problems', 'Samples', 'Verdicts', 'Examples', 'Models', 'Scores', 'Report')
  makes = {}
  for path in MODULES:
    for node in ast.walk(ast.parse((PACKAGE / path).read_text())):
      if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in kinds:
        makes.setdefault(str(path), set()).add(node.func.id)
  assert makes == {'study/graph.py': set(kinds)}


def test_what_a_plan_and_a_report_need_is_free_of_jax():
  code = f'import sys\nfor m in {FREE_OF_JAX!r}: __import__("sweb_jax." + m)\nprint("jax" in sys.modules)'
  done = subprocess.run([sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True)
  assert (done.stdout.strip(), done.stderr) == ('False', '')


def test_only_steps_are_handed_the_context():
  for path in MODULES:
    if path.parts[0] != 'study':
      assert 'study.context' not in (PACKAGE / path).read_text(), path


@pytest.mark.parametrize('path', MODULES, ids=str)
def test_a_module_is_no_longer_than_a_person_reads_at_once(path):
  assert len((PACKAGE / path).read_text().splitlines()) <= 350
