# SPDX-License-Identifier: Apache-2.0
"""CBOR (RFC 8949) as far as evidence has it, read and written by another implementation."""


def head(major, value):
    if value < 24:
        return bytes([major << 5 | value])
    for info, size in ((24, 1), (25, 2), (26, 4), (27, 8)):
        if value < 1 << 8 * size:
            return bytes([major << 5 | info]) + value.to_bytes(size, 'big')


def dumps(value):
    if isinstance(value, int):
        return head(0, value)
    if isinstance(value, bytes):
        return head(2, len(value)) + value
    if isinstance(value, str):
        return head(3, len(value.encode())) + value.encode()
    if isinstance(value, list):
        return head(4, len(value)) + b''.join(map(dumps, value))
    pairs = sorted((dumps(key), dumps(each)) for key, each in value.items())
    return head(5, len(pairs)) + b''.join(key + each for key, each in pairs)


def loads(data):
    value, rest = take(data)
    assert not rest
    return value


def take(data):
    major, info = data[0] >> 5, data[0] & 31
    data = data[1:]
    if info >= 24:
        size = 1 << info - 24
        info, data = int.from_bytes(data[:size], 'big'), data[size:]
    if major == 0:
        return info, data
    if major in (2, 3):
        return (data[:info] if major == 2 else data[:info].decode()), data[info:]
    items = []
    for _ in range(info * (major - 3)):
        item, data = take(data)
        items.append(item)
    return (items if major == 4 else dict(zip(items[::2], items[1::2]))), data
