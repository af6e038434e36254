#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Prints the root of the two leaves in ledger_test.cpp, by Python's own SHA-256 and docs/anchor.md's layout."""
import hashlib
import struct


def leaf(vm, version, status):
    return (bytes([vm]) + bytes(15) + struct.pack("<Q", version) + bytes(64) + bytes([status]) + bytes(16)
            + struct.pack("<II", 0, 0) + bytes(32))


def sha256(data):
    return hashlib.sha256(data).digest()


leaves = [sha256(b"\0" + leaf(1, 5, 2)), sha256(b"\0" + leaf(2, 0, 1))]
print(sha256(b"\1" + leaves[0] + leaves[1]).hex())
