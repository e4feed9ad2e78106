"""The loop: resume, scores, schedule, errors."""

from __future__ import annotations

import dataclasses
import functools
import gc
import json
import math
import re
import weakref

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest

from sweb_jax import layout
from sweb_jax.models import sharding
from sweb_jax.models.checkpoint import CheckpointError
from sweb_jax.models.source import open_model
from sweb_jax.records import Example
from sweb_jax.tasks import get
from sweb_jax.tasks.rendering import Renderer
from sweb_jax.training import (
  Agreement,
  Fit,
  Lora,
  Optimizer,
  Packer,
  Run,
  Schedule,
  TrainingError,
  checkpoint_steps,
  fit,
  restore_to_device,
)
from sweb_jax.training import metrics as metrics_lib
from sweb_jax.training.events import EventFile
from sweb_jax.training.step import mean_loss, start, train_step

STEPS, MARKS = 7, (2, 4, 7)
OPTIMIZER = Optimizer(weight_decay=0.01)


@functools.cache
def wc():
  model = open_model('embedded:wc')
  return model.config, model.load(sharding.make_mesh()), Renderer(model.tokenizer)


@functools.cache
def packer() -> Packer:
  task, renderer = get('arithmetic'), wc()[2]
  examples = [Example(p.id, task.prompt(p), p.solutions[0]) for p in task.problems('train', 10, 0)]
  rendered, ids = [renderer.example(e) for e in examples], [f'problem {i}' for i in range(10)]
  return Packer(rendered, batch=4, steps=STEPS, seed=0, row_length=40, ids=ids)


@functools.cache
def likelihood():
  """Mean likelihood of a solution token of the first batch: a score that any change of the parameters changes."""
  loss = jax.jit(functools.partial(mean_loss, config=wc()[0]))
  return lambda params: float(np.exp(-loss(params, packer().batch(0))))


def run(
  folder, *, on_step=lambda: None, params=None, score=None, rate=2e-3, save_seconds=0.0, optimizer=OPTIMIZER, **how
) -> Fit:
  score = score or (lambda params: (likelihood()(params), 11, 0.5))
  schedule = Schedule(rate, STEPS, warmup=2, final=0.1)
  (found,) = fit(
    wc()[1] if params is None else params,
    wc()[0],
    [Run(packer(), schedule, MARKS, score, folder, watchers=[EventFile(folder / layout.EVENTS)])],
    mesh=sharding.make_mesh(),
    optimizer=optimizer,
    save_seconds=save_seconds,
    on_step=lambda _: on_step(),
    **how,
  )
  return dataclasses.replace(found, params=restore_to_device(found.params))


def metrics(folder) -> list[dict]:
  return [json.loads(line) for line in (folder / 'metrics.jsonl').read_text().splitlines()]


def without_seconds(rows: list[dict]) -> list[dict]:
  return [{k: v for k, v in row.items() if k not in ('seconds', 'tokens_per_second', 'time')} for row in rows]


@pytest.fixture(scope='module')
def undisturbed(tmp_path_factory):
  folder = tmp_path_factory.mktemp('undisturbed')
  return run(folder), metrics(folder)


class Killed(Exception):
  pass


def killer(at: int):
  """Raises in the `at`-th step of the call."""
  steps = iter(range(1, at + 1))

  def on_step():
    if next(steps) == at:
      raise Killed

  return on_step


def same_bits(a, b) -> bool:
  return all(jax.tree.leaves(jax.tree.map(lambda x, y: np.asarray(x).tobytes() == np.asarray(y).tobytes(), a, b)))


@pytest.mark.slow
@pytest.mark.parametrize('kills', [(1,), (2,), (3,), (5,), (7,), (3, 1, 2, 2)], ids=str)
def test_a_killed_run_called_again_ends_as_an_undisturbed_one_bit_for_bit(tmp_path, undisturbed, kills):
  for at in kills:
    with pytest.raises(Killed):
      run(tmp_path, on_step=killer(at))
  counted = []
  again = run(tmp_path, on_step=lambda: counted.append(1))
  assert same_bits(again.params, undisturbed[0].params)
  assert (again.step, again.accuracy, again.scores) == (
    undisturbed[0].step, undisturbed[0].accuracy, undisturbed[0].scores
  )
  assert without_seconds(metrics(tmp_path)) == without_seconds(undisturbed[1])
  if sum(kills) > 2 and len(kills) == 1:
    assert len(counted) < STEPS  # It went on from a saved state, not from the start.


