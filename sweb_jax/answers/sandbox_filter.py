"""The system calls that a generated program may make; the kernel answers every other with "not implemented".

A list of what is allowed, not of what is dangerous: what the list does not have is closed, known or not. It holds what
an interpreter needs that computes, keeps time, has threads and uses the files of one folder. It leaves out

  - every second process and program: no fork, no exec. So the kernel's limits of one process, memory and CPU time, are
    limits of the whole program, and nothing is left behind;
  - memory that no limit counts, or that stays when nothing maps it any more: System V shared memory, semaphores and
    message queues, memfds, shared anonymous mappings, io_uring, BPF, keys, pages given to pipes;
  - every socket but pairs of connected ones (asyncio's loop has one): no address family is open, AF_VSOCK neither;
  - signals to, looks into and limits of other processes; namespaces, mounts, privileges.

The filter is a classic BPF program (Linux, Documentation/userspace-api/seccomp_filter.rst), put together here: the
bindings on the package index need libseccomp, a library of the machine, which slim containers lack and pip does not
bring. Standard library only: it runs under `python -I -S` (`sandbox_child`).
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct

# Name, number on x86_64 and on aarch64 (linux/asm/unistd_64.h, asm-generic/unistd.h); '-' where there is none.
_ALLOWED = """
  read 0 63, write 1 64, readv 19 65, writev 20 66, pread64 17 67, pwrite64 18 68, preadv 295 69, pwritev 296 70,
  preadv2 327 286, pwritev2 328 287, lseek 8 62, close 3 57, close_range 436 436, dup 32 23, dup2 33 -, dup3 292 24,
  pipe 22 -, pipe2 293 59, sendfile 40 71, copy_file_range 326 285,
  poll 7 -, ppoll 271 73, select 23 -, pselect6 270 72, epoll_create1 291 20, epoll_ctl 233 21, epoll_wait 232 -,
  epoll_pwait 281 22, eventfd2 290 19, pause 34 -, nanosleep 35 101, clock_nanosleep 230 115, wait4 61 260,
  waitid 247 95,
  brk 12 214, munmap 11 215, mprotect 10 226, mremap 25 216, madvise 28 233, msync 26 227, mincore 27 232,
  futex 202 98, set_robust_list 273 99, get_robust_list 274 100, set_tid_address 218 96, rseq 334 293,
  sched_yield 24 124, sched_getaffinity 204 123, getcpu 309 168, membarrier 324 283, restart_syscall 219 128,
  arch_prctl 158 -, rt_sigaction 13 134, rt_sigprocmask 14 135, rt_sigreturn 15 139, rt_sigpending 127 136,
  rt_sigtimedwait 128 137, rt_sigsuspend 130 133, sigaltstack 131 132, alarm 37 -, getitimer 36 102,
  setitimer 38 103, exit 60 93, exit_group 231 94,
  clock_gettime 228 113, clock_getres 229 114, gettimeofday 96 169, time 201 -, times 100 153, getrusage 98 165,
  sysinfo 99 179, uname 63 160, getrandom 318 278, umask 95 166, getpid 39 172, getppid 110 173, gettid 186 178,
  getpgid 121 155, getpgrp 111 -, getsid 124 156, getuid 102 174, geteuid 107 175, getresuid 118 148, getgid 104 176,
  getegid 108 177, getresgid 120 150, getgroups 115 158, getpriority 140 141,
  open 2 -, openat 257 56, stat 4 -, fstat 5 80, lstat 6 -, newfstatat 262 79, statx 332 291, statfs 137 43,
  fstatfs 138 44, access 21 -, faccessat 269 48, faccessat2 439 439, getcwd 79 17, chdir 80 49, fchdir 81 50,
  getdents64 217 61, readlink 89 -, readlinkat 267 78, mkdir 83 -, mkdirat 258 34, rmdir 84 -, rename 82 -,
  renameat 264 38, renameat2 316 276, link 86 -, linkat 265 37, symlink 88 -, symlinkat 266 36, unlink 87 -,
  unlinkat 263 35, chmod 90 -, fchmod 91 52, fchmodat 268 53, chown 92 -, fchown 93 55, lchown 94 -, fchownat 260 54,
  utimensat 280 88, truncate 76 45, ftruncate 77 46, fallocate 285 47, fadvise64 221 223, fsync 74 82,
  fdatasync 75 83, flock 73 32, getxattr 191 8, lgetxattr 192 9, fgetxattr 193 10, listxattr 194 11,
  llistxattr 195 12, flistxattr 196 13,
  sendto 44 206, recvfrom 45 207, shutdown 48 210, getsockname 51 204, getpeername 52 205, getsockopt 55 209,
