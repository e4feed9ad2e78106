"""Following a pod, and what a newcomer is told, against a gcloud that plays recorded states, failures and hangs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from launch import commands, process, watch
from launch.chips import LaunchError

ROOT = Path(__file__).parents[2]
PATIENCE = watch.Patience(poll=60.0, command=20.0, attempts=3, healthy=100.0, backoff=60.0)
MISSING = {
  'code': 1,
  'err': "ERROR: (gcloud.compute.tpus.queued-resources.describe) NOT_FOUND: Resource 'projects/my-project/locations/"
  "us-west4-a/queuedResources/sweb' was not found\n",
}


def state(name: str, message: str = '') -> dict:
  answer = {'name': 'projects/my-project/locations/us-west4-a/queuedResources/sweb', 'state': {'state': name}}
  if message:
    answer['state']['failedData'] = {'error': {'code': 8, 'message': message}}
  return {'out': json.dumps(answer)}


def study(*words: str) -> dict:
  """What the machines print; gcloud's own words go to stderr."""
  lines = [f'sweb_jax t1v-n-w-{i} {word}\n' for i, word in enumerate(words)]
  return {'out': ''.join(lines), 'err': 'SSH: Attempting to connect to worker 0...\n'}


@pytest.fixture
def follow(gcloud, load):
  """A function: watches 4 machines through a play; returns the exit code, pauses longer than a poll, and reports."""

  def run(patience=PATIENCE, name='v5p_32', **answers):
    gcloud.play(**answers)
    slept, reports = [], []
    pod = load(name)

    def sleep(seconds: float) -> None:
      slept.append(seconds)
      assert len(slept) < 100, reports

    try:
      code = watch.watch(pod, patience, sleep, reports.append)
    except LaunchError as e:
      code = e
    return code, [s for s in slept if s > patience.poll], reports

  return run


def test_a_queued_pod_is_waited_for_and_its_study_started_once(follow, gcloud, load):
  states = ['ACCEPTED', 'WAITING_FOR_RESOURCES', 'WAITING_FOR_RESOURCES', 'PROVISIONING', 'ACTIVE']
  code, pauses, reports = follow(
    describe=[state(s) for s in states],
    status=[study(*['none'] * 4), study(*['running'] * 4), study(*['running'] * 4), study(*['exited 0'] * 4)],
  )
  assert (code, pauses) == (0, [])
  assert [k for k in gcloud.kinds if k not in ('describe', 'status')] == ['setup', 'start']
  assert dict(gcloud.asked)['start'] == commands.run(load('v5p_32'))[1:]
  said = [r for r in reports if 'pod is' in r]
  assert said[:4] == [f'pod is {s}' for s in ('ACCEPTED', 'WAITING_FOR_RESOURCES', 'PROVISIONING', 'ACTIVE')]
  assert reports[-1] == 'study has ended well' and not [r for r in reports if 'before it was watched' in r]


def test_a_preempted_pod_is_deleted_and_created_again_and_runs_the_same_command(follow, gcloud, load):
  code, pauses, _ = follow(
    describe=[
      *[state('ACTIVE')] * 2, state('SUSPENDING'), state('SUSPENDED'), state('DELETING'), MISSING,
      state('WAITING_FOR_RESOURCES'), state('ACTIVE'),
    ],
    status=[study(*['none'] * 4), study(*['running'] * 4), study(*['none'] * 4), study(*['exited 0'] * 4)],
  )  # fmt: skip
  assert (code, pauses) == (0, [])
  actions = [(k, argv) for k, argv in gcloud.asked if k not in ('describe', 'status')]
  assert [k for k, _ in actions] == ['setup', 'start', 'delete', 'create', 'setup', 'start']
  pod = load('v5p_32')
  assert dict(actions)['create'] == commands.create(pod)[1:]
  assert [argv for k, argv in actions if k == 'start'] == [commands.run(pod)[1:]] * 2


