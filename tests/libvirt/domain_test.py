# SPDX-License-Identifier: Apache-2.0
"""Runs cases.py where Linux guests run: on this machine if its KVM can, else in one boot of the emulated host.

usage: domain_test.py [CASE...]
"""
import json
import os
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
for place in ('linux', 'host'):
    sys.path.insert(0, str(HERE.parent / place))
import daemon
import in_emulated_host
from in_emulated_host import PYTHON, TREE

HOST_SECONDS = 900


def runs_linux():
    done = subprocess.run([daemon.HOLDFAST, 'doctor', '--json'], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
    found = json.loads(done.stdout)
    found = found.get('findings', []) if isinstance(found, dict) else found
    return any(finding.get('id') == 'linux-guests' and finding.get('state') == 'ok' for finding in found)


def main():
    daemon.need()
    guests = {}
    for part in ('vmlinux-6.1', 'initramfs-6.1'):
        guests[part] = subprocess.run([TREE / 'tools/guests', 'path', part], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
    environment = {**os.environ, 'HOLDFAST_GUESTS': json.dumps(guests), 'PYTHONDONTWRITEBYTECODE': '1'}
    command = [PYTHON, str(HERE / 'cases.py'), *sys.argv[1:]]
    if runs_linux():
        return subprocess.run(command, env=environment, stdin=subprocess.DEVNULL).returncode
    for program in ('qemu-system-x86_64', 'g++', 'xz', 'zstd', 'lz4'):
        if daemon.shutil.which(program) is None:
            daemon.skip(program)
    return in_emulated_host.run(command, environment, HOST_SECONDS)


if __name__ == '__main__':
    sys.exit(main())