def test_a_resumed_run_frees_its_fresh_state_before_it_reads_the_saved_one(tmp_path, monkeypatch):
  """Both at once would not fit where one does."""
  run(tmp_path)
  shape = wc()[1]['embedder']['input_embedding'].shape
  gc.collect()

  def count() -> int:
    return sum(x.shape == shape for x in jax.live_arrays())

  before, restore, at = count(), ocp.CheckpointManager.restore, []

  def counting(*args, **kwargs):
    at.append(count())
    return restore(*args, **kwargs)

  monkeypatch.setattr(ocp.CheckpointManager, 'restore', counting)
  run(tmp_path)
  assert at == [before]


def test_what_is_saved_has_the_metrics_of_its_step_though_it_is_written_later(tmp_path, monkeypatch):
  save, saved = ocp.CheckpointManager.save, []

  def keeping(self, step, *, args):
    saved.append((step, args['meta'].item))
    return save(self, step, args=args)

  monkeypatch.setattr(ocp.CheckpointManager, 'save', keeping)
  run(tmp_path)
  assert len(saved) > 2
  for step, meta in saved:
    assert [row['step'] for row in meta['metrics']] == list(range(1, step + 1))


class Stopped(Exception):
  pass


@pytest.mark.parametrize(
  'optimizer',
  [OPTIMIZER, Optimizer('adafactor'), Optimizer(lora=Lora(2, 4.0, 'attn'))],
  ids=['adamw', 'adafactor', 'lora'],
)
def test_a_run_asked_to_stop_saves_first_and_loses_no_step(tmp_path, optimizer):
  """At steps drawn by a seed, scored ones among them; never saved by time."""
  wanted = run(tmp_path / 'undisturbed', optimizer=optimizer, save_seconds=1e9)
  rng, done, counted = np.random.default_rng(3), 0, []
  while done < STEPS:
    at = int(rng.integers(1, STEPS - done + 1))
    done += at
    steps = iter(range(1, at + 1))

    def on_step(steps=steps, at=at):
      counted.append(1)
      if next(steps) == at:
        raise Stopped

    with pytest.raises(Stopped):
      run(tmp_path / 'stopped', optimizer=optimizer, save_seconds=1e9, on_step=on_step, save_on=Stopped)
  again = run(tmp_path / 'stopped', optimizer=optimizer, save_seconds=1e9, on_step=lambda: pytest.fail('a step more'))
  assert len(counted) == STEPS
  assert same_bits(again.params, wanted.params) and again.scores == wanted.scores
  assert without_seconds(metrics(tmp_path / 'stopped')) == without_seconds(metrics(tmp_path / 'undisturbed'))


def test_a_run_asked_to_stop_before_a_score_saves_and_scores_when_it_goes_on(tmp_path, undisturbed):
  scored = []

  def before_score():
    if not scored:
      scored.append(None)
      raise Stopped

  def score(params):
    scored.append(likelihood()(params))
    return scored[-1], 11, 0.5

  with pytest.raises(Stopped):
    run(tmp_path, save_seconds=1e9, before_score=before_score, score=score, save_on=Stopped)
  assert scored == [None]
  counted = []
  again = run(tmp_path, save_seconds=1e9, score=score, on_step=lambda: counted.append(1))
  assert len(counted) == STEPS - MARKS[0]
  assert again.scores == undisturbed[0].scores and same_bits(again.params, undisturbed[0].params)


def test_a_state_of_another_model_or_optimiser_is_refused(tmp_path):
  run(tmp_path)
  with pytest.raises(CheckpointError, match=r'state/7: not a state of this model and optimiser; delete '):
    run(tmp_path, optimizer=Optimizer('adafactor'))
  run(tmp_path / 'lora', optimizer=Optimizer(lora=Lora(2, 4.0, 'attn')))
  with pytest.raises(CheckpointError, match='not a state of this model'):
    run(tmp_path / 'lora', optimizer=Optimizer(lora=Lora(3, 4.0, 'attn')))


