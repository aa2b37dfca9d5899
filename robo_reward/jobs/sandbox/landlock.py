"""Landlock: a process restricts its own view of the file system, without privileges and permanently."""

from __future__ import annotations

import ctypes
import os
import stat
import struct
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

# System calls landlock_create_ruleset, _add_rule and _restrict_self; the same numbers on every architecture.
CREATE, ADD, RESTRICT = 444, 445, 446
RULE_PATH = 1
# LANDLOCK_ACCESS_FS_* of linux/landlock.h
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
REMOVE_DIR, REMOVE_FILE, MAKE_DIR, MAKE_REG = 1 << 4, 1 << 5, 1 << 7, 1 << 8
REFER, TRUNCATE, IOCTL = 1 << 13, 1 << 14, 1 << 15
# Access rights that each ABI version knows: REFER since 2, TRUNCATE since 3, IOCTL_DEV since 5.
ALL_OF_ABI = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 4: (1 << 15) - 1, 5: (1 << 16) - 1}
TCP = 0b11  # bind and connect, since ABI 4
SCOPES = 0b11  # abstract UNIX sockets and signals, since ABI 6

LIST = READ_DIR
READ = READ_FILE | READ_DIR
DEVICE = READ_FILE | READ_DIR | WRITE_FILE | IOCTL
# Without the rights to make links, pipes, sockets or devices: the parent reads this folder afterwards.
OWN = READ | WRITE_FILE | TRUNCATE | REMOVE_DIR | REMOVE_FILE | MAKE_DIR | MAKE_REG | REFER
ON_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL


def query_abi_version() -> int:
    """Returns the version of Landlock that the running kernel offers; 0 where it offers none."""
    if sys.platform != "linux":
        return 0
    return max(0, ctypes.CDLL(None, use_errno=True).syscall(CREATE, None, 0, 1))


def restrict_paths(rules: Mapping[Path, int]) -> str:
    """Restricts this thread, and the threads it starts later, to the given paths.

    Args:
        rules: path to rights (`LIST`, `READ`, `DEVICE`, `OWN`); paths that do not exist are skipped.

    Returns:
        "" on success, otherwise why it does not hold.
    """
    version = query_abi_version()
    if version < 1:
        return "the kernel has no Landlock (Linux 5.13 or later with Landlock enabled)"
    # Whatever is handled and not allowed by a rule is refused.
    handled = ALL_OF_ABI[min(version, 5)]
    libc = ctypes.CDLL(None, use_errno=True)
    net, scope = TCP if version >= 4 else 0, SCOPES if version >= 6 else 0
    # struct landlock_ruleset_attr grew with the ABI: file system, network (4), scopes (6).
    attribute = struct.pack("QQQ", handled, net, scope)[: 24 if version >= 6 else 16 if version >= 4 else 8]
    ruleset = libc.syscall(CREATE, ctypes.c_char_p(attribute), ctypes.c_size_t(len(attribute)), 0)
    if ruleset < 0:
        return f"Landlock: {os.strerror(ctypes.get_errno())}"
    try:
        for path, rights in rules.items():
            if problem := _add_rule(libc, ruleset, path, rights & handled):
                return problem
        if libc.prctl(38, 1, 0, 0, 0) or libc.syscall(RESTRICT, ruleset, 0):  # 38: PR_SET_NO_NEW_PRIVS
            return f"Landlock: {os.strerror(ctypes.get_errno())}"
    finally:
        os.close(ruleset)
    return ""


def _add_rule(libc: ctypes.CDLL, ruleset: int, path: Path, rights: int) -> str:
    try:
        handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        if not stat.S_ISDIR(os.fstat(handle).st_mode):
            rights &= ON_FILES  # the kernel rejects rights of folders on a file
        rule = struct.pack("=Qi", rights, handle)  # struct landlock_path_beneath_attr, packed
        if rights and libc.syscall(ADD, ruleset, RULE_PATH, ctypes.c_char_p(rule), 0):
            return f"Landlock rule for {path}: {os.strerror(ctypes.get_errno())}"
    finally:
        os.close(handle)
    return ""


def merge_rules(*groups: tuple[Iterable[Path], int]) -> dict[Path, int]:
    """Returns rules from groups of paths with the same rights; a path in two groups gets both."""
    rules: dict[Path, int] = {}
    for paths, rights in groups:
        for path in paths:
            rules[path] = rules.get(path, 0) | rights
    return rules
