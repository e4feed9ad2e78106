"""The processes that a generated program runs in; `sandbox` starts it as `python -I -S sandbox_child.py SOCKET`.

    server         one for many programs: has imported what it takes, and forks
      launcher     makes the namespaces, mounts an empty root, gives up every privilege, and waits
        judge      process 1 of the new process namespace: reads program and tests from stdin, runs the tests
          program  has neither the tests nor the result pipe; runs the generated code and answers the judge's calls,
                   with the few system calls of `sandbox_filter`

A request is the settings in JSON with three files: the job, a pipe for output, a pipe for the result, which is the
JSON of [status, reason]. When the judge ends, by itself or by a kill, the kernel kills the program, which can have made
no other process, and only then do launcher and result pipe close. The clock is kept by whoever sent the request:
nothing in here goes by a signal, which a program might send. Standard library only.
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import ctypes
import importlib
import json
import os
import resource
import signal
import socket
import sys
import time
import types

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from sandbox_calls import Channel, Gone, Program, serve  # By its folder: the package is not on the path.
from sandbox_filter import install

del sys.path[0]

NEWNS, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET = 0x20000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000
MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_BIND, MS_REC, MS_PRIVATE = 2, 4, 8, 4096, 16384, 1 << 18
MNT_DETACH, AT_FDCWD, AT_RECURSIVE, SYS_MOUNT_SETATTR, MOUNT_ATTR_RDONLY = 2, -100, 0x8000, 442, 1
PDEATHSIG, DUMPABLE, CAPBSET_DROP, SUBREAPER, NO_NEW_PRIVS = 1, 4, 24, 36, 38
NOBODY = 65534
BOX = '/box'
DEVICES = ('/dev/null', '/dev/urandom')  # Not /dev/zero: what is mapped of it and shared is memory without a limit.

_libc = ctypes.CDLL(None, use_errno=True)


class Refused(Exception):
  """The kernel does not give an isolation that was asked for."""


def _call(name: str, *args) -> None:
  values = [ctypes.c_ulong(a) if isinstance(a, int) else a for a in args]
  if getattr(_libc, name)(*values) < 0:
    code = ctypes.get_errno()
    raise OSError(code, f'{name}: {os.strerror(code)}')


def _mount(source: str, target: str, kind: str | None, flags: int, options: str | None = None) -> None:
  encode = lambda text: None if text is None else text.encode()  # noqa: E731
  _call('mount', encode(source), encode(target), encode(kind), flags, encode(options))


# The launcher.


def isolate(settings: dict) -> None:
  """Leaves the network, the file system and the other processes.

  Raises Refused where an isolation fails that the settings do not waive.
  """
  user, group = os.geteuid(), os.getegid()
  privileged = user == 0
  files = True
  try:
    try:
      _call('unshare', NEWNS | NEWPID | NEWIPC | NEWUTS)
    except PermissionError:
      _call('unshare', NEWUSER)
      _write('/proc/self/setgroups', 'deny')
      _write('/proc/self/uid_map', f'{NOBODY} {user} 1')
      _write('/proc/self/gid_map', f'{NOBODY} {group} 1')
      _call('unshare', NEWNS | NEWPID | NEWIPC | NEWUTS)
      privileged = False
  except OSError as e:
    files = False
    if not settings['allow_files']:
      what = 'the file system cannot be hidden from programs'
      raise Refused(f'{what} here ({e}); allow_files=True goes on without') from e
  try:
    _call('unshare', NEWNET)
  except OSError as e:
    if not settings['allow_network']:
      raise Refused(f'programs cannot be kept from the network here ({e}); allow_network=True goes on without') from e
  if files:
    try:
      _empty_root(settings['disk'])
    except OSError as e:
      raise Refused(f'an empty root cannot be mounted here ({e}); it takes Linux 5.12 or later') from e
  else:
    os.mkdir(settings['folder'], 0o700)
    os.chdir(settings['folder'])
  if privileged:
    # A container may have no such user; `_check_process_limit` says whether its root will do.
    with contextlib.suppress(OSError):
      if not files:
        os.chown('.', NOBODY, NOBODY)
      os.setgroups([])
      os.setresgid(NOBODY, NOBODY, NOBODY)
      os.setresuid(NOBODY, NOBODY, NOBODY)
    # Limits of processes are counted for a user in a namespace: without one, all sandboxes of a machine share them.
    with contextlib.suppress(OSError):
      _call('unshare', NEWUSER)
  _give_up_privileges()
  _check_process_limit()


def _empty_root(disk: int) -> None:
  """A root that holds the standard library and shared libraries, read-only, two devices, and an empty BOX."""
  root = '/proc'  # A folder that every Linux has and that nothing is needed of; it is covered for this namespace alone.
  _mount('none', '/', None, MS_REC | MS_PRIVATE)
  _mount('tmpfs', root, 'tmpfs', MS_NOSUID, 'size=1m,mode=755')
  paths = {*sys.path, '/lib', '/lib64', '/usr/lib', '/usr/lib64'}
  for path in sorted(os.path.realpath(p) for p in paths):
    inside = root + path
    if os.path.isdir(path) and not os.path.exists(inside):
      os.makedirs(inside)
      _mount(path, inside, None, MS_BIND | MS_REC)
  for path in paths:
    if os.path.islink(path):
      os.symlink(os.readlink(path), root + path)
  os.mkdir(f'{root}/dev')
  for path in DEVICES:
    _write(root + path, '')
    _mount(path, root + path, None, MS_BIND)
  os.mkdir(root + BOX)
  readonly = (ctypes.c_uint64 * 4)(MOUNT_ATTR_RDONLY, 0, 0, 0)
  at, size = ctypes.c_int(AT_FDCWD), ctypes.sizeof(readonly)
  _call('syscall', SYS_MOUNT_SETATTR, at, root.encode(), AT_RECURSIVE, readonly, size)
  options = f'size={disk},nr_inodes=4096,mode=777'
  _mount('tmpfs', root + BOX, 'tmpfs', MS_NOSUID | MS_NODEV | MS_NOEXEC, options)
  os.chdir(root)
  _call('pivot_root', b'.', b'.')  # The old root now lies over the new one, and is taken off.
  _call('umount2', b'.', MNT_DETACH)
  os.chdir(BOX)


def _give_up_privileges() -> None:
  _call('prctl', NO_NEW_PRIVS, 1, 0, 0, 0)
  for capability in range(64):
    if _libc.prctl(CAPBSET_DROP, ctypes.c_ulong(capability), 0, 0, 0) < 0:
      break
  header, none = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
  _call('capset', header, none)


def _check_process_limit() -> None:
  """Raises Refused where the kernel exempts this user from limits of processes."""
  soft, hard = resource.getrlimit(resource.RLIMIT_NPROC)
  resource.setrlimit(resource.RLIMIT_NPROC, (1, hard))
  try:
    child = os.fork()
    if not child:
      os._exit(0)
    os.waitpid(child, 0)
    raise Refused('the number of processes cannot be limited for this user: run as a user that is not root')
  except BlockingIOError:
    resource.setrlimit(resource.RLIMIT_NPROC, (soft, hard))


def _write(path: str, text: str) -> None:
  with open(path, 'w') as f:
    f.write(text)


# The judge.


def judge(settings: dict) -> None:
  """Starts the program's process, runs the tests against it and reports. Does not return."""
  _call('prctl', PDEATHSIG, signal.SIGKILL, 0, 0, 0)
  signal.signal(signal.SIGINT, signal.SIG_DFL)  # To process 1, what has no handler is not delivered.
  ours, theirs = (end.detach() for end in socket.socketpair())
  program = os.fork()
  if not program:
    try:
      _be_the_program(theirs, settings)
    finally:
      os._exit(1)
  _call('prctl', DUMPABLE, 0, 0, 0, 0)  # No process of the program's may look into this one.
  os.close(theirs)
  null = os.open('/dev/null', os.O_RDWR)
  os.dup2(null, 1)
  os.dup2(null, 2)

  def report(status: str, reason: str) -> None:
    line = ''.join(c if c.isprintable() else '?' for c in ' '.join(reason[:400].split())[:200])
    os.write(settings['result'], json.dumps([status, line]).encode())
    os._exit(0)

  resource.setrlimit(resource.RLIMIT_AS, (settings['memory'],) * 2)
  # What a program gives back may be made to take long to compare.
  resource.setrlimit(resource.RLIMIT_CPU, (settings['cpu_seconds'], settings['cpu_seconds'] + 1))
  with open(0, 'rb') as f:
    source, tests = json.loads(f.read())
  channel = Channel(ours)
  try:
    if missing := channel.receive():
      report('refused', f'the system calls of programs cannot be limited here ({missing})')
    names = Program(channel).load(source)
    sys.modules['solution'] = types.SimpleNamespace(**names)
    tree = ast.parse(tests, 'tests.py')
    # Tests that say `set(f(x))` or `sys.getsizeof(x)` mean Python's set and sys, unless they import the program's.
    names = {k: v for k, v in names.items() if not hasattr(builtins, k)}
    exec(compile(tree, 'tests.py', 'exec', dont_inherit=True), names | _modules(tree) | {'__name__': 'tests'})
  except Gone as e:
    report(*_end(program, settings, str(e)))
  except BaseException as e:
    text = str(e).strip()
    report('failed', f'{type(e).__name__}: {text}' if text else type(e).__name__)
  report('passed', 'all tests passed')