def test_a_deletion_that_is_not_answered_in_time_is_waited_for_and_the_pod_created_again(follow, gcloud, monkeypatch):
  call, deletions = process.call, []

  def without_answer(argv, seconds):
    if 'delete' in argv:
      deletions.append(seconds)
      raise process.HungError('gcloud did not end')
    return call(argv, seconds)

  monkeypatch.setattr(process, 'call', without_answer)
  code, _, _ = follow(
    describe=[state('SUSPENDED'), state('DELETING'), MISSING, state('ACTIVE')], status=[study(*['exited 0'] * 4)]
  )
  assert code == 0
  assert deletions == [6 * PATIENCE.command]  # A slice takes minutes.
  assert 'create' in gcloud.kinds


def test_a_pod_that_somebody_deletes_after_it_was_brought_back_is_not_created_behind_his_back(follow, gcloud):
  code, _, _ = follow(
    describe=[state('SUSPENDED'), state('ACTIVE'), MISSING], status=[study(*['running'] * 4)]
  )  # The first deletion was undone, as by a reset in the console.
  assert '--action=create' in str(code)
  assert 'create' not in gcloud.kinds


@pytest.mark.parametrize('code', [0, 1])
def test_a_study_that_had_ended_before_is_not_reported_as_this_watchs(follow, code):
  found, _, reports = follow(describe=[state('ACTIVE')], status=[study(*[f'exited {code}'] * 4)])
  assert found == code
  assert 'it had ended before it was watched; --action=run starts it again, or the next' in reports


def test_the_pause_doubles_and_the_attempts_end(follow, gcloud):
  code, pauses, _ = follow(describe=[answer for _ in range(9) for answer in (state('FAILED', 'no luck'), MISSING)])
  assert isinstance(code, LaunchError)
  assert 'gave up after 3 attempts' in str(code)
  assert pauses == [120.0, 240.0]  # The first is as long as a look: 60 s.
  assert gcloud.kinds.count('delete') == 3


def test_a_pod_that_failed_for_want_of_quota_is_explained_and_given_up_where_there_is_none_at_all(follow, gcloud):
  words = MISTAKES['no quota left'][0].removeprefix('ERROR: ')
  _, _, reports = follow(describe=[state('FAILED', words), MISSING, state('ACTIVE')], status=[study(*['exited 0'] * 4)])
  assert [r for r in reports if 'ask for more (console: IAM & Admin' in r]
  (Path(os.environ['FAKE_GCLOUD']) / 'asked.jsonl').unlink()
  code, _, _ = follow(describe=[state('FAILED', MISTAKES['no quota'][0].removeprefix('ERROR: '))])
  assert 'has no quota for v5p' in str(code) and gcloud.kinds == ['describe']


def test_running_for_a_while_makes_the_attempts_count_anew(follow):
  cycle = [*[study(*['running'] * 4)] * 3, study(*['exited 75'] * 4)]
  code, _, _ = follow(describe=[state('ACTIVE')], status=[*cycle * 6, study(*['exited 0'] * 4)])
  assert code == 0


def test_a_study_that_saved_or_was_lost_is_started_again_on_the_same_pod(follow, gcloud):
  code, _, _ = follow(
    describe=[state('ACTIVE')],
    status=[
      study('exited 75', 'exited 75', 'exited 1', 'exited 75'),
      study('lost', 'exited 1', 'exited 1', 'exited 1'),
      study('none', 'exited 1', 'exited 1', 'exited 1'),
      study(*['exited 0'] * 4),
    ],
  )
  assert code == 0
  assert gcloud.kinds.count('start') == 3
  assert 'delete' not in gcloud.kinds


def test_machines_that_wait_for_a_dead_one_are_stopped_and_all_started_again(follow, gcloud):
  half, ended = study('lost', *['running'] * 3), study('lost', *['exited 75'] * 3)
  code, _, _ = follow(
    describe=[state('ACTIVE')],
    status=[half, half, ended, study('exited 0', *['running'] * 3), study(*['exited 0'] * 4)],
  )
  assert code == 0
  assert [k for k in gcloud.kinds if k not in ('describe', 'status')] == ['stop', 'setup', 'start']


