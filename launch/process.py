"""Runs one command line with a time limit, and says what its failure means."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
from collections.abc import Sequence

from launch.chips import LaunchError
from launch.pod import Pod

_Meaning = tuple[str, bool]
_WHY_HUNG = {
  True: 'Is the network up? A login waits for a key that is not loaded: run `ssh-add ~/.ssh/google_compute_engine`',
  False: 'Is the network up? What it asked for may go on: look again before you repeat it',
}


class HungError(LaunchError):
  """A command took longer than its limit."""


def call(argv: Sequence[str], seconds: float) -> subprocess.CompletedProcess[str]:
  """Runs a command to its end. Raises LaunchError where the program is missing, HungError past the limit."""
  try:
    # A session of its own: gcloud starts processes that would outlive it.
    process = subprocess.Popen(
      argv,
      stdin=subprocess.DEVNULL,
      stdout=subprocess.PIPE,
      stderr=subprocess.PIPE,
      text=True,
      errors='replace',
      start_new_session=True,
    )
  except FileNotFoundError:
    where = ': see https://cloud.google.com/sdk/docs/install' if argv[0] == 'gcloud' else ''
    raise LaunchError(f'{argv[0]} is not installed, or not on PATH{where}') from None
  try:
    out, err = process.communicate(timeout=seconds)
  except BaseException as e:
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    if isinstance(e, subprocess.TimeoutExpired):
      raise HungError(f'`{short(argv)}` did not end within {seconds:g} s. {_WHY_HUNG["ssh" in argv]}') from None
    raise
  return subprocess.CompletedProcess(list(argv), process.returncode, out, err)


def short(argv: Sequence[str]) -> str:
  """A command line without what goes to the machines."""
  return shlex.join(a for a in argv if not a.startswith(('--command=', '--metadata=')))


# What gcloud and Google's services write -> what to do, and whether it is so again at once. The first found counts.
_OF_GCLOUD = (
  (
    r'required property \[project\]|attribute \[project\]|project property must be set',
    'no project is set: give --config.project=ID (`gcloud projects list` shows yours)',
    True,
  ),
  (
    r'do not currently have an active account|any valid credentials|reauthentication|problem refreshing|invalid_grant'
    r'|unauthenticated',
    'you are not logged in: run `gcloud auth login`',
    True,
  ),
  (
    r'billing (account|to be enabled|is disabled|must be enabled)|billing_disabled',
    'project {project} has no billing account (a free trial does not do): link one in the console, under Billing',
    True,
  ),
  (
    r'consumer_invalid|(denied on|access) resource:? project|unknown project id|project \S+ (was )?not found',
    'project {project} does not exist, or is closed to your account: `gcloud projects list` shows the ids of yours',
    True,
  ),
  (
    r'bucket does not exist|gs://\S+ not found: 404',
    'the bucket {bucket} does not exist: `gcloud storage buckets create {bucket} --project={project} '
    '--location={region} --uniform-bucket-level-access` makes it',
    True,
  ),
  (
    r'storage\.(objects|buckets)\.\w+',
    'the bucket {bucket} is closed to the account below, or does not exist: `gcloud storage buckets '
    'add-iam-policy-binding {bucket} --role=roles/storage.objectAdmin --member=serviceAccount:ADDRESS` opens it '
    '(user:ADDRESS for a person)',
    True,
  ),
  (r'matched no objects', '{source} is not there: --action=setup uploads it', True),
)
_OF_TPUS = (
  (
    r'api has not been used|api .*not enabled|service_disabled',
    'the Cloud TPU API is off: run `gcloud services enable tpu.googleapis.com --project={project}`',
    True,
  ),
  (
    r'accelerator \S+ was not found in zone|accelerator.?type.*(not found|not available|not supported)',
    'zone {zone} has no {accelerator}; zones of its kind are {zones}',
    True,
  ),
  (
    r'location \S+ is not found|permission denied on .?locations/|unknown zone',
    'zone {zone} does not exist, or is closed to project {project}; zones of {accelerator} are {zones}',
    True,
  ),
  (
    r'permission to submit requests for accelerator',
    'project {project} may not use {accelerator} in {zone}: ask for quota (console: IAM & Admin, Quotas, Cloud TPU '
    'API), or take another zone: {zones}',
    True,
  ),
  (
    r"quota metric '[^']*request|rate.?limit",
    'Google was asked too often in a minute: wait, or look less often (--config.watch.poll_seconds)',
    False,
  ),
  (
    r"quota .*\blimit:? 0\b",
    'project {project} has no quota for {accelerator} in {zone} ({kind}): ask for some (console: IAM & Admin, Quotas, '
    'Cloud TPU API), take another zone ({zones}), or --config.spot={other_spot}',
    True,
  ),
  (
    r"quota (limit |metric )?'|quota exceeded|quota .*exhausted|exceeded .*quota|insufficient quota",
    'project {project} has no quota left for {accelerator} in {zone} ({kind}): ask for more (console: IAM & Admin, '
    'Quotas, Cloud TPU API), take another zone ({zones}), or --config.spot={other_spot}; suspended requests count '
    'until they are deleted',
    False,
  ),
  (
    r'already exists|already_exists',
    'the name {name!r} is taken in {zone}: --action=delete deletes what has it, --config.name=NAME takes another',
    False,
  ),
  (
    r'no more capacity|insufficient .*capacity|resource_exhausted',
    'zone {zone} has no {accelerator} free now: with --config.queued=True the request waits; or take another zone: '
    '{zones}',
    False,
  ),
  (
    r'ssh key is not present in the ssh agent',
    "the machines' key is not loaded: run `eval $(ssh-agent) && ssh-add ~/.ssh/google_compute_engine`",
    True,
  ),
  (r'has terminal state', 'the pod was taken away, or stopped: --action=watch brings it back', False),
  (
    r'networks?\b.* (not found|not exist|cannot be found)|no network named',
    'project {project} has no network {network!r}: `gcloud compute networks create {network} --project={project} '
    '--subnet-mode=auto` makes it, and `gcloud compute firewall-rules create {network}-ssh --project={project} '
    '--network={network} --allow=tcp:22` lets you log in; or --config.network=NAME',
    True,
  ),
  (
    r'access to service account|service account \S+ (does not exist|was not found|not found)',
    'the service account of the machines ({account}) does not exist, or your account may not use it: it needs the role '
    'Service Account User (roles/iam.serviceAccountUser)',
    True,
  ),
  (
    r'permission_denied|does not have permission|permission .* denied',
    'your account may not do this in project {project}: it needs the roles TPU Admin (roles/tpu.admin) and Service '
    'Account User (roles/iam.serviceAccountUser)',
    True,
  ),
  (r'not_found', 'there is no pod {name!r} in {zone}: --action=create makes it', False),
)
_OF_MACHINES = (
  (
    r'worker\.sh: no such file',
    'the machines have no code yet: each gets it some minutes after it starts; --action=setup gets it again',
    False,
  ),
)


def explain(text: str, pod: Pod, kinds: Sequence[tuple[str, str, bool]] = _OF_GCLOUD + _OF_TPUS) -> _Meaning | None:
  """What a message of gcloud means for this pod and what to do, and whether a second try would meet it again.

  None for a message that is not among the `kinds`.
  """
  generation = pod.slice.name.partition('-')[0]
  text = _end(text)
  for pattern, meaning, lasting in kinds:
    if re.search(pattern, text):
      text = meaning.format(
        project=pod.project,
        zone=pod.zone,
        region=pod.zone.rpartition('-')[0],
        name=pod.name,
        network=pod.network,
        account=pod.service_account or 'the default one of Compute Engine',
        source=pod.source,
        bucket=pod.bucket,
        accelerator=f'{generation} ({pod.slice.accelerator_type})',
        zones=', '.join(pod.slice.generation.zones),
        kind='spot' if pod.spot else 'on demand',
        other_spot=not pod.spot,
      )
      return text, lasting
  return None


def is_missing(stderr: str) -> bool:
  """True where gcloud says that the pod itself does not exist."""
  return bool(re.search(r'not_found|/(queuedresources|nodes)/\S+ was not found', _end(stderr)))


def _end(text: str) -> str:
  """What is looked at of a message: machines may write any amount, and the expressions above are slow on long lines."""
  return text[-10_000:].lower()


def known(done: subprocess.CompletedProcess[str], pod: Pod) -> _Meaning | None:
  """What the failure of a command means, as of `explain`. None where it is not known."""
  if done.args[0] != 'gcloud':
    return None
  if 'tpus' not in done.args:
    return explain(done.stderr, pod, _OF_GCLOUD)
  if 'ssh' not in done.args:
    return explain(done.stderr, pod)
  # The rest is what programs on the machines wrote.
  own = '\n'.join(line for line in done.stderr.splitlines() if line.startswith('ERROR: (gcloud.'))
  return explain(done.stderr, pod, _OF_MACHINES) or explain(own, pod)


def error(done: subprocess.CompletedProcess[str], pod: Pod) -> LaunchError:
  """The error of a command that failed: what it means, and gcloud's own words."""
  words = '\n'.join(done.stderr.strip().splitlines()[-6:])
  found = known(done, pod)
  meaning = found[0] if found else f'`{short(done.args)}` failed with exit code {done.returncode}'
  return LaunchError(f'{meaning}\n{words}'.rstrip())
