# SPDX-License-Identifier: Apache-2.0
"""Root on the host, with what it has to look at a VM: the file of its RAM, /proc/PID/mem, core dumps, a pause."""
import contextlib
import os
import re
import shutil
import signal
import subprocess

from guest import PAGE
from vm import DEADLINE, until

CHUNK = 1 << 20
# A memfd; for root who may not raise the limit of locked memory, a nameless file of a tmpfs that is never swapped.
RAM = re.compile(r"(?:^| )(/memfd:guest-ram|/#\d+ \(deleted\)$)")


def mappings(pid):
    """(start, end, rights, name) of each."""
    with open(f"/proc/{pid}/maps") as maps:
        for line in maps:
            words = line.split(maxsplit=5)
            start, end = (int(word, 16) for word in words[0].split("-"))
            yield start, end, words[1], words[5].strip() if len(words) > 5 else ""


class Ram:
    """Guest RAM by its file, as another holder of it would see and change it."""

    def __init__(self, vmm):
        start, end = next((start, end) for start, end, _, name in mappings(vmm) if RAM.search(name))
        self._fd = os.open(f"/proc/{vmm}/map_files/{start:x}-{end:x}", os.O_RDWR)
        self.size = os.fstat(self._fd).st_size

    def page(self, address):
        return os.pread(self._fd, PAGE, address)

    def write(self, address, data):
        assert os.pwrite(self._fd, data, address) == len(data)

    def chunks(self):
        for at in range(0, self.size, CHUNK):
            yield at, os.pread(self._fd, CHUNK, at)

    def close(self):
        os.close(self._fd)


@contextlib.contextmanager
def stopped(pid):
    """Every thread stands still: what is seen then is one moment. A thread that waits for a page (D) does so too."""
    def states():
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/stat") as stat:
                yield stat.read().rpartition(")")[2].split()[0]
    os.kill(pid, signal.SIGSTOP)
    try:
        until(lambda: all(state in "TtD" for state in states()), f"{pid} stopped")
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def _finds(needles, data):
    return any(needle in data for needle in needles)


def in_ram(ram, needles):
    """Needles are 8 bytes, aligned: none lies across two chunks."""
    return [f"RAM's file at {at:#x}" for at, data in ram.chunks() if _finds(needles, data)]


def in_memory(pid, needles):
    """Where in /proc/PID/mem. What the kernel refuses (memfd_secret, pages not mapped) is not there to be found."""
    found = []
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for start, end, rights, name in mappings(pid):
            if "r" not in rights or name in ("[vvar]", "[vsyscall]"):
                continue
            for at in range(start, end, CHUNK):
                for data in _read(memory.fileno(), at, min(CHUNK, end - at)):
                    if _finds(needles, data):
                        found.append(f"/proc/{pid}/mem at {at:#x} ({name or 'anonymous'})")
    return found


def _read(fd, start, size):
    """What can be read, in pieces: one whole, or page by page where some are refused."""
    try:
        data = os.pread(fd, size, start)
        if len(data) == size:
            yield data
            return
    except OSError:
        pass
    for at in range(start, start + size, PAGE):
        with contextlib.suppress(OSError):
            yield os.pread(fd, PAGE, at)


def readable(pid, address):
    """Whether /proc/PID/mem gives that page."""
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        return any(True for _ in _read(memory.fileno(), address, PAGE))


def has_gdb():
    return shutil.which("gdb") is not None


def core_dumps(pids, folder):
    """Two of each: `plain` as gcore makes it, `full` with what is excluded from dumps. {(pid, kind): path}."""
    cores, words = {}, []
    for pid in pids:
        words += [f"attach {pid}"]
        for kind, switch in (("plain", "off"), ("full", "on")):
            cores[pid, kind] = f"{folder}/core-{kind}-{pid}"
            words += [f"set dump-excluded-mappings {switch}", f"set use-coredump-filter {'off' if switch == 'on' else 'on'}",
                      f"generate-core-file {cores[pid, kind]}"]
        words += ["detach"]
    # A program of few symbols stands in for ours: only memory and registers matter.
    command = ["gdb", "-nx", "-batch", "-iex", "set exec-file-mismatch off", "-iex", "set auto-solib-add off"]
    for word in words:
        command += ["-ex", word]
    done = subprocess.run([*command, "/bin/true"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=3 * DEADLINE, text=True)
    missing = [path for path in cores.values() if not os.path.exists(path)]
    assert not missing, f"gdb made no {missing}: {done.stdout[-500:]}"
    return cores


def in_file(path, needles):
    with open(path, "rb") as file:
        while data := file.read(CHUNK):
            if _finds(needles, data):
                return True
    return False


def is_unswapped_file(pid):
    return any(RAM.search(name) and name.startswith("/#") for _, _, _, name in mappings(pid))


def flags_of_ram(pid):
    """VmFlags of each mapping of guest RAM."""
    found, ours = [], False
    with open(f"/proc/{pid}/smaps") as smaps:
        for line in smaps:
            if "-" in line.split()[0]:
                ours = RAM.search(line.rstrip())
            elif ours and line.startswith("VmFlags:"):
                found.append(line.split()[1:])
    return found