"""

# As above, then the number of an argument, the bits of it that count, and the values that are allowed; `pid` is the
# process's own. Of flags with a namespace in it, or of a process instead of a thread, `clone` has none that fits.
_CONDITIONAL = """
  clone 56 220: 0 0x7e030000 0x10000
  mmap 9 222: 3 0x21 0x00 0x01 0x20
  socketpair 53 199: 0 0xffffffff 1
  kill 62 129: 0 0xffffffff pid
  tgkill 234 131: 0 0xffffffff pid
  prlimit64 302 261: 0 0xffffffff 0 pid
  fcntl 72 25: 1 0xffffffff 0 1 2 3 4 5 6 7 36 37 38 1030 1032
  ioctl 16 29: 1 0xffffffff 0x5401 0x5413 0x541b 0x5421 0x5450 0x5451
  prctl 157 167: 0 0xffffffff 15 16
"""

# The machine's name, its number in linux/audit.h, and its column in the tables.
_MACHINES = {'x86_64': (0xC000003E, 0), 'aarch64': (0xC00000B7, 1)}

_LOAD, _AND, _EQUAL, _RETURN = 0x20, 0x54, 0x15, 0x06  # BPF_LD | BPF_W | BPF_ABS, and so on: linux/bpf_common.h.
_ALLOW, _ERROR = 0x7FFF0000, 0x00050000  # SECCOMP_RET_ALLOW and SECCOMP_RET_ERRNO.
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16  # Offsets in struct seccomp_data.
_PR_SET_SECCOMP, _MODE_FILTER = 22, 2


class _Program(ctypes.Structure):
  """struct sock_fprog."""

  _fields_ = (('length', ctypes.c_ushort), ('instructions', ctypes.c_char_p))


def table(machine: str) -> dict[str, int]:
  """The number of every system call that is allowed on a machine, some for certain arguments only."""
  column = _MACHINES[machine][1]
  rows = [row.split() for row in _ALLOWED.split(',')] + [r.partition(':')[0].split() for r in _CONDITIONAL.split('\n')]
  return {row[0]: int(row[1 + column]) for row in rows if row and row[1 + column] != '-'}


def instructions(machine: str, pid: int) -> list[bytes]:
  """The BPF program for a machine ('x86_64', 'aarch64') and the process `pid`. Raises KeyError for another machine."""
  numbers = table(machine)
  refuse = _step(_RETURN, _ERROR | errno.ENOSYS)
  code = [_step(_LOAD, _ARCHITECTURE), _step(_EQUAL, _MACHINES[machine][0], skip=1), refuse, _step(_LOAD, _NUMBER)]
  conditions = {row.split()[0]: row.partition(':')[2].split() for row in _CONDITIONAL.split('\n') if row.strip()}
  for name, number in numbers.items():
    block = [_step(_RETURN, _ALLOW)]
    if name in conditions:
      argument, mask, *values = conditions[name]
      # The lower half of the argument, first in memory on both machines; the kernel takes no more of these.
      block = [_step(_LOAD, _ARGUMENTS + 8 * int(argument)), _step(_AND, int(mask, 0))]
      for value in values:
        block += [_step(_EQUAL, pid if value == 'pid' else int(value, 0), otherwise=1), _step(_RETURN, _ALLOW)]
      block.append(_step(_RETURN, _ERROR | errno.EPERM))
    code += [_step(_EQUAL, number, otherwise=len(block)), *block]
  return [*code, refuse]


def install() -> None:
  """Closes all other system calls to this process, for ever. Raises OSError, with what is missing, where it cannot."""
  machine = os.uname().machine
  if machine not in _MACHINES or ctypes.sizeof(ctypes.c_void_p) != 8:
    raise OSError(f'system calls are known for 64-bit {" and ".join(_MACHINES)}, and this is {machine}')
  code = instructions(machine, os.getpid())
  program = _Program(len(code), b''.join(code))
  libc = ctypes.CDLL(None, use_errno=True)
  if libc.prctl(_PR_SET_SECCOMP, ctypes.c_ulong(_MODE_FILTER), ctypes.byref(program), 0, 0) < 0:
    code = ctypes.get_errno()
    raise OSError(code, f'prctl(PR_SET_SECCOMP): {os.strerror(code)}')


def _step(operation: int, value: int, skip: int = 0, otherwise: int = 0) -> bytes:
  """One struct sock_filter; `skip` and `otherwise`: instructions passed over where a comparison holds or does not."""
  return struct.pack('<HBBI', operation, skip, otherwise, value)