def _modules(tests: ast.Module) -> dict[str, types.ModuleType]:
  """The modules of the standard library that tests take something of, as in `sys.getsizeof`, by their names."""
  taken = [n.value.id for n in ast.walk(tests) if isinstance(n, ast.Attribute) and isinstance(n.value, ast.Name)]
  found = {}
  for name in sys.stdlib_module_names.intersection(taken):
    with contextlib.suppress(ImportError):  # A module of another platform, whose name may be a variable here.
      found[name] = importlib.import_module(name)
  return found


def _be_the_program(channel: int, settings: dict) -> None:
  _call('prctl', PDEATHSIG, signal.SIGKILL, 0, 0, 0)
  null = os.open('/dev/null', os.O_RDONLY)
  os.dup2(null, 0)
  os.closerange(3, channel)
  os.closerange(channel + 1, os.sysconf('SC_OPEN_MAX'))
  os.environ.clear()
  home = os.getcwd()
  os.environ.update(HOME=home, TMPDIR=home, PWD=home)
  limits = {
    resource.RLIMIT_CPU: (settings['cpu_seconds'], settings['cpu_seconds'] + 1),
    resource.RLIMIT_AS: (settings['memory'],) * 2,
    resource.RLIMIT_FSIZE: (settings['disk'],) * 2,
    resource.RLIMIT_NOFILE: (settings['open_files'],) * 2,
    resource.RLIMIT_CORE: (0, 0),
    resource.RLIMIT_NPROC: (settings['threads'] + 2,) * 2,  # The launcher and the judge count.
    resource.RLIMIT_SIGPENDING: (64, 64),
  }
  for limit, values in limits.items():
    resource.setrlimit(limit, values)
  signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # Writing too much is an OSError.
  missing = ''
  try:
    install()
  except OSError as e:
    missing = str(e)
  Channel(channel).send(missing)
  if not missing:
    serve(Channel(channel))