def test_metrics_have_tokens_mfu_and_an_event_file(tmp_path):
  found = run(tmp_path, flops_per_token=6e5, peak_flops=1e9)
  rows = metrics(tmp_path)
  assert [row['tokens'] for row in rows] == [int((packer().batch(i).segment_ids > 0).sum()) for i in range(STEPS)]
  for row in rows:
    assert row['mfu'] == pytest.approx(row['tokens_per_second'] * 6e5 / 1e9, rel=0.1, abs=1e-3)
  [path] = tmp_path.glob('events.out.tfevents.*')
  with open(path, 'rb') as f:
    found_events = events(f)
  values = {(e.step, v.tag): v.simple_value for e in found_events for v in e.summary.value}
  assert values[3, 'train/loss'] == pytest.approx(rows[2]['loss'])
  assert values[7, 'validation/accuracy'] == pytest.approx(found.scores[-1].accuracy)


def events(file) -> list:
  """What TensorBoard reads from where an open event file stands."""
  from tensorboard.compat.proto import event_pb2

  data, found = file.read(), []
  while data:
    length = int.from_bytes(data[:8], 'little')
    found.append(event_pb2.Event.FromString(data[12 : 12 + length]))
    data = data[16 + length :]
  return found


def test_metrics_can_be_read_while_the_run_goes_on(tmp_path, monkeypatch):
  """All steps but the two that the devices are busy with; a score waits for them."""
  monkeypatch.setattr(metrics_lib, '_PUBLISH_SECONDS', 0.0)
  seen = []

  def on_step():
    seen.append(len(metrics(tmp_path)) if any(tmp_path.glob('*.jsonl')) else 0)

  run(tmp_path, on_step=on_step, save_seconds=1e9)
  assert seen == [max(0, step - 2, *(m for m in MARKS if m < step)) for step in range(1, STEPS + 1)]


@pytest.mark.parametrize('save_seconds', [0.0, 1e9])
def test_a_tensorboard_that_is_open_sees_a_killed_run_go_on(tmp_path, monkeypatch, save_seconds):
  """It reads on in the file that it opened: each step once; also where the run begins again."""
  monkeypatch.setattr(metrics_lib, '_PUBLISH_SECONDS', 0.0)
  with pytest.raises(Killed):
    run(tmp_path, on_step=killer(6), save_seconds=save_seconds)
  [path] = tmp_path.glob('events.out.tfevents.*')
  with open(path, 'rb') as f:
    first = events(f)
    run(tmp_path, save_seconds=save_seconds)
    seen = first + events(f)
    f.seek(0)
    whole = events(f)
  tags = [(e.step, e.summary.value[0].tag.split('/')[0]) for e in seen[1:]]
  assert 1 < len(first) < len(seen)
  assert tags == [(s, kind) for s in range(1, STEPS + 1) for kind in ('train', *['validation'] * (s in MARKS))]
  assert [e.step for e in whole] == [e.step for e in seen]
  times = {row['step']: row['time'] for row in metrics(tmp_path)}
  assert [e.wall_time for e in whole[1:]] == [times[e.step] for e in whole[1:]] and len(set(times.values())) > 1


def test_a_finished_run_called_again_trains_no_step(tmp_path, undisturbed):
  run(tmp_path)
  again = run(tmp_path, on_step=killer(1), score=lambda params: pytest.fail('scored again'))
  assert same_bits(again.params, undisturbed[0].params) and again.scores == undisturbed[0].scores
  assert without_seconds(metrics(tmp_path)) == without_seconds(undisturbed[1])


def test_the_loss_falls_on_a_tiny_fit():
  config, params, _ = wc()
  mesh, optimizer = sharding.make_mesh(), OPTIMIZER
  state = start(params, optimizer, mesh)
  losses = []
  for _ in range(40):
    state, measured = train_step(
      state, packer().batch(0), jnp.float32(5e-3), config=config, optimizer=optimizer, mesh=mesh
    )
    losses.append(float(measured.loss))
  assert losses[-1] < 0.3 * losses[0]


def test_every_step_has_a_line_of_metrics_and_scores_rise(undisturbed):
  rows = undisturbed[1]
  assert [row['step'] for row in rows] == list(range(1, STEPS + 1))
  schedule = Schedule(2e-3, STEPS, warmup=2, final=0.1)
  assert [row['learning_rate'] for row in rows] == [schedule(i) for i in range(STEPS)]
  assert all(row['grad_norm'] > 0 and row['seconds'] >= 0 and math.isfinite(row['loss']) for row in rows)
  assert undisturbed[0].scores[-1].accuracy > likelihood()(wc()[1])


