# SPDX-License-Identifier: Apache-2.0
"""Devices of the emulated host as tests of holdfast device and run --device see them."""
import hashlib
from pathlib import Path

DEVICES = Path("/sys/bus/pci/devices")


def driver(address):
    link = DEVICES / address / "driver"
    return link.resolve().name if link.exists() else ""


def audited(log):
    """The audit log's events. AssertionError where a line is not chained to those before it."""
    chain, events = "0" * 64, []
    for line in log.read_text().splitlines():
        text, _, said = line.rpartition(" chain=")
        chain = hashlib.sha256((chain + text).encode()).hexdigest()
        assert said == chain, line
        events.append({**dict(field.split("=", 1) for field in text.split(" ")), "chain": said})
    return events