@pytest.mark.parametrize(
  ('codes', 'expected'), [(('1', '0', '1', '1'), 1), (('130',) * 4, 130), (('0', '0', '3', '130'), 3)]
)
def test_a_failed_study_is_not_repeated_and_its_exit_code_returned(follow, gcloud, codes, expected):
  code, _, _ = follow(describe=[state('ACTIVE')], status=[study(*[f'exited {c}' for c in codes])])
  assert code == expected
  assert 'start' not in gcloud.kinds


def test_an_error_that_came_with_a_preemption_is_not_the_studys(follow, gcloud):
  code, _, _ = follow(
    describe=[state('ACTIVE'), state('SUSPENDING'), state('SUSPENDED'), MISSING, state('ACTIVE')],
    status=[study(*['exited 1'] * 4), study(*['none'] * 4), study(*['exited 0'] * 4)],
  )
  assert code == 0
  assert [k for k in gcloud.kinds if k in ('delete', 'create', 'start')] == ['delete', 'create', 'start']


def test_a_plain_tpu_vm_is_followed_too(follow, gcloud):
  states = [{'out': json.dumps({'name': 'x', 'state': s})} for s in ('CREATING', 'READY', 'PREEMPTED', 'READY')]
  code, _, reports = follow(
    name='v5e_8', describe=[*states[:3], MISSING, states[3]], status=[study('running'), study('exited 0')]
  )
  assert code == 0
  assert reports[:2] == ['pod is CREATING', 'pod is ACTIVE']
  assert [argv[2] for kind, argv in gcloud.asked if kind in ('delete', 'create')] == ['tpu-vm'] * 2


def test_a_gcloud_that_hangs_is_ended_and_asked_again(follow, gcloud):
  impatient = watch.Patience(poll=60.0, command=1.0, attempts=3, healthy=100.0, backoff=60.0)
  code, _, reports = follow(
    impatient, describe=[{'hang': 60}, state('ACTIVE')], status=[{'hang': 60}, study(*['exited 0'] * 4)]
  )
  assert code == 0
  assert [r.partition(' --project')[0] for r in reports if 'did not end within 1 s' in r] == [
    'trying again: `gcloud compute tpus queued-resources describe sweb',
    'trying again: `gcloud compute tpus tpu-vm ssh sweb',
  ]


def test_machines_that_never_answer_end_the_watch(follow, gcloud):
  code, pauses, _ = follow(describe=[state('ACTIVE')], status=[study('running', 'running')])
  assert '2 of 4 machines answered' in str(code)
  assert sum(pauses) > 40 * 60  # As long as a laptop may be off the net.
  code, _, _ = follow(describe=[state('ACTIVE')], status=[study(*['none'] * 4)], setup=[{'code': 1, 'err': 'pip: no'}])
  assert 'gave up' in str(code)


def test_a_pod_that_was_never_created_is_no_preemption(follow, gcloud):
  code, _, _ = follow(describe=[MISSING])
  assert '--action=create' in str(code)
  assert gcloud.kinds == ['describe']


