# SPDX-License-Identifier: Apache-2.0
"""Runs host_cases.py in one boot of the emulated host.

usage: host_test.py [CLASS[.CASE]...]
"""
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / 'host'))
import daemon
import in_emulated_host
from in_emulated_host import PYTHON

HOST_SECONDS = 700


def main():
    daemon.need()
    daemon.need(daemon.EMULATED_HOST)
    command = [PYTHON, str(HERE / 'host_cases.py'), *sys.argv[1:]]
    return in_emulated_host.run(command, daemon.guests('vmlinux-6.12', 'initramfs-6.12'), HOST_SECONDS, '--device', 'nvme', '--device', 'edu')


if __name__ == '__main__':
    sys.exit(main())
