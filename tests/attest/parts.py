# SPDX-License-Identifier: Apache-2.0
"""The parts of a VM's evidence and what each is made for, by another hand than attest/: docs/attestation.md."""
import hashlib

import cbor


def sha256(*parts):
    return hashlib.sha256(b''.join(parts)).digest()


def question(role, nonce, *parts):
    return sha256(f'holdfast evidence: {role}\0'.encode(), sha256(nonce), *map(sha256, parts))


def asked_by_host(nonce):
    return sha256(b'holdfast vtpm: asked by its host\0', nonce)


def whole(launch, host, anchor=None, vtpm=None):
    parts = {'host': ['application/vnd.holdfast.host-quote+cbor', host, 4],
             'launch': ['application/eat-ucs+cbor', launch, 4]}
    if anchor is not None:
        parts['anchor'] = ['application/vnd.holdfast.anchor', anchor, 4]
    if vtpm is not None:
        parts['vtpm'] = ['application/vnd.holdfast.vtpm-quote+cbor', vtpm, 4]
    return cbor.dumps(parts)


def part(evidence, name):
    return cbor.loads(evidence)[name][1]


def ak_of(evidence):
    """TPM2B_PUBLIC of the host's attestation key."""
    return cbor.loads(part(evidence, 'host'))[3]


def name_of(public):
    return (b'\0\x0b' + sha256(public[2:])).hex()
