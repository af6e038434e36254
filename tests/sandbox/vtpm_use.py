# SPDX-License-Identifier: Apache-2.0
"""A vTPM as a client uses it, for policy-trace: usage: vtpm_use.py HOLDFAST STATE_DIR"""
import os
import pathlib
import sys

os.environ['HOLDFAST'] = sys.argv[1]
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'vtpm'))
sys.dont_write_bytecode = True

from tpm_client import Served, booted, nv_define, nv_write  # noqa: E402

path = pathlib.Path(sys.argv[2]) / 'tpm.sock'
with Served(sys.argv[2], 'box', path) as served:
    with booted(path) as client:
        client.good(nv_define(0x1800001, 8))
        client.good(nv_write(0x1800001, b'01234567'))
    assert served.stop() == 0
