# SPDX-License-Identifier: Apache-2.0
"""Initial RAM file systems: a cpio archive (newc) written without root, equal bytes for equal inputs.

Uncompressed: a loader puts it into memory in one go, while unpacking is slow on an emulated CPU.
"""
import hashlib
import os
import subprocess
import tempfile
import time
from pathlib import Path

from guests_kernels import CACHE, Failure, locked


class Archive:
    """Entries in the order added; a folder must be added before what is in it."""

    def __init__(self):
        self._parts = []
        self._inode = 0

    def folder(self, name):
        self._entry(name, 0o040755)

    def file(self, name, data, mode=0o644):
        self._entry(name, 0o100000 | mode, data)

    def link(self, name, target):
        self._entry(name, 0o120777, target.encode())

    def console(self):
        """/dev/console, which the kernel opens for init before anything is mounted."""
        self.folder("dev")
        self._entry("dev/console", 0o020600, device=(5, 1))

    def bytes(self):
        end = Archive()
        end._entry("TRAILER!!!", 0)
        return b"".join(self._parts + end._parts)

    def _entry(self, name, mode, data=b"", device=(0, 0)):
        self._inode += 1
        path = name.encode() + b"\0"
        fields = (self._inode, mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(path), 0)
        head = b"070701" + b"".join(b"%08X" % field for field in fields) + path
        self._parts += [head, bytes(-len(head) % 4), data, bytes(-len(data) % 4)]


def cached(name, inputs, make):
    """The path of a cached file made by make() -> bytes, made again whenever inputs (bytes or paths) change."""
    key = hashlib.sha256()
    for item in inputs:
        data = item.read_bytes() if isinstance(item, Path) else item
        key.update(len(data).to_bytes(8, "little") + data)
    root = CACHE / "made"
    path = root / f"{name}-{key.hexdigest()[:16]}"
    if not path.exists():
        with locked(root):
            if not path.exists():
                fresh = root / f".{name}.new"
                fresh.write_bytes(make())
                fresh.rename(path)
                _forget_unused(root)
    os.utime(path)
    return path


def _forget_unused(root, days=30):
    for path in root.iterdir():
        if path.name != ".lock" and time.time() - path.stat().st_mtime > days * 86400:
            path.unlink()


def static_program(source):
    """The bytes of a static program compiled from one C++ file."""
    with tempfile.TemporaryDirectory() as work:
        out = os.path.join(work, "program")
        command = ["g++", "-std=c++2b", "-Os", "-static", "-Wall", "-Wextra", "-Werror", "-s", "-o", out, source]
        done = subprocess.run(command, stderr=subprocess.PIPE, text=True)
        if done.returncode != 0:
            raise Failure(f"cannot compile {source}:\n{done.stderr}")
        return Path(out).read_bytes()
