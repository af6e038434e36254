#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Inside the emulated host: an anchor on /dev/tpmrm0 with its files on /dev/vda, and vTPMs that store until the
power goes. Says what was found and what was acknowledged, a line each, to whoever counts outside."""
import os
import struct
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(__file__))
from process_test import COMMITTED, GRANTED, HOLDFAST, Worker  # noqa: E402

MOUNT = "/run/anchor-disk"
lock = threading.Lock()


def say(*words):
    with lock:
        os.write(1, (" ".join(map(str, words)) + "\n").encode())


def live(number, path):
    vm = bytes([number]) * 16
    worker = Worker(path)
    answer = worker.start(vm, os.urandom(16))
    if answer[0] != GRANTED:
        return say("denied", number, answer[1])
    # The leaf behind its length: vm, version, two digests, status, instance, gaps.
    version, = struct.unpack_from("<Q", answer, 5 + 16)
    gaps, = struct.unpack_from("<I", answer, 5 + 16 + 8 + 64 + 1 + 16)
    say("found", number, version, gaps)
    while True:
        version += 1
        strict = version % 100 == 0
        answer = worker.commit(version, strict)
        if not answer or answer[0] != COMMITTED:
            return say("ended", number, answer.hex())
        say("acked", number, version, int(strict))


def age():
    """Seconds since this process, the emulated host's command, was started."""
    with open("/proc/self/stat", encoding="ascii") as stat:
        ticks = int(stat.read().rpartition(")")[2].split()[19])
    return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")


def main():
    vms = int(sys.argv[1])
    os.makedirs(MOUNT)
    subprocess.run(["mount", "-t", "ext4", "/dev/vda", MOUNT], check=True)
    anchor = [HOLDFAST, "anchor"]
    state = ["--state-dir", MOUNT]
    if not os.path.exists(f"{MOUNT}/anchor/keys"):
        subprocess.run([*anchor, "init", *state], check=True, stdout=subprocess.DEVNULL)
    serving = subprocess.Popen([*anchor, "serve", "--power-loss", "adopt", "--daily-budget", "0", "--stores-a-second",
                                "0", *state], stdout=subprocess.PIPE, text=True)
    if serving.stdout.readline() != "ready\n":
        return say("refused")
    say("ready", round(age(), 1))
    threads = [threading.Thread(target=live, args=(i + 1, f"{MOUNT}/anchor/anchor.sock")) for i in range(vms)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


main()
