"""Follows a pod until the study has ended: starts it, brings the pod back after a preemption, and reports."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Sequence
from subprocess import CompletedProcess

from launch import commands, process
from launch.chips import LaunchError
from launch.pod import Pod
from launch.process import HungError

PREEMPTED = 75
"""The study's exit code when it was told to go, and has saved."""
STOPPED = 130

# What a TPU VM is called where a queued resource has another word.
_STATES = {'READY': 'ACTIVE', 'PREEMPTED': 'SUSPENDED', 'TERMINATED': 'SUSPENDED', 'STOPPED': 'SUSPENDED'}
_GONE = ('SUSPENDED', 'FAILED')
_TROUBLES = 10  # Failures of gcloud in a row, whatever they are, before watching ends.


@dataclasses.dataclass(frozen=True)
class Patience:
  """How long to wait for what, in seconds."""

  poll: float
  command: float
  """A gcloud command that takes longer hangs; to set up, stop, create and delete may take six times as long."""
  attempts: int
  """Restarts in a row that brought no `healthy` of running, before giving up."""
  healthy: float
  backoff: float
  """Before the first re-creation; doubles each time, up to an hour."""


class _Watch:
  """One run of `watch`."""

  def __init__(self, pod: Pod, patience: Patience, sleep: Callable[[float], None], report: Callable[[str], None]):
    self._pod, self._patience, self._sleep, self._tell = pod, patience, sleep, report
    self._said = ''
    self._attempts = 0
    self._ran = 0.0  # Seconds that the study was seen running since the last restart.
    self._broken = 0  # Looks in a row at a study that some machine has lost.
    self._troubles = 0
    self._deleted = False  # By us: that the pod is missing is no surprise.
    self._seen = False  # The study, at work.

  def run(self) -> int:
    while True:
      code = self._step()
      if code is not None:
        return code
      self._sleep(self._patience.poll)

  def _step(self) -> int | None:
    """One look at the pod, and what follows from it. Returns the study's exit code once it has ended."""
    state, message = self._state()
    if state == '':
      return None
    self._report(f'pod is {state}' + (f': {message}' if message else ''))
    if state == 'MISSING':
      if not self._deleted:
        raise LaunchError(f'there is no pod {self._pod.name!r} in {self._pod.zone}: --action=create makes it')
      self._create()
    elif state in _GONE:
      known = process.explain(message, self._pod) if message else None
      if known and known[1]:
        raise LaunchError(f'{known[0]}\n{message}')
      if known:
        self._report(known[0])
      self._recreate()
    elif state == 'ACTIVE':
      self._deleted = False
      return self._look_at_study()
    return None

  def _state(self) -> tuple[str, str]:
    """State of the pod and Google's message with it; ('', '') where gcloud did not say."""
    done = self._call(commands.describe(self._pod))
    if done is None:
      return '', ''
    if done.returncode:
      if process.is_missing(done.stderr):
        return 'MISSING', ''
      self._trouble(done)
      return '', ''
    try:
      answer = json.loads(done.stdout)['state']
      failed = {} if isinstance(answer, str) else answer.get('failedData', {}).get('error', {})
      state, message = answer if isinstance(answer, str) else answer['state'], failed.get('message', '')
      if not (isinstance(state, str) and isinstance(message, str)):
        raise TypeError
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
      raise LaunchError(f'`{process.short(done.args)}` printed no state:\n{done.stdout[:500]}') from None
    state = _STATES.get(state, state)
    if state != 'ACTIVE':  # Then it is for its machines to answer.
      self._troubles = 0
    return state, message

  def _look_at_study(self) -> int | None:
    done = self._call(commands.status(self._pod))
    if done is None:
      return None
    found = re.findall(r'^sweb_jax (\S+) (none|running|lost|exited)(?: (\d+))?$', done.stdout, re.MULTILINE)
    if done.returncode or len(found) < self._pod.hosts:
      # Before the boot script has got the code there is nobody to answer.
      if re.search(r'worker\.sh: No such file', done.stderr):
        self._start()
      else:
        self._trouble(done if done.returncode else f'{len(found)} of {self._pod.hosts} machines answered')
      return None
    self._troubles = 0
    words = [state for _, state, _ in found]
    if 'running' in words:
      self._seen = True
      broken = any(state in ('none', 'lost') or code not in ('', '0') for _, state, code in found if state != 'running')
      self._count_time(broken)
      self._report(f'study runs on {words.count("running")} of {len(words)} machines')
      return None
    if 'none' in words and 'exited' not in words and 'lost' not in words:
      self._start()
      return None
    return self._judge({host: int(code) if code else None for host, _, code in found})

  def _count_time(self, broken: bool) -> None:
    """Adds a look at a study that runs, whole or without some machine; one that stays without is told to stop."""
    self._ran, self._broken = (0.0, self._broken + 1) if broken else (self._ran + self._patience.poll, 0)
    if self._ran >= self._patience.healthy:
      self._attempts = 0
    if self._broken * self._patience.poll >= self._patience.healthy:
      self._report('some machines have lost the study and the others do not end: stopping them')
      self._call(commands.stop(self._pod), 6)

  def _judge(self, codes: dict[str, int | None]) -> int | None:
    """The study's exit code, or None after it was started again. A machine that lost its study has the code None."""
    if all(code == 0 for code in codes.values()):
      self._report('study has ended well')
      return self._ended(0)
    shown = ', '.join(f'{host} {"lost" if code is None else code}' for host, code in codes.items())
    self._report(f'study has ended: {shown}')
    if None not in codes.values() and PREEMPTED not in codes.values():
      # A machine that was taken away stops the others with an error; Google says so a little later.
      self._sleep(self._patience.poll * 2)
      if self._state()[0] == 'ACTIVE':
        return self._ended(next((c for c in codes.values() if c not in (0, STOPPED)), STOPPED))
      return None
    self._count_attempt()
    self._start()
    return None

  def _ended(self, code: int) -> int:
    if not self._seen:
      self._report('it had ended before it was watched; --action=run starts it again, or the next')
    return code

  def _start(self) -> None:
    """Sets the machines up and starts the study on them; a failure is tried again at the next look."""
    self._report('setting up the machines')
    for argv, limit in ((commands.setup(self._pod), 6), (commands.run(self._pod), 1)):
      done = self._call(argv, limit)
      if done is None or done.returncode:
        self._count_attempt()
        if done is not None:
          self._trouble(done)
        return
    self._ran, self._seen = 0.0, True
    self._report('study was started')

  def _recreate(self) -> None:
    """Deletes what is left of a pod that was taken away; it is created again once it is gone."""
    self._count_attempt()
    self._deleted = True  # Also where the answer does not come.
    done = self._call(commands.delete(self._pod), 6)
    if done is None:
      return
    if done.returncode and not process.is_missing(done.stderr):
      self._trouble(done)
      return
    seconds = min(3600.0, self._patience.backoff * 2 ** (self._attempts - 1))
    self._report(f'deleted; attempt {self._attempts} of {self._patience.attempts} in {seconds:.0f} s')
    self._sleep(seconds)

  def _create(self) -> None:
    done = self._call(commands.create(self._pod), 6)
    if done is None:
      return
    if not done.returncode:
      self._deleted = False
      self._report('created again')
      return
    self._count_attempt()
    self._trouble(done)
    self._sleep(min(3600.0, self._patience.backoff * 2 ** (self._attempts - 1)))

  def _count_attempt(self) -> None:
    self._attempts += 1
    self._ran = 0.0
    if self._attempts > self._patience.attempts:
      raise LaunchError(
        f'gave up after {self._patience.attempts} attempts in a row that did not get the study going; what it has '
        'saved is in the workdir. --action=logs shows why, --action=delete ends the costs, --action=watch goes on'
      )

  def _call(self, argv: Sequence[str], limit: int = 1) -> CompletedProcess[str] | None:
    """Runs a command; None where it hung."""
    try:
      return process.call(argv, self._patience.command * limit)
    except HungError as e:
      self._trouble(str(e))
      return None

  def _trouble(self, what: CompletedProcess[str] | str) -> None:
    """Reports a failure that may pass. Raises LaunchError for one that will not, or that went on too long."""
    error = LaunchError(what) if isinstance(what, str) else process.error(what, self._pod)
    self._troubles += 1
    known = None if isinstance(what, str) else process.known(what, self._pod)
    if self._troubles > _TROUBLES or (known and known[1]):
      raise error
    self._report(f'trying again: {error}')
    self._sleep(self._patience.poll * (self._troubles - 1))  # Ten are about an hour: a laptop may be off the net.

  def _report(self, text: str) -> None:
    if text != self._said:
      self._tell(text)
    self._said = text


def watch(pod: Pod, patience: Patience, sleep: Callable[[float], None], report: Callable[[str], None]) -> int:
  """Follows a pod and its study to the end, through preemptions.

  A pod that waits is waited for; on one that is there and idle the study is started; one that was taken away is deleted
  and created again after a pause that doubles each time. A study that was preempted and has saved, or that a machine
  lost, is started again with the same command.

  Args:
    pod: What to follow.
    patience: Time limits.
    sleep: Waits so many seconds.
    report: Is told each change, once.

  Returns:
    The study's exit code: 0, or that of the first machine that failed.

  Raises:
    LaunchError: the pod does not exist, gcloud cannot do what is asked, or the attempts are used up.
  """
  return _Watch(pod, patience, sleep, report).run()
