#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A guest that attacks all its devices, again and again, makes no process of its VM grow (threat_model.md, G-9).

usage: growth_test.py HOLDFAST      exit status 0 passed, 1 failed, 77 skipped
"""
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROUNDS = 12 if os.environ.get("HOLDFAST_LONG") else 3
SLOW = "every-port,bar-pages,config-storm,config-noise,config-window,bars-anywhere"  # an exit each, and nothing is kept
MEMORY_MIB = 64
# Growth between the first round and the last: one leaked buffer in each of the thousands of requests is far more.
MOST_KIB = 256
MOST_DESCRIPTORS = 4  # a connection may just be under way


def children(pid):
    return {Path(f"/proc/{child}/comm").read_text().strip(): int(child)
            for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}


def size(pid):
    """(KiB of memory that is the process's own, descriptors). Guest RAM and the arena, whose pages fill up once, are left out."""
    kib, counts = 0, False
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        words = line.split()
        if "-" in words[0]:
            low, high = (int(word, 16) for word in words[0].split("-"))
            counts = "holdfast-io" not in line.rpartition("/memfd:")[2] and high - low != MEMORY_MIB << 20
        elif words[0] in ("Private_Clean:", "Private_Dirty:") and counts:
            kib += int(words[1])
    return kib, len(os.listdir(f"/proc/{pid}/fd"))


def main():
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        print("skip: no /dev/kvm")
        return 77
    if os.geteuid() != 0:  # the processes are not dumpable
        print("skip: no root")
        return 77
    with tempfile.TemporaryDirectory() as place:
        with open(f"{place}/disk", "wb") as disk:
            disk.truncate(16 << 20)
        command = [sys.argv[1], "--state-dir", place, "run", "--builtin", "--memory-encryption", "none", "--memory", f"{MEMORY_MIB}M",
                   "--cpus", "2", "--console", "virtio", "--disk", f"{place}/disk", "--vsock", f"3={place}/vsock",
                   "--cmdline", f"job=hostile rounds={ROUNDS} except={SLOW}"]
        seen = []
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
                              errors="replace") as vm:  # it writes anything to its console
            for line in vm.stdout:
                if line.startswith("round=") and int(line[6:]) < ROUNDS:  # after the last one they leave
                    seen.append({name: size(pid) for name, pid in {**children(vm.pid), "holdfast": vm.pid}.items()})
    good = vm.returncode == 0 and len(seen) == ROUNDS - 1
    print(f"{'ok' if good else 'not ok'} the attacked VM ends by itself" + ("" if good else f": status {vm.returncode}, {len(seen)} rounds"))
    for name in ("holdfast", "holdfast-vmm", "holdfast-io") if good else ():
        (first_kib, first_fds), (last_kib, last_fds) = seen[0][name], seen[-1][name]
        held = last_kib - first_kib <= MOST_KIB and abs(last_fds - first_fds) <= MOST_DESCRIPTORS
        good &= held
        print(f"{'ok' if held else 'not ok'} {name} does not grow" +
              ("" if held else f": {[step[name] for step in seen]} (KiB, descriptors) after each round"))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