# As gcloud 528 and Google's services have written them.
MISTAKES = {
  'no project': (
    'The [queued_resource] resource is not properly specified.\nFailed to find attribute [project]. The attribute can '
    'be set in the following ways:',
    '--config.project=',
  ),
  'not logged in': (
    'ERROR: (gcloud.compute.tpus.queued-resources.create) You do not currently have an active account selected.',
    'gcloud auth login',
  ),
  'API off': (
    'ERROR: PERMISSION_DENIED: Cloud TPU API has not been used in project 12 before or it is disabled.',
    'gcloud services enable tpu.googleapis.com --project=my-project',
  ),
  'wrong zone': (
    'ERROR: INVALID_ARGUMENT: Cloud TPU received a bad request. the accelerator v5litepod-64 was not found in zone '
    'us-west4-a [EID: 0x945ef875d10e8e13]',
    'zone us-west4-a has no v5e (v5litepod-64); zones of its kind are europe-west4-b, us-central1-a',
  ),
  'no zone': (
    'ERROR: PERMISSION_DENIED: Location us-west4-a is not found or access is unauthorized.',
    'zone us-west4-a does not exist, or is closed to project my-project',
  ),
  'no quota': (
    "ERROR: RESOURCE_EXHAUSTED: Quota limit 'TPUV5sPreemptibleLitepodPerProjectPerZoneForTPUAPI' has been exceeded. "
    'Limit: 0 in zone us-west4-a.',
    'project my-project has no quota for v5e (v5litepod-64) in us-west4-a (spot): ask for some',
  ),
  'no quota left': (
    "ERROR: RESOURCE_EXHAUSTED: Quota limit 'TPUV5sPreemptibleLitepodPerProjectPerZoneForTPUAPI' has been exceeded. "
    'Limit: 64 in zone us-west4-a.',
    'no quota left for v5e (v5litepod-64) in us-west4-a (spot)',
  ),
  'too many requests': (
    "ERROR: (gcloud.compute.tpus.queued-resources.create) RESOURCE_EXHAUSTED: Quota exceeded for quota metric 'API "
    "requests' and limit 'API requests per minute' of service 'tpu.googleapis.com'",
    '--config.watch.poll_seconds',
  ),
  'no capacity': (
    'ERROR: Error code 8, message: There is no more capacity in the zone "us-west4-a"; you can try in another zone',
    'has no v5e (v5litepod-64) free now',
  ),
  'name taken': (
    "ERROR: ALREADY_EXISTS: Resource 'projects/my-project/locations/us-west4-a/queuedResources/sweb' already exists",
    "the name 'sweb' is taken",
  ),
  'no key': ('ERROR: SSH Key is not present in the SSH agent. Please run "ssh-add k"', 'eval $(ssh-agent)'),
  'no billing': ('ERROR: PERMISSION_DENIED: This API method requires billing to be enabled.', 'no billing account'),
  'no such project': (
    'ERROR: (gcloud.compute.tpus.queued-resources.create) PERMISSION_DENIED: Permission denied on resource project '
    'my-project.',
    'project my-project does not exist, or is closed to your account: `gcloud projects list`',
  ),
  'no network': (
    "ERROR: (gcloud.compute.tpus.queued-resources.create) INVALID_ARGUMENT: The resource 'projects/my-project/global/"
    "networks/default' was not found",
    '`gcloud compute networks create default --project=my-project --subnet-mode=auto`',
  ),
  'no role': ("ERROR: PERMISSION_DENIED: Permission 'tpu.nodes.create' denied", 'roles/tpu.admin'),
}


@pytest.mark.parametrize('mistake', MISTAKES)
def test_a_newcomers_mistake_gets_a_message_that_says_what_to_do(gcloud, load, mistake):
  words, advice = MISTAKES[mistake]
  gcloud.play(create=[{'code': 1, 'err': words + '\n'}])
  pod = load('v5e_64')
  error = str(process.error(process.call(commands.create(pod), 20.0), pod))
  assert advice in error.splitlines()[0]
  assert words.splitlines()[-1] in error  # gcloud's own words are kept.


BUCKETS = {
  'ERROR: HTTPError 404: The specified bucket does not exist.': (
    'gcloud storage buckets create gs://my-bucket --project=my-project --location=us-west4'
  ),
  'ERROR: (gcloud.storage.cp) gs://my-bucket not found: 404.': 'gcloud storage buckets create gs://my-bucket',
  'ERROR: (gcloud.storage.cp) HTTPError 403: me@example.org does not have storage.objects.create access to the Google '
  'Cloud Storage object.': 'gcloud storage buckets add-iam-policy-binding gs://my-bucket',
}


@pytest.mark.parametrize('words', BUCKETS)
def test_a_bucket_that_is_missing_or_closed_is_not_taken_for_a_pod(gcloud, load, words):
  gcloud.play(storage=[{'code': 1, 'err': words + '\n'}])
  pod = load('v5e_64')
  error = str(process.error(process.call(commands.upload(pod)[-1], 20.0), pod))
  assert BUCKETS[words] in error.splitlines()[0]


