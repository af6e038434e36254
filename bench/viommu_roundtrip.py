#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How long a guest's processor waits for its IOMMU: MAP and UNMAP of virtio-iommu, beside QEMU's virtio-iommu.

usage: viommu_roundtrip.py [--build DIR] [--rounds N] [--figures]    --figures: for holdfast bench, "name value unit" a line

Debian 6.12 reads 4 KiB at a time from an NVMe of the emulated host, once under holdfast and once under QEMU, turn about,
both on that host's KVM, VFIO and VT-d; the guest's own function tracer times viommu_iotlb_sync_map() and viommu_iotlb_sync(),
which return when the request is answered. Prints the median of each. Absolute times mean nothing there.
"""
import argparse
import base64
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

sys.dont_write_bytecode = True  # the tree stays as it is
TREE = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TREE / "tests/host"))
import in_emulated_host

NVME = "0000:01:00.0"
SCRIPT = """
i=0; while [ ! -b /dev/nvme0n1 ] && [ $i -lt 600 ]; do usleep 100000; i=$((i+1)); done
mount -t tracefs t /sys/kernel/tracing; cd /sys/kernel/tracing
echo viommu_iotlb_sync_map >set_ftrace_filter; echo viommu_iotlb_sync >>set_ftrace_filter
echo function_graph >current_tracer
dd if=/dev/nvme0n1 of=/dev/null bs=4k count=600 iflag=direct 2>/dev/null
echo 0 >tracing_on
for f in viommu_iotlb_sync_map viommu_iotlb_sync; do
    grep "$f[ (]" trace | sed 's/^.*[^0-9.]\\([0-9.]*\\) us .*/\\1/' | sort -n >/tmp/t
    n=$(wc -l </tmp/t); echo "MEDIAN $f $n $(sed -n "$(( (n + 1) / 2 ))p" /tmp/t)"
done
"""


def measure(given):
    holdfast = f"{os.path.abspath(given.build)}/holdfast"
    kernel, initrd = os.environ["HF_KERNEL"], os.environ["HF_INITRD"]
    line = f"console=ttyS0 quiet panic=-1 iommu.strict=1 hf.sh={base64.b64encode(SCRIPT.encode()).decode()}"
    place = tempfile.mkdtemp()
    Path(place, "policy").write_text(f'[[device]]\naddress = "{NVME}"\n')
    subprocess.run([holdfast, "--state-dir", place, "device", "bind", NVME, "--policy", f"{place}/policy"], check=True)
    commands = {
        "holdfast": [holdfast, "--state-dir", place, "run", "--kernel", kernel, "--initrd", initrd, "--cmdline", line,
                     "--memory", "256M", "--memory-encryption", "none", "--device", NVME, "--device-policy", f"{place}/policy"],
        "QEMU": ["qemu-system-x86_64", "-M", "q35", "-accel", "kvm", "-cpu", "host", "-m", "256", "-nodefaults",
                 "-no-user-config", "-nographic", "-serial", "stdio", "-no-reboot", "-kernel", kernel, "-initrd", initrd,
                 "-append", line, "-device", "virtio-iommu-pci", "-device", f"vfio-pci,host={NVME}"]}
    for _ in range(given.rounds):
        for name, command in commands.items():
            done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace",
                                  timeout=900)
            found = re.findall(r"MEDIAN viommu_iotlb_(sync_map|sync) (\d+) ([0-9.]+)", done.stdout)
            if len(found) != 2:
                sys.exit(done.stderr[-1000:] + done.stdout[-1500:])
            for what, count, us in found:
                what = "map" if what == "sync_map" else "unmap"
                print(f"viommu.{what}.{name.lower()} {us} us" if given.figures else f"{name:9} {what} {us} us ({count} times)", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", default=str(TREE / "build"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--figures", action="store_true")
    given = parser.parse_args()
    if os.environ.get("HOLDFAST_EMULATED_HOST"):
        return measure(given)
    made = {variable: subprocess.check_output([TREE / "tools/guests", "path", name], text=True).strip()
            for variable, name in (("HF_KERNEL", "vmlinux-6.12"), ("HF_INITRD", "initramfs-6.12"))}
    command = [in_emulated_host.PYTHON, os.path.abspath(__file__), *sys.argv[1:]]
    return in_emulated_host.run(command, {**os.environ, **made}, 3000, "--device", "nvme", "--memory", "2G")


if __name__ == "__main__":
    sys.exit(main())
