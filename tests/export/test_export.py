"""Data sets out of a workdir: the very rows that are trained on, traced to their samples, in forms that others read."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from etils import epath

from sweb_jax import analysis, layout, records
from sweb_jax.export import PEOPLE, ExportError, Row, export, formats, rows
from sweb_jax.models import conversion
from sweb_jax.models.source import open_model
from sweb_jax.records import Example, Problem, Sample, Verdict
from sweb_jax.runtime import manifest
from sweb_jax.tasks.rendering import Renderer
from tests import forked

ROOT = Path(__file__).parents[2]
ARMS = ('wc_low', 'se_low', 'wc_low_loose', 'wc_low_mixed', 'until_low', 'both_low', 'gold', 'wc.round2')


@pytest.fixture(scope='module')
def workdir(runs, done, tmp_path_factory) -> Path:
  """One with every kind of arm, grown from a finished study; what the second round draws with is trained in it."""
  root = Path(shutil.copytree(done, tmp_path_factory.mktemp('export') / 'workdir'))
  config = runs.tiny(
    gold=True,
    policies={
      'until': {'kind': 'until_solved', 'generators': ('wc',)},
      'both': {'kind': 'mixture', 'shares': {'se': 0.5, 'wc': 0.5}},
    },
    variants={'loose': {'filter': 'none', 'dedupe': True}, 'mixed': {'mix_gold': True, 'max_per_problem': 1}},
    rounds=2,
    round__arm='wc_low',
    round__keep=True,
  )
  runs(root, config, ('plan', 'sample', 'grade'))
  return root


def drawn(root: Path) -> dict[tuple[str, str, int], Sample]:
  """(generator, problem, index) -> sample, by plain reading of everything below samples/ and allocations/."""
  found = {}
  for path in [*root.glob('samples/set0/*/chunk-*.jsonl'), *root.glob('allocations/set0/*/*/held.jsonl')]:
    for s in records.read(Sample, path):
      found[path.parent.name, s.problem_id, s.index] = s
  return found


def graded(root: Path) -> dict[tuple[str, str, int], Verdict]:
  found = {}
  for path in [*root.glob('verdicts/set0/*/verdicts-*.jsonl'), *root.glob('allocations/set0/*/*/graded.jsonl')]:
    for v in records.read(Verdict, path):
      found[path.parent.name, v.problem_id, v.index] = v
  return found


def lines(path: Path) -> list[dict]:
  return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.slow
@pytest.mark.parametrize('arm', ARMS)
def test_what_is_exported_is_what_is_trained_on_and_names_its_sample(workdir, arm, tmp_path):
  found = export(workdir, arm, 'prompt_completion', tmp_path / 'out')
  out = lines(tmp_path / 'out/train.jsonl')
  trained = list(records.read(Example, workdir / layout.examples(0, arm) / layout.EXAMPLES))
  assert [(r['problem_id'], r['prompt'], r['completion']) for r in out] == [
    (e.problem_id, e.prompt, f' {e.solution}') for e in trained  # Words of the made world, which need a space.
  ]
  assert found.rows == len(trained) > 0
  samples, verdicts = drawn(workdir), graded(workdir)
  named = [(r['generator'], r['problem_id'], r['index']) for r in out]
  assert len(set(named)) == len(named)
  for key, r in zip(named, out, strict=True):
    if key[0] != PEOPLE:
      assert (samples[key].text, len(samples[key].tokens)) == (r['completion'][1:], r['tokens'])
      assert (verdicts[key].correct, verdicts[key].valid, verdicts[key].answer) == (
        r['correct'], r['valid'], r['answer']
      )  # fmt: skip
  generators = {r['generator'] for r in out}
  assert generators == {
    'gold': {PEOPLE}, 'wc_low_mixed': {PEOPLE, 'wc'}, 'both_low': {'wc', 'se'}, 'wc.round2': {'wc', 'wc.round2'}
  }.get(arm, {arm.partition('_')[0].replace('until', 'wc')})  # fmt: skip
  if arm != 'gold':
    assert any(not r['correct'] for r in out if r['generator'] != PEOPLE) == (arm == 'wc_low_loose')


@pytest.mark.slow
def test_a_generator_of_a_later_round_names_the_step_that_trained_it(workdir):
  found = rows.examples(rows.open_data(workdir, 'wc.round2', 0))
  assert {r.model for r in found} == {'embedded:wc', 'embedded:wc, trained in models/set0/wc/wc_low'}


@pytest.mark.slow
@pytest.mark.parametrize('arm', ['wc_low', 'both_low'])
def test_all_samples_cost_what_the_report_says(workdir, arm):
  data = rows.open_data(workdir, arm, 0)
  found = rows.samples(data, lambda p: p.text)
  held = analysis.read(workdir).held[0, arm]
  assert len(found) == sum(held.samples.values())
  assert sum(r.correct for r in found) == held.correct.sum()
  assert sum(r.cost for r in found) == held.spent['paper']  # The paper's cost has no part for prompts.
  texts = {p.id: p.text for p in records.read(Problem, workdir / layout.problems(0, 'train') / layout.PROBLEMS)}
  assert {r.prompt for r in found} <= set(texts.values())


@pytest.mark.slow
def test_every_form_gives_back_the_same_rows(workdir, tmp_path):
  data = rows.open_data(workdir, 'wc_low_mixed', 0)  # Some rows have no index.
  plain = [vars(r) | {'completion': f' {r.completion}'} for r in rows.examples(data)]
  for form in ('prompt_completion', 'messages', 'parquet', 'tfds'):
    found = export(workdir, 'wc_low_mixed', form, tmp_path / form)
    back = formats.read(tmp_path / form, form)
    assert found.rows == len(back) == len(plain)
    for b, p in zip(back, plain, strict=True):
      if form == 'messages':
        user, model = b.pop('messages')
        assert (user['role'], model['role']) == ('user', 'assistant')
        b |= {'prompt': user['content'], 'completion': f' {model["content"]}'}
      assert b == p | ({'cost': pytest.approx(p['cost'], rel=1e-6)} if form == 'tfds' and p['cost'] else {})


def test_a_completion_gets_a_space_only_where_it_needs_one():
  none = dict.fromkeys(('index', 'seed', 'correct', 'valid', 'answer', 'tokens', 'cost'))
  told = {'problem_id': 'p', 'generator': 'g', 'model': 'm', 'cut': False}
  for prompt, completion, following in (
    ('A:', '7', ' 7'), ('A:', ' 7', ' 7'), ('A:', '\n7', '\n7'), ('A:', '', ''), ('[BEGIN]\n', 'def f():', 'def f():')
  ):  # fmt: skip
    assert Row(prompt=prompt, completion=completion, **told, **none).following == following


@pytest.mark.slow
def test_pairs_hold_a_right_and_a_wrong_sample_of_one_problem_each_once(workdir, tmp_path):
  found = export(workdir, 'wc_low', 'pairs', tmp_path / 'out')
  out, samples, verdicts = lines(tmp_path / 'out/train.jsonl'), drawn(workdir), graded(workdir)
  assert found.rows == len(out) > 0
  sides = {True: [], False: []}
  for r in out:
    for side, correct in (('chosen', True), ('rejected', False)):
      key = r[f'{side}_generator'], r['problem_id'], r[f'{side}_index']
      assert samples[key].text == r[side][1:] and samples[key].finish == 'stop' and verdicts[key].correct is correct
      sides[correct].append(key)
  for keys in sides.values():
    assert len(set(keys)) == len(keys)
  # As many as can be: of every problem the fewer of its whole right and whole wrong samples of the arm.
  per_problem = {}
  for (g, problem, index), s in samples.items():
    if g == 'wc' and index < 3 and s.finish == 'stop':
      per_problem.setdefault(problem, []).append(verdicts[g, problem, index].correct)
  assert len(out) == sum(min(sum(x), len(x) - sum(x)) for x in per_problem.values())


@pytest.mark.slow
def test_the_card_says_where_the_rows_come_from(workdir, tmp_path):
  export(workdir, 'both_low', 'parquet', tmp_path / 'out')
  card = (tmp_path / 'out/README.md').read_text()
  held = analysis.read(workdir).held[0, 'both_low']
  assert f'| paper | {held.spent["paper"]:.6g} | FLOPs |' in card
  counts = json.loads((workdir / layout.examples(0, 'both_low') / layout.COUNTS).read_text())
  for name, count in counts.items():
    assert f'| {name} | {count:,} |' in card
  out = formats.read(tmp_path / 'out', 'parquet')
  wrong = sum(not r['valid'] for r in out)
  assert f'which checks every step: {wrong} of {len(out)} rows' in card
  assert manifest.checksum(tmp_path / 'out/train.parquet') in card
  for words in ('embedded:wc', 'embedded:se', '| data.filter | answer |', 'made by this project', 'policy both'):
    assert words in card, words
  assert not [line for line in card.splitlines() if len(line) > 400]


@pytest.mark.slow
def test_what_is_not_there_is_named_with_what_is(workdir, tmp_path):
  for arguments, message in (
    ((workdir, 'wc_high', 0), 'has the arms wc_low, se_low, .*gold'),
    ((workdir, 'gold', 1), 'has the sets 0'),
    ((tmp_path, 'gold', 0), r'study\.json is missing: run the stage plan'),
  ):
    with pytest.raises((ExportError, analysis.AnalysisError), match=message):
      rows.open_data(*arguments)
  with pytest.raises(ExportError, match='there are no wrong ones'):
    export(workdir, 'gold', 'pairs', tmp_path / 'out')
  assert not (tmp_path / 'out').exists()


@pytest.mark.slow
def test_a_step_that_is_not_done_or_has_no_data_or_was_changed_is_not_exported(workdir, tmp_path):
  root = epath.Path(shutil.copytree(workdir, tmp_path / 'copy'))
  name = layout.examples(0, 'se_low')
  said = manifest.read(root, name)
  for change, message in (
    ({'done': False}, f'{name} is not done: run the study'),
    ({'nothing': 'none of 4 samples is kept'}, f'{name} has no data: none of 4 samples is kept'),
  ):
    manifest.write(root, name, dataclasses.replace(said, **change))
    with pytest.raises(ExportError, match=message):
      export(root, 'se_low', 'messages', tmp_path / 'out')
  manifest.write(root, name, said)
  (root / name / layout.EXAMPLES).write_text((root / name / layout.EXAMPLES).read_text()[:-1])
  with pytest.raises(analysis.AnalysisError, match=r'is not the file that was finished; .* check WORKDIR --repair'):
    export(root, 'se_low', 'messages', tmp_path / 'out')
  assert [p.name for p in tmp_path.iterdir()] == ['copy']


@pytest.mark.slow
def test_nothing_is_replaced_but_a_data_set_and_that_when_asked(workdir, tmp_path):
  mine = tmp_path / 'mine'
  mine.mkdir()
  (mine / 'README.md').write_text('My notes.')
  for force, message in ((False, 'is there already'), (True, 'is no data set of this command')):
    with pytest.raises(ExportError, match=message):
      export(workdir, 'wc_low', 'messages', mine, force=force)
  assert [p.read_text() for p in mine.iterdir()] == ['My notes.']
  export(workdir, 'wc_low', 'messages', tmp_path / 'out')
  with pytest.raises(ExportError, match='is there already'):
    export(workdir, 'gold', 'parquet', tmp_path / 'out')
  export(workdir, 'gold', 'parquet', tmp_path / 'out', force=True)
  assert sorted(p.name for p in (tmp_path / 'out').iterdir()) == ['README.md', 'train.parquet']


@pytest.mark.slow
def test_what_comes_back_otherwise_than_it_was_written_is_not_kept(workdir, tmp_path, monkeypatch):
  honest = formats.write
  monkeypatch.setattr(formats, 'write', lambda folder, rows, form: honest(folder, rows[::-1], form))
  with pytest.raises(ExportError, match='came back from it as'):
    export(workdir, 'wc_low', 'parquet', tmp_path / 'out')
  assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_command_says_what_it_wrote_or_one_line_of_what_is_wrong(workdir, tmp_path):
  def run(arm: str) -> subprocess.CompletedProcess:
    return forked.run('-m', 'sweb_jax.export', workdir, f'--arm={arm}', '--format=pairs', f'--to={tmp_path}/out')

  done = run('wc_low')
  said = r'\S+/out: \d+ rows of \d+ problems, read back and equal; sha256 \w{64}\n'
  assert (done.returncode, done.stderr) == (0, '') and re.fullmatch(said, done.stdout)
  shutil.rmtree(tmp_path / 'out')
  done = run('nobody')
  assert (done.returncode, done.stdout) == (1, '') and re.fullmatch(r'Error: --arm=nobody: .*\n', done.stderr)


@pytest.mark.slow
@pytest.mark.parametrize('form', ['prompt_completion', 'messages', 'parquet', 'pairs'])
def test_the_datasets_library_reads_a_folder_by_its_name(workdir, tmp_path, form):
  datasets = pytest.importorskip('datasets')
  found = export(workdir, 'wc_low_mixed', form, tmp_path / 'out')
  read = datasets.load_dataset(str(tmp_path / 'out'), split='train', cache_dir=str(tmp_path / 'cache'))
  assert read.num_rows == found.rows
  assert read.to_list() == formats.read(tmp_path / 'out', form)


@pytest.mark.slow
def test_trl_trains_on_the_ids_that_this_project_trains_on(workdir, tmp_path):
  datasets, trl = pytest.importorskip('datasets'), pytest.importorskip('trl')
  transformers = pytest.importorskip('transformers')
  export(workdir, 'wc_low_mixed', 'prompt_completion', tmp_path / 'out')
  conversion.convert('embedded:wc', tmp_path / 'model', 'hf')
  trainer = trl.SFTTrainer(
    model=str(tmp_path / 'model'),
    processing_class=transformers.AutoTokenizer.from_pretrained(tmp_path / 'model'),
    train_dataset=datasets.load_dataset(str(tmp_path / 'out'), split='train', cache_dir=str(tmp_path / 'cache')),
    args=trl.SFTConfig(
      output_dir=str(tmp_path / 'trained'), max_steps=1, report_to=[], use_cpu=True, bf16=False, save_strategy='no'
    ),
  )
  renderer = Renderer(open_model('embedded:wc').tokenizer)
  trained = records.read(Example, workdir / layout.examples(0, 'wc_low_mixed') / layout.EXAMPLES)
  for row, (ids, silent) in zip(trainer.train_dataset, map(renderer.example, trained), strict=True):
    assert row['input_ids'] == list(ids)
    assert row['labels'] == [-100] * silent + list(ids[silent:])
  assert trainer.train().training_loss > 0
