"""Builds the command lines: argv lists, nothing is run here.

What goes to a machine is one shell word a word (`shlex.join`), so that spaces, quotes and newlines arrive as they were.
Everything on a machine is done as root, in /opt/sweb_jax: the boot script and later logins share it.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from launch import chips
from launch.pod import Pod

Argv = list[str]

HOME = '/opt/sweb_jax'
WORKER = f'{HOME}/source/launch/worker.sh'


def boot_script(pod: Pod) -> str:
  """What a machine does when it starts, and again for --action=setup: gets this project and makes its environment."""
  if pod.source.startswith('gs://'):
    get = f'mkdir incoming\ngcloud storage cat {shlex.quote(pod.source)} | tar -xz -C incoming'
  else:
    get = (
      f'git clone --quiet -- {shlex.quote(pod.source)} incoming\n'
      f'git -C incoming checkout --quiet {shlex.quote(pod.commit)}'
    )
  return f"""#!/usr/bin/env bash
set -euo pipefail
export PATH=$PATH:/snap/bin
mkdir -p {HOME}
cd {HOME}
exec 9> lock
flock 9
if [ -e {WORKER} ] && bash {WORKER} status | grep -q ' running$'; then
  echo 'a study is running here; its code is not touched. Stop it first: --action=stop' >&2
  exit 1
fi
rm -rf incoming
{get}
rm -rf source
mv incoming source
exec bash {WORKER} setup
"""


def upload(pod: Pod) -> list[Argv]:
  """Puts a tarball of this clone, if the study's config is in it, on the bucket; nothing for a Git address."""
  if not pod.source.startswith('gs://'):
    return []
  local = f'build/{pod.name}.tar.gz'
  config = pod.study[0].partition('=')[2]
  return [
    ['git', 'cat-file', '-e', f'{pod.commit}:{config}'],  # Before machines are paid for that would not find it.
    ['mkdir', '-p', 'build'],
    ['git', 'archive', '--format=tar.gz', f'--output={local}', pod.commit],
    ['gcloud', 'storage', 'cp', local, pod.source, *_project(pod)],
  ]


def create(pod: Pod) -> Argv:
  """Asks for the pod: a queued resource, or a TPU VM."""
  if pod.queued:
    nodes = [f'--node-id={pod.name}']
    if pod.slices > 1:
      nodes = [f'--node-count={pod.slices}', f'--node-prefix={pod.name}']
    head = _tpus(pod, 'queued-resources', 'create', pod.name)
    head += [*nodes, f'--runtime-version={pod.runtime}']
  else:
    head = [*_tpus(pod, 'tpu-vm', 'create', pod.name), f'--version={pod.runtime}']
  head += [f'--accelerator-type={pod.slice.accelerator_type}', f'--network={pod.network}']
  if pod.spot:
    head.append('--spot')
  if pod.service_account:
    head.append(f'--service-account={pod.service_account}')
  return [*head, '--scopes=cloud-platform', f'--metadata={_unsplit(f"startup-script={boot_script(pod)}")}']


def setup(pod: Pod) -> Argv:
  """Runs the boot script on every machine, or waits for the one that runs."""
  return on_workers(pod, ['sudo', 'bash', '-c', boot_script(pod)])


def run(pod: Pod) -> Argv:
  """Starts the study on every machine and returns."""
  return on_workers(pod, ['sudo', 'bash', WORKER, 'start', *pod.study])


def status(pod: Pod) -> Argv:
  """Prints a line a machine: 'sweb_jax HOST none|running|lost' or 'sweb_jax HOST exited CODE'."""
  return on_workers(pod, ['sudo', 'bash', WORKER, 'status'])


def logs(pod: Pod) -> Argv:
  """Prints the end of each machine's log."""
  return on_workers(pod, ['sudo', 'bash', WORKER, 'log'])


def stop(pod: Pod) -> Argv:
  """Asks the study on every machine to save and stop, and waits for it."""
  return on_workers(pod, ['sudo', 'bash', WORKER, 'stop'])


def describe(pod: Pod) -> Argv:
  """Prints the state as JSON."""
  return [*_tpus(pod, 'queued-resources' if pod.queued else 'tpu-vm', 'describe', pod.name), '--format=json']


def delete(pod: Pod) -> Argv:
  """Deletes the pod with its machines; what lies on the bucket stays."""
  argv = _tpus(pod, 'queued-resources' if pod.queued else 'tpu-vm', 'delete', pod.name)
  return [*argv, '--force'] if pod.queued else argv


def actions(pod: Pod) -> dict[str, list[Argv]]:
  """Every action's commands, in their order; of watch, those that it repeats as it needs them."""
  follow = [describe(pod), status(pod), setup(pod), run(pod)]
  return {
    'create': [*upload(pod), create(pod)],
    'setup': [*upload(pod), setup(pod)],
    'run': [run(pod)],
    'watch': [*follow, delete(pod), create(pod)],
    'logs': [logs(pod)],
    'stop': [stop(pod)],
    'delete': [delete(pod)],
    'cost': [],
  }


def printed(pod: Pod, action: str, hours: float | None) -> str:
  """What --dry_run prints: the action's commands, ready to be pasted into a shell, and the cost."""
  blocks = [shlex.join(command) for command in actions(pod)[action]]
  return '\n\n'.join([*blocks, chips.describe_cost(pod.slice, pod.slices, pod.zone, pod.spot, hours)])


def on_workers(pod: Pod, remote: Sequence[str]) -> Argv:
  """Runs a command on all machines of all slices at once."""
  if pod.slices > 1:
    argv = [*_tpus(pod, 'queued-resources', 'ssh', pod.name), '--node=all']
  else:
    argv = _tpus(pod, 'tpu-vm', 'ssh', pod.name)
  return [*argv, '--worker=all', f'--command={shlex.join(remote)}']


def _unsplit(text: str) -> str:
  """The text as one value: gcloud splits at commas, or at what is announced like this, and is not in the text."""
  delimiter = '|||'
  while delimiter in text:
    delimiter += '|'
  return f'^{delimiter}^{text}'


def _tpus(pod: Pod, *words: str) -> Argv:
  return ['gcloud', 'compute', 'tpus', *words, *_project(pod), f'--zone={pod.zone}', '--quiet']


def _project(pod: Pod) -> Argv:
  return [f'--project={pod.project}']
