"""A system call filter for a job process: no network, no new process, nothing done to other processes.

Seccomp-BPF needs no privileges and cannot be undone. The filter is a deny list: a reward program is numerical code in
a process that also runs torch and MuJoCo, whose calls are too many to list, while those that reach outside are few.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
import sys

EPERM, ENOSYS = 1, 38
ALLOW, ERRNO = 0x7FFF0000, 0x00050000
LOAD, JEQ, JGE, JSET, RET = 0x20, 0x15, 0x35, 0x45, 0x06  # BPF_LD|W|ABS, BPF_JMP|…|K, BPF_RET|K
NR, ARCH, ARG0, ARG1, ARG2 = 0, 4, 16, 24, 32  # offsets in struct seccomp_data; the low words of the arguments
CLONE_THREAD = 0x10000
PR_SET_PDEATHSIG, PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS = 1, 22, 38
X32 = 0x40000000

AUDIT = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
# name -> (x86_64, aarch64); None if the architecture has no such call
REFUSED: dict[str, tuple[int | None, int | None]] = {
    # network
    "socket": (41, 198), "connect": (42, 203), "bind": (49, 200), "listen": (50, 201), "accept": (43, 202),
    "accept4": (288, 242),
    # io_uring could open sockets and files without passing the filter
    "io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427),
    # new programs and processes (clone: by its flags, see `build_filter`)
    "execve": (59, 221), "execveat": (322, 281), "fork": (57, None), "vfork": (58, None), "setsid": (112, 157),
    "setpgid": (109, 154),
    # other processes (kill and tgkill: by their target, see `build_filter`)
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271),
    "process_madvise": (440, 440), "pidfd_open": (434, 434), "pidfd_getfd": (438, 438),
    "pidfd_send_signal": (424, 424), "tkill": (200, 130), "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240), "kcmp": (312, 272), "migrate_pages": (256, 238), "move_pages": (279, 239),
    "process_mrelease": (448, 448), "get_robust_list": (274, 100),
    # scheduling of other processes of the same user (sched_setaffinity: by its target, see `build_filter`)
    "setpriority": (141, 140), "sched_setparam": (142, 118), "sched_setscheduler": (144, 119),
    "sched_setattr": (314, 274), "ioprio_set": (251, 30),
    # memory and queues shared with other processes of the same user
    "shmget": (29, 194), "shmat": (30, 196), "shmctl": (31, 195), "msgget": (68, 186), "msgsnd": (69, 189),
    "msgrcv": (70, 188), "msgctl": (71, 187), "semget": (64, 190), "semop": (65, 193), "semctl": (66, 191),
    "semtimedop": (220, 192), "mq_open": (240, 180), "mq_unlink": (241, 181),
    # system settings, mounts and name spaces
    "setns": (308, 268), "unshare": (272, 97), "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41),
    "chroot": (161, 51), "mount_setattr": (442, 442), "move_mount": (429, 429), "open_tree": (428, 428),
    "fsopen": (430, 430), "fsmount": (432, 432), "fsconfig": (431, 431), "fspick": (433, 433),
    "bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282), "add_key": (248, 217),
    "request_key": (249, 218), "keyctl": (250, 219), "init_module": (175, 105), "finit_module": (313, 273),
    "delete_module": (176, 106), "kexec_load": (246, 104), "kexec_file_load": (320, 294), "reboot": (169, 142),
    "swapon": (167, 224), "swapoff": (168, 225), "open_by_handle_at": (304, 265), "mknod": (133, None),
    "mknodat": (259, 33), "acct": (163, 89), "quotactl": (179, 60), "settimeofday": (164, 170),
    "clock_settime": (227, 112), "clock_adjtime": (305, 266), "adjtimex": (159, 171), "sethostname": (170, 161),
    "setdomainname": (171, 162), "iopl": (172, None), "ioperm": (173, None), "syslog": (103, 116),
    "vhangup": (153, 58), "fanotify_init": (300, 262), "setrlimit": (160, 164),
    # file attributes, which Landlock does not restrict
    "setxattr": (188, 5), "lsetxattr": (189, 6), "fsetxattr": (190, 7), "removexattr": (197, 14),
    "lremovexattr": (198, 15), "fremovexattr": (199, 16), "setxattrat": (463, 463), "removexattrat": (466, 466),
    "file_setattr": (469, 469),
}  # fmt: skip
# Not restricted by Landlock either, but called by harmless code such as shutil.copy: they succeed without effect.
IGNORED: dict[str, tuple[int | None, int | None]] = {
    "chmod": (90, None), "fchmod": (91, 52), "fchmodat": (268, 53), "fchmodat2": (452, 452), "chown": (92, None),
    "fchown": (93, 55), "lchown": (94, None), "fchownat": (260, 54), "utime": (132, None), "utimes": (235, None),
    "utimensat": (280, 88), "futimesat": (261, None),
}  # fmt: skip
CLONE, CLONE3, KILL, TGKILL, PRCTL, PRLIMIT = (56, 220), (435, 435), (62, 129), (234, 131), (157, 167), (302, 261)
AFFINITY, FCNTL, IOCTL = (203, 122), (72, 25), (16, 29)
F_SETOWN, F_SETOWN_EX = 8, 15  # a descriptor's owner receives signals, which would bypass `kill`
IOCTLS = (
    0x40086602, 0x40046602, 0x401C5820,  # FS_IOC_SETFLAGS (64 and 32 bits), FS_IOC_FSSETXATTR: attributes of files
    0x8901, 0x8902,  # FIOSETOWN, SIOCSPGRP: like F_SETOWN
    0x5412, 0x541C,  # TIOCSTI, TIOCLINUX: inject input into a terminal
)  # fmt: skip

Instruction = tuple[int, int, int, int]  # opcode, jump offset if true, jump offset if false, constant


def build_filter(machine: str, pid: int) -> list[Instruction]:
    """Returns the BPF program for one architecture.

    Args:
        machine: `platform.machine()`, `x86_64` or `aarch64`.
        pid: the process that may signal itself.
    """
    # Jump offsets count the instructions to skip: (JEQ, 0, n, k) skips n instructions unless the value equals k.
    column = list(AUDIT).index(machine)
    refuse, allow = (RET, 0, 0, ERRNO | EPERM), (RET, 0, 0, ALLOW)
    code: list[Instruction] = [(LOAD, 0, 0, ARCH), (JEQ, 1, 0, AUDIT[machine]), refuse, (LOAD, 0, 0, NR)]
    if machine == "x86_64":
        code += [(JGE, 0, 1, X32), refuse]  # x32 calls have other numbers
    for calls, answer in ((REFUSED, refuse), (IGNORED, (RET, 0, 0, ERRNO))):
        for numbers in calls.values():
            number = numbers[column]
            if number is not None:
                code += [(JEQ, 0, 1, number), answer]
    # clone3 passes its flags in memory, which a filter cannot read; at ENOSYS glibc falls back to clone.
    code += [(JEQ, 0, 1, CLONE3[column]), (RET, 0, 0, ERRNO | ENOSYS)]
    code += [(JEQ, 0, 4, CLONE[column]), (LOAD, 0, 0, ARG0), (JSET, 0, 1, CLONE_THREAD), allow, refuse]
    for call in (KILL, TGKILL):
        code += [(JEQ, 0, 4, call[column]), (LOAD, 0, 0, ARG0), (JEQ, 0, 1, pid), allow, refuse]
    # sched_setaffinity only of the calling thread (0)
    code += [(JEQ, 0, 4, AFFINITY[column]), (LOAD, 0, 0, ARG0), (JEQ, 0, 1, 0), allow, refuse]
    for call, commands in ((FCNTL, (F_SETOWN, F_SETOWN_EX)), (IOCTL, IOCTLS)):
        tests = [line for command in commands for line in ((JEQ, 0, 1, command), refuse)]
        code += [(JEQ, 0, len(tests) + 2, call[column]), (LOAD, 0, 0, ARG1), *tests, allow]
    code += [(JEQ, 0, 4, PRCTL[column]), (LOAD, 0, 0, ARG0), (JEQ, 0, 1, PR_SET_PDEATHSIG), refuse, allow]
    # prlimit may only read a limit: both words of the pointer to a new limit must be 0.
    code += [(JEQ, 0, 6, PRLIMIT[column]), (LOAD, 0, 0, ARG2), (JEQ, 0, 2, 0), (LOAD, 0, 0, ARG2 + 4)]
    code += [(JEQ, 1, 0, 0), refuse, allow]
    return [*code, allow]


def forbid_system_calls() -> str:
    """Installs the filter in this process and all its threads.

    Returns:
        "" on success, otherwise why it does not hold.
    """
    machine = read_kernel_machine()
    if sys.platform != "linux" or machine not in AUDIT or struct.calcsize("P") != 8:
        return f"no filter for {sys.platform} on {machine}"
    libc = ctypes.CDLL(None, use_errno=True)
    program = b"".join(struct.pack("HBBI", *line) for line in build_filter(machine, os.getpid()))
    buffer = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(buffer))
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        return f"no_new_privs: {os.strerror(ctypes.get_errno())}"
    if libc.prctl(PR_SET_SECCOMP, 2, ctypes.c_char_p(header), 0, 0):  # 2: SECCOMP_MODE_FILTER
        return f"seccomp: {os.strerror(ctypes.get_errno())}"
    return ""


def read_kernel_machine() -> str:
    """Returns the architecture of the kernel by `uname`; `platform.machine` may start a process."""
    return os.uname().machine if hasattr(os, "uname") else platform.machine()
