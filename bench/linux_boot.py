# SPDX-License-Identifier: Apache-2.0
"""Inside the emulated host: exec of the VMM to the first line of a Debian guest's init, in turns.

  linux_boot.py BUILD KERNEL INITRD RUNS      prints one JSON object of lists of seconds
"""
import json
import subprocess
import sys
import time

build, kernel, initrd, runs = sys.argv[1:]
CMDLINE = "console=ttyS0 quiet panic=-1"
MARK = b"HOLDFAST-GUEST: user space reached"
COMMANDS = {
    "holdfast": [f"{build}/holdfast", "run", "--memory", "512M", "--memory-encryption", "none", "--kernel", kernel,
                 "--initrd", initrd, "--cmdline", CMDLINE],
    "qemu": ["qemu-system-x86_64", "-M", "microvm,acpi=on,pcie=on,rtc=off,pit=off,pic=off,isa-serial=on",
             "-bios", "qboot.rom", "-enable-kvm", "-cpu", "host", "-m", "512", "-nodefaults", "-no-user-config",
             "-nographic", "-serial", "stdio", "-device", "virtio-rng-pci,disable-legacy=on", "-no-reboot",
             "-kernel", kernel, "-initrd", initrd, "-append", CMDLINE],
}
times = {name: [] for name in COMMANDS}
for turn in range(int(runs) + 1):
    for name, command in COMMANDS.items():
        start = time.perf_counter()
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        seen = b""
        while MARK not in seen:
            more = child.stdout.read1(65536)
            if not more:
                sys.exit(f"{name} ended before its guest's user space:\n{seen.decode(errors='replace')}")
            seen += more
        passed = time.perf_counter() - start
        child.stdout.read()
        child.wait()
        # The first turn brings programs and images into the page cache.
        if turn > 0:
            times[name].append(passed)
print(json.dumps(times))
