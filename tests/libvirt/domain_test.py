# SPDX-License-Identifier: Apache-2.0
"""Runs cases.py where Linux guests run: on this machine if its KVM can, else in one boot of the emulated host.

usage: domain_test.py [CASE...]
"""
import json
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
for place in ('linux', 'host'):
    sys.path.insert(0, str(HERE.parent / place))
import daemon
import in_emulated_host
from in_emulated_host import PYTHON

HOST_SECONDS = 900


def runs_linux():
    done = subprocess.run([daemon.HOLDFAST, 'doctor', '--json'], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
    found = json.loads(done.stdout)
    found = found.get('findings', []) if isinstance(found, dict) else found
    return any(finding.get('id') == 'linux-guests' and finding.get('state') == 'ok' for finding in found)


def main():
    daemon.need()
    environment = daemon.guests('vmlinux-6.1', 'initramfs-6.1')
    command = [PYTHON, str(HERE / 'cases.py'), *sys.argv[1:]]
    if runs_linux():
        return subprocess.run(command, env=environment, stdin=subprocess.DEVNULL).returncode
    daemon.need(daemon.EMULATED_HOST)
    return in_emulated_host.run(command, environment, HOST_SECONDS)


if __name__ == '__main__':
    sys.exit(main())
