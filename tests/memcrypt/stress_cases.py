# SPDX-License-Identifier: Apache-2.0
"""Not one wrong byte: guests that check all they wrote, with windows of every size, disturbed as much as can be."""
import itertools
import os
import random
import threading
import time

from guest import Guest, LinuxGuest, Stuck
from report import behaviour

LONG = bool(os.environ.get("HOLDFAST_LONG"))
PATTERNS = ("sequential", "random", "zipf", "pingpong")
WINDOWS = ("1%", "5%", "50%", "100%")
# Every pattern meets every processor count, every window both; the long form runs all.
PAIRS = [("random", "1%", 2), ("sequential", "1%", 1), ("pingpong", "5%", 2), ("zipf", "5%", 1),
         ("zipf", "50%", 2), ("random", "50%", 1), ("sequential", "100%", 2), ("pingpong", "100%", 1)]
PATIENCE = 3600 if LONG else 300


def walk(pattern, cpus):
    size, passes = ("20M", 20) if LONG else ("8M", 2)
    return f"memwalk size={size} passes={passes} bytes=512 pattern={pattern} cpus={cpus} seed={random.getrandbits(16)}"


def test_guests_that_check_every_byte_find_none_wrong():
    for pattern, window, cpus in itertools.product(PATTERNS, WINDOWS, (1, 2)) if LONG else PAIRS:
        with behaviour(f"walk: {pattern}, window {window}, {cpus} CPUs: every byte is right"):
            with Guest(f"walk-{pattern}-{window[:-1]}-{cpus}", job=walk(pattern, cpus), window=window, cpus=cpus,
                       seal_after="1s") as vm:
                vm.ends_ok(PATIENCE)
    with behaviour("walk: a disk's data go through a window of 1 % unchanged"):
        with open("walk.img", "wb") as disk:
            disk.truncate(8 << 20)
        with Guest("walk-disk", "--disk", "walk.img", job="blk op=verify depth=16 random=1 count=500", window="1%") as vm:
            vm.ends_ok(PATIENCE)


class Disturber(threading.Thread):
    """Seals all at random moments, and pauses the guest about as often, until the VM is gone."""

    def __init__(self, qmp):
        super().__init__(daemon=True)
        self._qmp = qmp
        self.seals = self.pauses = 0
        self.wrong = None

    def run(self):
        try:
            for turn in itertools.count():
                if random.randrange(2) if turn > 1 else turn:  # each once, however soon the VM ends
                    self._qmp.run("memcrypt-seal")
                    self.seals += 1
                else:
                    self._qmp.run("stop")
                    self._qmp.run("cont")
                    self.pauses += 1
                time.sleep(random.random() / 5)  # the moment is the point; nothing is waited for
        except (Stuck, OSError, ValueError):
            pass  # the VM has ended
        except AssertionError as wrong:
            self.wrong = wrong


def test_walks_through_pauses_and_forced_seals_find_no_wrong_byte():
    for pattern, window in (("random", "10%"), ("sequential", "50%")):
        with behaviour(f"disturbed: {pattern}, window {window}, sealed and paused at random moments: every byte is right"):
            with Guest(f"disturbed-{pattern}", job=walk(pattern, 2), window=window, cpus=2, seal_after="1s") as vm:
                disturber = Disturber(vm.qmp())
                disturber.start()
                vm.ends_ok(PATIENCE)
                disturber.join(30)
                assert not disturber.wrong, disturber.wrong
                assert disturber.seals and disturber.pauses, (disturber.seals, disturber.pauses)


# Files in a tmpfs are guest RAM: written, evicted, and read again with their checksums known.
FILES = """(mkdir /t && mount -t tmpfs -o size=80%% t /t && cd /t && head -c %(size)s /dev/urandom >seed || exit 2; \
for round in $(seq %(rounds)d); do for i in $(seq %(files)d); do (echo $round $i; cat seed) >f$i; done; \
sha256sum f* >sums; sha256sum -c -s sums || exit 3; gzip -1 <f1 >z; gzip -dc z | cmp - f1 || exit 4; done)"""


def test_linux_keeps_its_files():
    sizes = {"size": "2m", "rounds": 30, "files": 60} if LONG else {"size": "1m", "rounds": 1, "files": 30}
    with LinuxGuest("linux", kernel="vmlinux-6.1", cpus=2) as vm:
        vm.ready(PATIENCE)
        with behaviour("linux: Debian 6.1 in a window of 10 % finds its files as it wrote them"):
            vm.sh(FILES % sizes, seconds=PATIENCE)
        with behaviour("linux: they were sealed and opened meanwhile, and the window was kept"):
            memory = vm.qmp().run("query-memcrypt")
            assert memory["faults"]["sealed"] > 500, memory["faults"]
            assert 0 < memory["pages"]["most-clear"] <= memory["pages"]["window"], memory["pages"]
        with behaviour("linux: powers off"):
            vm.power_off()
