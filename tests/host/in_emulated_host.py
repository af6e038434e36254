# SPDX-License-Identifier: Apache-2.0
"""A whole test in one boot of the emulated host (tools/host)."""
import os
import subprocess
from pathlib import Path

TREE = Path(__file__).resolve().parents[2]
PYTHON = "/usr/bin/python3"  # inside the emulated host another one may be slow to load
LONG = "HOLDFAST_LONG" in os.environ
_EDU = "0000:01:00.0"
_BIND = f"""echo vfio-pci >/sys/bus/pci/devices/{_EDU}/driver_override
echo {_EDU} >/sys/bus/pci/drivers_probe
HF_DEVICE={_EDU} exec "$@" """
_STOOD_STILL, _WENT_DOWN = 124, 125  # tools/host: how the host ended, not what ran in it


def run(command, environment, seconds, *options):
    """The exit status of `command`. `seconds`: several times what all of it takes; each single thing in it has a
    deadline of its own and reports that.

    QEMU interprets a processor with SVM there (docs/emulated_host.md, what it is not): should that kernel panic or
    stand still, everything is run once more, and that is said.
    """
    words = [TREE / "tools/host", "run", *options, "--timeout", str(seconds), "--", *command]
    for attempts_left in (1, 0):
        status = subprocess.run(words, env=environment, stdin=subprocess.DEVNULL).returncode
        if not attempts_left or status not in (_STOOD_STILL, _WENT_DOWN):
            return status
        print("# the emulated host failed: everything once more", flush=True)


def run_with_edu(command, environment, seconds, *options):
    """run(), with the host's `edu` bound to vfio-pci and named in HF_DEVICE."""
    return run(["sh", "-c", _BIND, "sh", *command], environment, seconds, "--device", "edu", *options)