def test_scores_are_those_of_their_steps_and_the_best_parameters_are_returned(undisturbed):
  found = undisturbed[0]
  assert [(s.step, s.tokens) for s in found.scores] == [(2, 11), (4, 11), (7, 11)]
  assert found.accuracy == max(s.accuracy for s in found.scores) == likelihood()(found.params)
  assert found.step == next(s.step for s in found.scores if s.accuracy == found.accuracy)


@pytest.mark.parametrize(
  ('accuracies', 'step'), [((0.2, 0.9, 0.5), 4), ((0.9, 0.2, 0.5), 2), ((0.5, 0.5, 0.5), 2), ((0.0, 0.0, 0.0), 2),
                           ((0.1, 0.5, 0.5), 4)]
)  # fmt: skip
def test_the_best_checkpoint_is_kept_and_of_equals_the_earliest(tmp_path, accuracies, step):
  queue, seen = iter(accuracies), []

  def score(params):
    seen.append(jax.device_get(params))
    return next(queue), 3, 0.0

  found = run(tmp_path, score=score, save_seconds=1e9)
  assert (found.step, found.accuracy) == (step, max(accuracies))
  assert same_bits(found.params, seen[MARKS.index(step)])


def test_the_callers_parameters_are_left_alone(undisturbed):
  assert not any(x.is_deleted() for x in jax.tree.leaves(wc()[1]))
  assert not same_bits(undisturbed[0].params, wc()[1])


def test_parameters_that_the_caller_does_not_keep_are_freed(tmp_path):
  """On accelerators they would be a whole copy beside the state."""
  kept = []

  def fresh():
    params = jax.tree.map(jnp.copy, wc()[1])
    kept.append(weakref.ref(params['final_norm']['scale']))
    return params

  def score(_):
    assert kept[0]() is None
    return 0.0, 0, 0.0

  one = Run(packer(), Schedule(1e-3, 2), [2], score, tmp_path)
  fit(fresh(), wc()[0], [one], mesh=sharding.make_mesh(), optimizer=OPTIMIZER, save_seconds=1e9)


def test_processes_that_train_together_know_two_steps_later_and_one_by_itself_at_once():
  stop = Agreement(sharding.make_mesh())
  assert [stop(n == 1) for n in range(3)] == [False, True, False]
  stop._multi_process = True
  assert [stop(n == 1) for n in range(5)] == [False, False, False, True, False]


def test_a_loss_that_is_no_number_names_step_and_rate(tmp_path):
  message = r'the loss is (\S+) .* at step (\d) with learning rate (\S+); lower config\.train.*: problem \d'
  with pytest.raises(TrainingError, match=message) as e:
    run(tmp_path, rate=4e30)
  _, step, rate = re.search(message, str(e.value)).groups()
  assert int(step) > 1 and float(rate) == Schedule(4e30, STEPS, warmup=2, final=0.1)(int(step) - 1)
  assert not any('NaN' in file.read_text() for file in tmp_path.glob('metrics.jsonl'))


def test_damaged_parameters_are_found_at_the_first_step(tmp_path):
  scale = wc()[1]['final_norm']['scale']
  params = dict(wc()[1], final_norm={'scale': jnp.full_like(scale, jnp.nan)})
  with pytest.raises(TrainingError, match=r'the loss is nan .* at step 1 with learning rate 0\.001;'):
    run(tmp_path, params=params)


def test_the_schedule_warms_up_linearly_then_falls_along_a_cosine():
  schedule = Schedule(peak=1.0, steps=12, warmup=4, final=0.2)
  assert [schedule(i) for i in range(4)] == [0.25, 0.5, 0.75, 1.0]
  assert schedule(4) == 1.0
  assert schedule(8) == pytest.approx(0.6)  # Half-way: between peak and a fifth of it.
  assert schedule(6) == pytest.approx(0.2 + 0.8 * 0.5 * (1 + math.sqrt(0.5)))
  assert schedule(12) == pytest.approx(0.2)


def test_without_warm_up_and_decay_the_rate_is_constant():
  assert {Schedule(3e-4, 10)(i) for i in range(10)} == {3e-4}
  assert Schedule(1.0, 1, warmup=1)(0) == 1.0


def test_marks_are_evenly_spaced_and_hold_the_last_step():
  assert checkpoint_steps(100, 4) == [25, 50, 75, 100]
  assert checkpoint_steps(10, 3) == [3, 7, 10]
  assert checkpoint_steps(7, 1) == [7]
  assert checkpoint_steps(3, 5) == [1, 2, 3]  # No more than there are steps.
