#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""map + unmap through our stack beside the two VFIO requests alone (iommu_host_bench.cpp): lines "name value unit".

usage: dma.py [--build DIR]    HF_DEVICE=BDF: of this host, bound to vfio-pci; without it the emulated host and its edu device
"""
import argparse
import os
import sys
from pathlib import Path

sys.dont_write_bytecode = True  # the tree stays as it is
TREE = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TREE / "tests/host"))
import in_emulated_host

EDU = "0000:01:00.0"
SCRIPT = f"""echo vfio-pci >/sys/bus/pci/devices/{EDU}/driver_override
echo {EDU} >/sys/bus/pci/drivers_probe
HF_DEVICE={EDU} exec "$@" """


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", default=str(TREE / "build"))
    program = os.path.abspath(parser.parse_args().build) + "/bench/bench-iommu-host"
    if "HF_DEVICE" in os.environ:
        os.execv(program, [program])
    return in_emulated_host.run(["sh", "-c", SCRIPT, "sh", program], os.environ, 600, "--device", "edu")


if __name__ == "__main__":
    sys.exit(main())
