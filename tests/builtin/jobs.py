#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs the built-in guest's jobs and checks what they print: on QEMU's microvm, the outside oracle, or on holdfast.

usage: jobs.py qemu BUILTIN_ELF [CASE...]
       jobs.py holdfast HOLDFAST [CASE...]
exit status 0 passed, 1 failed, 77 skipped
"""

import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import tempfile

QEMU = "qemu-system-x86_64"
TIMEOUT_S = 240

# What QEMU 10.0.2 itself does not survive (it hangs or asserts) or takes minutes over: QEMU shows that
# the guest keeps its footing, not more.
NOT_ON_QEMU = "in-own-registers,bar-pages,config-window,every-port"


@dataclasses.dataclass
class Case:
    job: str
    wanted: str  # in the output, besides `JOB: ok` unless it is about a failure
    memory: int = 128
    cpus: int = 1
    devices: tuple = ()
    on: str = "qemu holdfast"


CASES = {
    "hello": Case("hello", "Hello from ring 3"),
    "memwalk-sequential": Case("memwalk size=8M passes=2 bytes=4096", "slots=2048"),
    "memwalk-random": Case("memwalk size=8M pattern=random passes=2", "accesses=4096"),
    "memwalk-zipf": Case("memwalk size=8M pattern=zipf passes=2", "accesses=4096"),
    "memwalk-pingpong": Case("memwalk size=8M pattern=pingpong write=0", "accesses=2048"),
    "memwalk-all": Case("memwalk size=all", "JOB: ok", memory=64),
    "memwalk-high": Case("memwalk size=3G stride=2M", "slots=1536", memory=7168),
    "memwalk-smp": Case("memwalk size=8M cpus=2", "cpus=2", cpus=2),
    "exit-pio": Case("exitloop count=1000", "exits=1000"),
    "exit-mmio": Case("exitloop count=1000 kind=mmio", "exits=1000"),
    "blk-read": Case("blk count=100", "requests=100", devices=("disk",)),
    "blk-random": Case("blk count=200 depth=32 random=1", "depth=32", devices=("disk",)),
    "blk-verify": Case("blk op=verify depth=16 random=1 count=100000", "bytes=16777216", devices=("disk",)),
    "blk-large": Case("blk op=verify depth=2 size=1M count=16", "bytes=16777216", devices=("disk",)),
    "blk-flush": Case("blk op=flush count=3", "requests=3", devices=("disk",)),
    "rng": Case("rng", "random=", devices=("rng",)),
    "rng-transitional": Case("rng", "random=", devices=("old-rng",), on="qemu"),
    "vconsole": Case("vconsole", "sent=", devices=("console",)),
    "net-arp": Case("net", "answer_from=52550a000202", devices=("net",), on="qemu"),
    "net-tx": Case("net mode=tx count=100", "frames=100", devices=("net",), on="qemu"),
    "hostile-blk": Case(f"hostile device=blk except={NOT_ON_QEMU}", "stuck=0", cpus=2, devices=("disk",), on="qemu"),
    "hostile": Case("hostile size=64K", "stuck=0", cpus=2, devices=("disk", "rng", "console", "vsock"), on="holdfast"),
    "hostile-net": Case("hostile device=net", "stuck=0", cpus=2, devices=("net",), on="holdfast"),
    "net-user": Case("net", "answer_from=", devices=("net",), on="holdfast"),
    "vsock-nobody": Case("vsock port=9", "JOB: failed the host refuses port 9", devices=("vsock",), on="holdfast"),
    # These must fail, and say why.
    "no-such-job": Case("nonsense", "JOB: failed there is no job nonsense"),
    "exception": Case("fault", "JOB: failed exception 14"),
    "too-many-cpus": Case("memwalk cpus=2", "JOB: failed this machine has 1 processors"),
    "bad-number": Case("memwalk size=12Q", "JOB: failed option size is not a number"),
}


def qemu(elf, case, directory):
    options = {
        "disk": ["-drive", f"if=none,id=d0,format=raw,file={directory}/disk",
                 "-device", "virtio-blk-pci,drive=d0,disable-legacy=on"],
        "rng": ["-device", "virtio-rng-pci,disable-legacy=on"],
        "old-rng": ["-device", "virtio-rng-pci,disable-legacy=off"],
        "console": ["-device", "virtio-serial-pci,disable-legacy=on", "-device", "virtconsole,chardev=c0",
                    "-chardev", f"file,id=c0,path={directory}/console"],
        # QEMU answers ARP for 10.0.2.2 by itself: nothing leaves the process.
        "net": ["-netdev", "user,id=n0,restrict=on", "-device", "virtio-net-pci,netdev=n0,disable-legacy=on,romfile="],
    }
    has_kvm = os.access("/dev/kvm", os.R_OK | os.W_OK)
    command = [QEMU, "-M", "microvm,acpi=on,pcie=on,rtc=off,pit=off,pic=off,isa-serial=on", "-bios", "qboot.rom",
               "-accel", "kvm" if has_kvm else "tcg", "-cpu", "host,-arch-capabilities" if has_kvm else "max",
               "-m", str(case.memory), "-smp", str(case.cpus), "-nodefaults", "-no-user-config", "-display", "none",
               "-serial", "stdio", "-no-reboot", "-kernel", elf, "-append", f"job={case.job}"]
    for device in case.devices:
        command += options[device]
    return command


def holdfast(program, case, directory):
    options = {"disk": ["--disk", f"{directory}/disk"], "rng": [], "console": ["--console", "virtio"],
               "vsock": ["--vsock", f"3={directory}/vsock"], "net": ["--net", "user"]}
    command = [program, "run", "--builtin", "--memory-encryption", "none", "--memory", f"{case.memory}M",
               "--cpus", str(case.cpus), "--cmdline", f"job={case.job}"]
    for device in case.devices:
        command += options[device]
    return command


def run(command, directory):
    """The output of one guest, and whether it ended by itself."""
    environment = {**os.environ, "XDG_RUNTIME_DIR": directory}
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          env=environment, start_new_session=True) as process:
        try:
            output, ended = process.communicate(timeout=TIMEOUT_S)[0], True
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            output, ended = process.communicate()[0], False
    return output.decode(errors="replace"), ended


def passes(name, case, make_command, program):
    with tempfile.TemporaryDirectory() as directory:
        with open(f"{directory}/disk", "wb") as disk:
            disk.truncate(16 << 20)
        output, ended = run(make_command(program, case, directory), directory)
    must_fail = case.wanted.startswith("JOB: failed")
    good = ended and case.wanted in output and (must_fail or "JOB: ok" in output)
    print(f"{'ok' if good else 'FAILED'} {name}", flush=True)
    if not good:
        print(f"  wanted: {case.wanted}{'' if ended else ' (did not end)'}\n  " + output.replace("\n", "\n  "))
    return good


def main():
    if len(sys.argv) < 3 or sys.argv[1] not in ("qemu", "holdfast"):
        print(__doc__)
        return 2
    where, program, chosen = sys.argv[1], sys.argv[2], sys.argv[3:]
    if where == "qemu" and shutil.which(QEMU) is None:
        print(f"skip: no {QEMU} (tools/deps test)")
        return 77
    if where == "holdfast" and not os.access("/dev/kvm", os.R_OK | os.W_OK):
        print("skip: no /dev/kvm")
        return 77
    make_command = qemu if where == "qemu" else holdfast
    cases = {name: case for name, case in CASES.items() if where in case.on and (not chosen or name in chosen)}
    results = [passes(name, case, make_command, program) for name, case in cases.items()]
    return 0 if results and all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