@pytest.mark.parametrize(
  ('words', 'advice'),
  [
    ('bash: line 11: gcloud: command not found', 'failed with exit code 1'),  # No pod is missing.
    ('OSError: [Errno 122] Disk quota exceeded', 'failed with exit code 1'),  # Nor quota for chips.
    ('bash: /opt/sweb_jax/source/launch/worker.sh: No such file or directory', '--action=setup'),
    (
      'ERROR: (gcloud.storage.cat) HTTPError 403: 12-compute@developer.gserviceaccount.com does not have '
      'storage.objects.get access to the Google Cloud Storage object.',
      'gcloud storage buckets add-iam-policy-binding gs://my-bucket',
    ),
    (
      'ERROR: (gcloud.compute.tpus.tpu-vm.ssh) This TPU has terminal state "PREEMPTED", so it cannot be used anymore.',
      '--action=watch',
    ),
    ("ERROR: (gcloud.compute.tpus.tpu-vm.ssh) NOT_FOUND: Resource 'projects/p/x' was not found", '--action=create'),
  ],
)
def test_what_programs_on_the_machines_write_is_not_taken_for_words_of_gcloud(gcloud, load, words, advice):
  pod = load('v5e_64')
  gcloud.play(setup=[{'code': 1, 'err': f'SSH: Attempting to connect to worker 0...\n{words}\n'}])
  error = str(process.error(process.call(commands.setup(pod), 20.0), pod))
  assert advice in error.splitlines()[0]
  assert words in error


def launch(*flags: str, **env: str) -> subprocess.CompletedProcess:
  command = [sys.executable, '-m', 'launch.tpu', '--config=launch/configs/v5e_64.py', *flags]
  return subprocess.run(command, cwd=ROOT, env=os.environ | env, capture_output=True, text=True, check=False)


def test_the_command_ends_with_a_message_and_a_code_that_is_not_zero(gcloud):
  words, advice = MISTAKES['no quota']
  gcloud.play(describe=[state('FAILED', 'billing is disabled')], create=[{'code': 1, 'err': words}])
  pod = ('--config.project=my-project', '--config.workdir=gs://my-bucket/runs/one')
  done = launch(*pod, '--config.source=https://example.org/x.git', '--action=create')
  assert (done.returncode, 'Traceback' in done.stderr) == (1, False)
  assert advice in done.stderr
  watched = launch(*pod, '--action=watch')
  assert watched.returncode == 1
  assert 'no billing account' in watched.stderr
  unset = launch('--config.workdir=gs://my-bucket/runs/one', '--action=watch')
  assert unset.returncode == 1
  assert 'gcloud projects list' in unset.stderr
  forgotten = launch(*pod, '--config.study.config=configs/forgotten.py', '--action=create')
  assert (forgotten.returncode, 'Traceback' in forgotten.stderr) == (1, False)
  assert "'configs/forgotten.py' does not exist in 'HEAD'" in forgotten.stderr
  elsewhere = launch(*pod, '--config.zone=us-east5-b', '--action=cost', '--hours=1')
  assert (elsewhere.returncode, 'Traceback' in elsewhere.stderr) == (1, False)
  assert 'zones of v5e are europe-west4-b, us-central1-a' in elsewhere.stderr
  nowhere = launch(*pod, '--config=launch/configs/no_such.py', '--action=delete')
  assert (nowhere.returncode, 'Traceback' in nowhere.stderr) == (1, False)
  assert 'no_such.py' in nowhere.stderr
  absent = launch(*pod, '--action=delete', PATH='/nonexistent')
  assert absent.returncode == 1
  assert 'gcloud is not installed' in absent.stderr


def test_watch_ends_with_the_studys_exit_code(gcloud):
  gcloud.play(describe=[state('ACTIVE')], status=[study(*['exited 0'] * 15, 'exited 3')])
  pod = ('--config.project=my-project', '--config.workdir=gs://my-bucket/runs/one', '--config.watch.poll_seconds=0.01')
  done = launch(*pod, '--action=watch')
  assert done.returncode == 3
  assert '--action=delete' in done.stdout
