#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Cuts the power of an emulated host at random moments while its vTPMs store, again and again on the same disk and
TPM: nothing acknowledged strictly is ever lost, and what else is lost shows as a gap. 3 cuts, or 50 with
HOLDFAST_LONG=1."""
import os
import random
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
HOST = os.path.join(HERE, "../../tools/host")
CUT = 123
VMS = 20


class Books:
    """What each vTPM was told."""

    def __init__(self):
        self.acked = dict.fromkeys(range(1, VMS + 1), 0)
        self.strict = dict(self.acked)
        self.gaps = dict(self.acked)
        self.wrong = []
        self.losses = self.found = self.acks = 0
        self.ready = None  # seconds that the emulated host took until its anchor served

    def hear(self, line):
        word, *numbers = line.split()
        if word == "found":
            self.start(*map(int, numbers))
        elif word == "acked":
            vm, version, strict = map(int, numbers)
            self.acked[vm] = version
            self.acks += 1
            if strict:
                self.strict[vm] = version
        elif word == "ready":
            self.ready = float(numbers[0])
        else:
            self.wrong.append(line)

    def start(self, vm, version, gaps):
        self.found += 1
        if version < self.strict[vm]:
            self.wrong.append(f"vTPM {vm} went back to {version}, behind {self.strict[vm]}, acknowledged strictly")
        if version < self.acked[vm]:
            self.losses += 1
            if gaps <= self.gaps[vm]:
                self.wrong.append(f"vTPM {vm} went from {self.acked[vm]} to {version} without a mark")
        self.acked[vm] = self.strict[vm] = version
        self.gaps[vm] = gaps


def cut_once(books, folder, seconds):
    done = subprocess.run(
        [sys.executable, HOST, "run", "--tpm", "--tpm-state", f"{folder}/tpm", "--disk", f"{folder}/disk", "--cut-after",
         str(seconds), "--", "python3", f"{HERE}/power_cut_guest.py", str(VMS)], stdout=subprocess.PIPE, text=True)
    # The last line may be cut off: then nobody has heard it.
    for line in done.stdout.split("\n")[:-1]:
        books.hear(line)
    if done.returncode != CUT:
        books.wrong.append(f"the emulated host ended with {done.returncode}")


def main():
    for program in ("swtpm", "qemu-system-x86_64", "mkfs.ext4"):
        if not shutil.which(program):
            print(f"skip: no {program}")
            return 77
    cuts = 50 if os.environ.get("HOLDFAST_LONG") == "1" else 3
    seed = int(os.environ.get("HOLDFAST_SEED", random.randrange(1 << 32)))
    print(f"HOLDFAST_SEED={seed}")
    chance = random.Random(seed)
    books = Books()
    with tempfile.TemporaryDirectory(prefix="holdfast-cuts-") as folder:
        os.mkdir(f"{folder}/tpm")
        with open(f"{folder}/disk", "wb") as disk:
            disk.truncate(256 << 20)
        subprocess.run(["mkfs.ext4", "-q", f"{folder}/disk"], check=True)
        for cut in range(cuts):
            # First when there is something to lose; then mostly while it stores, else while it starts and recovers.
            early = cut % 4 == 3
            if books.ready is None:
                seconds = 30 * (cut + 1)
            elif early:
                seconds = chance.uniform(0.2, 1.0) * books.ready
            else:
                seconds = books.ready + chance.uniform(2, 12)
            cut_once(books, folder, round(seconds, 1))
            print(f"cut {cut + 1}: {books.acks} acknowledged, {books.found} starts, {books.losses} marked losses", flush=True)
            if books.wrong:
                break
    for each in books.wrong:
        print(each)
    if books.found <= VMS:
        books.wrong.append("no vTPM was ever started again")
    if books.wrong or books.acks == 0:
        print("not ok power cuts: " + (books.wrong[0] if books.wrong else "nothing was ever acknowledged"))
        return 1
    print("ok power cuts")
    return 0


if __name__ == "__main__":
    sys.exit(main())
