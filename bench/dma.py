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


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", default=str(TREE / "build"))
    program = os.path.abspath(parser.parse_args().build) + "/bench/bench-iommu-host"
    if "HF_DEVICE" in os.environ:
        os.execv(program, [program])
    return in_emulated_host.run_with_edu([program], os.environ, 600)


if __name__ == "__main__":
    sys.exit(main())
