#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs the built-in guest's jobs on QEMU's microvm and checks what they print.

usage: qemu.py BUILTIN_ELF [CASE...]    exit status 0 passed, 1 failed, 77 skipped
"""

import os
import shutil
import subprocess
import sys
import tempfile

QEMU = "qemu-system-x86_64"
DISK = ["-drive", "if=none,id=d0,format=raw,file={dir}/disk", "-device", "virtio-blk-pci,drive=d0,disable-legacy=on"]
CONSOLE = ["-device", "virtio-serial-pci,disable-legacy=on", "-device", "virtconsole,chardev=c0", "-chardev"]
# QEMU answers ARP for 10.0.2.2 by itself: nothing leaves the process.
NET = ["-netdev", "user,id=n0,restrict=on", "-device", "virtio-net-pci,netdev=n0,disable-legacy=on,romfile="]

# name: (command line, QEMU options, text the output must contain besides `JOB: ok`)
CASES = {
    "hello": ("job=hello", ["-device", "virtio-rng-pci,disable-legacy=on"], "1af4:1044 virtio random numbers"),
    "memwalk-sequential": ("job=memwalk size=8M passes=2 bytes=4096", [], "slots=2048"),
    "memwalk-random": ("job=memwalk size=8M pattern=random passes=2", [], "accesses=4096"),
    "memwalk-zipf": ("job=memwalk size=8M pattern=zipf passes=2", [], "accesses=4096"),
    "memwalk-pingpong": ("job=memwalk size=8M pattern=pingpong write=0", [], "accesses=2048"),
    "memwalk-all": ("job=memwalk size=all", ["-m", "64"], "JOB: ok"),
    "memwalk-high": ("job=memwalk size=3G stride=2M", ["-m", "7168"], "slots=1536"),
    "memwalk-smp": ("job=memwalk size=8M cpus=2", ["-smp", "2"], "cpus=2"),
    "blk-read": ("job=blk count=100", DISK, "requests=100"),
    "blk-random": ("job=blk count=200 depth=32 random=1", DISK, "depth=32"),
    "blk-verify": ("job=blk op=verify depth=16 random=1 count=100000", DISK, "bytes=16777216"),
    "blk-large": ("job=blk op=verify depth=2 size=1M count=16", DISK, "bytes=16777216"),
    "blk-flush": ("job=blk op=flush count=3", DISK, "requests=3"),
    "rng": ("job=rng", ["-device", "virtio-rng-pci,disable-legacy=on"], "random="),
    "rng-transitional": ("job=rng", ["-device", "virtio-rng-pci,disable-legacy=off"], "random="),
    "vconsole": ("job=vconsole", [*CONSOLE, "file,id=c0,path={dir}/console"], "sent="),
    "net-arp": ("job=net", NET, "answer_from=52550a000202"),
    "net-tx": ("job=net mode=tx count=100", NET, "frames=100"),
    "exit-pio": ("job=exitloop count=1000", [], "exits=1000"),
    "exit-mmio": ("job=exitloop count=1000 kind=mmio", [], "exits=1000"),
}
# Misuse that QEMU 10.0.2 itself does not survive (it hangs or asserts) or takes minutes over is left out:
# QEMU shows here that the guest keeps its footing, not more.
NOT_ON_QEMU = "in-own-registers,bar-pages,config-window,every-port"
CASES["hostile-blk"] = (f"job=hostile device=blk except={NOT_ON_QEMU}", ["-smp", "2", *DISK], "stuck=0")

# Jobs that must fail, and what they say.
FAILING = {
    "no-such-job": ("job=nonsense", [], "JOB: failed there is no job nonsense"),
    "exception": ("job=fault", [], "JOB: failed exception 14"),
    "too-many-cpus": ("job=memwalk cpus=2", [], "JOB: failed this machine has 1 processors"),
    "bad-number": ("job=memwalk size=12Q", [], "JOB: failed option size is not a number"),
}


def accelerator():
    if os.access("/dev/kvm", os.R_OK | os.W_OK):
        return ["-accel", "kvm", "-cpu", "host,-arch-capabilities"]
    return ["-accel", "tcg", "-cpu", "max"]


def run(elf, command_line, options, directory):
    """Output of one guest, or None if it did not end."""
    command = [QEMU, "-M", "microvm,acpi=on,pcie=on,rtc=off,pit=off,pic=off,isa-serial=on", "-bios", "qboot.rom",
               *accelerator(), "-m", "128", "-nodefaults", "-no-user-config", "-display", "none",
               "-serial", "stdio", "-no-reboot", "-kernel", elf, "-append", command_line]
    command += [option.replace("{dir}", directory) for option in options]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              timeout=60, check=False)
    except subprocess.TimeoutExpired as late:
        return (late.stdout or b"").decode(errors="replace") + "\n(did not end)"
    return done.stdout.decode(errors="replace")


def main():
    elf, chosen = sys.argv[1], sys.argv[2:]
    if shutil.which(QEMU) is None:
        print(f"skipped: {QEMU} is not installed (tools/deps test)")
        return 77
    failures = 0
    for name, (command_line, options, wanted) in {**CASES, **FAILING}.items():
        if chosen and name not in chosen:
            continue
        with tempfile.TemporaryDirectory() as directory:
            with open(f"{directory}/disk", "wb") as disk:
                disk.truncate(16 << 20)
            output = run(elf, command_line, options, directory)
        good = wanted in output and "(did not end)" not in output and (name in FAILING or "JOB: ok" in output)
        print(f"{'ok' if good else 'FAILED'} {name}")
        if not good:
            failures += 1
            print(f"  wanted: {wanted}\n  " + output.replace("\n", "\n  "))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
