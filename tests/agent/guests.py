# SPDX-License-Identifier: Apache-2.0
"""Runs a script of guests with agents where Debian guests run: in one boot of the emulated host."""
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

TREE = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TREE / "tests/host"))
import in_emulated_host

HOST_SECONDS = 900
PROGRAMS = ["qemu-system-x86_64", "busybox", "xz", "zstd", "lz4", "mke2fs", "cryptsetup", "veritysetup", "openssl", "swtpm"]


def run(holdfast, script, more_programs, *more_python, arguments=(), options=()):
    """The script's exit status; 77 if something is not here. `options`: of the emulated host."""
    for program in PROGRAMS + more_programs:
        if shutil.which(program) is None:
            print(f"skip: no {program}")
            return 77
    kernel = subprocess.run([TREE / "tools/guests", "path", "vmlinux-6.12"], stdout=subprocess.PIPE, text=True)
    if kernel.returncode != 0:
        sys.exit("the test's kernel could not be made (tools/guests says why above)")
    vmlinux = Path(kernel.stdout.strip())
    modules = next((vmlinux.parent / "lib/modules").iterdir())
    python = ":".join(map(str, (TREE / "tests/linux", TREE / "tests/agent", *more_python)))
    environment = {**os.environ, "HOLDFAST": os.path.abspath(holdfast), "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": python,
                   "HOLDFAST_GUESTS": json.dumps({"vmlinux-6.12": str(vmlinux), "modules-6.12": str(modules)})}
    return in_emulated_host.run([in_emulated_host.PYTHON, str(script), *arguments], environment, HOST_SECONDS, *options)