def _end(program: int, settings: dict, reason: str) -> tuple[str, str]:
  """The outcome where the program's process is gone, or talks nonsense."""
  for _ in range(100):  # Its socket closes a moment before it can be waited for.
    ended, status, usage = os.wait4(program, os.WNOHANG)
    if ended:
      break
    time.sleep(0.001)
  else:
    return 'failed', reason
  signalled = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
  if signalled == signal.SIGXCPU or usage.ru_utime + usage.ru_stime >= settings['cpu_seconds']:
    return 'timed out', f'after {settings["cpu_seconds"]} s of CPU time'
  return ('killed', f'by signal {signalled}') if signalled else ('failed', f'{reason} (exit code {status >> 8})')


def launch(settings: dict) -> None:
  """The launcher of one program, with its job on stdin. Does not return."""
  try:
    isolate(settings)
  except Exception as e:
    os.write(settings['result'], json.dumps(['refused', str(e)]).encode())
    os._exit(1)
  _call('prctl', PDEATHSIG, signal.SIGKILL, 0, 0, 0)  # Now: a change of user forgets it.
  _call('prctl', DUMPABLE, 0, 0, 0, 0)
  _call('prctl', SUBREAPER, 1, 0, 0, 0)
  either = {signal.SIGTERM, signal.SIGCHLD}  # The server says that it is enough, or the judge has ended.
  signal.pthread_sigmask(signal.SIG_BLOCK, either)
  child = os.fork()
  if not child:
    try:
      signal.pthread_sigmask(signal.SIG_UNBLOCK, either)
      judge(settings)
    finally:
      os._exit(1)
  signal.sigwait(either)
  os.kill(child, signal.SIGKILL)
  _, status, usage = os.wait4(child, 0)
  if os.WIFSIGNALED(status) and usage.ru_utime + usage.ru_stime >= settings['cpu_seconds']:
    reason = f'the tests, after {settings["cpu_seconds"]} s of CPU time'
    with contextlib.suppress(OSError):
      os.write(settings['result'], json.dumps(['timed out', reason]).encode())
  with contextlib.suppress(ChildProcessError):  # Without a process namespace, the program is waited for here.
    while True:
      os.wait()
  os._exit(0)


def main() -> None:
  """Starts a launcher for each request of the parent, one at a time, until the parent is gone."""
  parent = socket.socket(fileno=int(sys.argv[1]))
  while True:
    message, files, _, _ = socket.recv_fds(parent, 1 << 16, 3)
    if not message:
      return
    job, output, result = files
    settings = json.loads(message) | {'result': result}
    settings['folder'] = os.path.join(settings['temporary'], f'sandbox-{os.urandom(8).hex()}')
    launcher = os.fork()
    if not launcher:
      try:
        for end, number in ((job, 0), (output, 1), (output, 2)):
          os.dup2(end, number)
        for end in (job, output, parent.detach()):
          os.close(end)
        launch(settings)
      finally:
        os._exit(1)
    for end in files:
      os.close(end)
    parent.recv(1)  # The parent has what it wants, or is gone.
    os.kill(launcher, signal.SIGTERM)
    os.waitpid(launcher, 0)
    if os.path.exists(settings['folder']):  # Only where files cannot be hidden.
      import shutil  # Slow, and most machines need none of it.

      shutil.rmtree(settings['folder'], ignore_errors=True)
    parent.send(b'.')


if __name__ == '__main__':
  main()
