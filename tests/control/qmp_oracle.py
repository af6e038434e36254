#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The same bytes to QEMU and to our control server; the answers must have the same shape.

qmp_oracle.py QMP_SERVER [QEMU]: compared are, message by message, how many lines come back, their keys,
event names and data, error classes, ids, and error texts where they are not the JSON parser's own.
Differences we know of and mean to keep are listed with their reason (one cannot be: to "id": 1e400 QEMU
10.0 answers "id": inf, which is no JSON; we refuse the message). Without QEMU the test skips (77).
"""
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile

# One entry a message, as sent; `"PING"` after each tells when all answers to it are there.
MESSAGES = [
    # before negotiation
    b'{"execute":"query-status"}',
    b'{"execute":"nope","id":1}',
    b'{"execute":"qmp_capabilities","arguments":{"enable":"oob"}}',
    b'{"execute":"qmp_capabilities","arguments":{"enable":[3]}}',
    b'{"execute":"qmp_capabilities","arguments":{"x":1}}',
    b'{"execute":"qmp_capabilities","arguments":{"enable":[],"x":1}}',
    b'{"execute":"qmp_capabilities","id":[1,{"a":null}]}',
    # after it
    b'{"execute":"qmp_capabilities","id":1}',
    b'{"execute":"query-status","id":"x"}',
    b'{"execute":"query-status","arguments":{}}',
    b'{"execute":"query-status","arguments":{"a":1}}',
    b'{"execute":"query-status","arguments":[]}',
    b'{"execute":"query-status","arguments":null}',
    b'{"execute":"nope","id":"x"}',
    b'{"execute":"","id":"x"}',
    b'{"execute":3,"id":"x"}',
    b'{"arguments":{},"id":"x"}',
    b'{"execute":"stop","foo":1,"id":4}',
    b'{"exec-oob":"query-name"}',
    b'{}',
    b'[1]',
    b'[[[1]]]',
    b'12 ',
    b'-1.5e3 ',
    b'"abc"',
    b'true ',
    b'foo ',
    b'}',
    b',',
    b'{]',
    b'{"execute":}',
    b'{"execute" "x"}',
    b'{"execute":"query-name",}',
    b'{"execute":"a\n',
    b'@@@\n',
    b'\xff\n',
    b'{"execute":"\xc3("}',
    b"{'execute':'query-status','id':'it\\'s \"q\"'}",
    b'{"execute":"query-status"}{"execute":"nope"}\r\n\t{"execute":"query-status","id":2}',
    b'{"execute":"query-status","id":18446744073709551615}',
    b'{"execute":"query-status","id":-9223372036854775808}',
    b'{"execute":"query-status","id":null}',
    b'{"execute":"query-status","id":false}',
    b'{"execute":"query-status","id":"\\u00e9\\u0001"}',
    b'{"execute":"a\\u0000b"}',
    b'{"execute":"query-version"}',
    b'{"execute":"query-name"}',
    b'{"execute":"query-kvm"}',
    b'{"execute":"query-cpus-fast"}',
    b'{"execute":"query-block"}',
    b'{"execute":"query-blockstats"}',
    b'{"execute":"query-blockstats","arguments":{"query-nodes":true}}',
    b'{"execute":"query-chardev"}',
    b'{"execute":"stop"}',
    b'{"execute":"query-status"}',
    b'{"execute":"stop"}',
    b'{"execute":"cont"}',
    b'{"execute":"cont"}',
    b'{"execute":"system_reset"}',
    b'{"execute":"system_powerdown"}',
]

# What a fake machine and an empty QEMU cannot have in common: values, not keys.
ANY_VALUE = {'package', 'major', 'minor', 'micro', 'enabled', 'present', 'seconds', 'microseconds', 'name'}
# Lists whose length depends on the machine; members of ours must be known to QEMU's schema.
LISTS = {b'query-cpus-fast', b'query-block', b'query-blockstats', b'query-chardev'}
# Guest memory that is encrypted in software; what devices of the host may reach.
OURS_ALONE = ('query-memcrypt', 'memcrypt-seal', 'query-device-grants')
KNOWN_DIFFERENCES = {
    b'{"execute":"query-status","execute":"query-name"}': 'QEMU refuses a duplicate key; for us the last one counts',
}
PING = b'{"execute":"qmp-oracle-ping","id":"PING"}\n'


class Client:
    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(20)
        self.socket.connect(path)
        self.file = self.socket.makefile('rb')

    def line(self):
        raw = self.file.readline()
        if not raw:
            raise EOFError
        assert raw.endswith(b'\r\n'), raw
        return json.loads(raw)

    def ask(self, message):
        """All lines that `message` causes."""
        self.socket.sendall(message + PING)
        lines = []
        while (line := self.line()).get('id') != 'PING':
            lines.append(line)
        return lines


def shape(value, key=''):
    """What two servers must agree on."""
    if isinstance(value, dict):
        if key == 'error':
            text = value['desc']
            return {'class': value['class'], 'desc': 'JSON' if text.startswith('JSON') else text}
        return {k: shape(v, k) for k, v in sorted(value.items())}
    if key == 'id' or key not in ANY_VALUE:
        return value
    return type(value).__name__


def compare(message, ours, theirs):
    if message in KNOWN_DIFFERENCES:
        return shape_list(ours) != shape_list(theirs)
    if any(name in message for name in LISTS):
        return 'return' in ours[0] and isinstance(ours[0]['return'], list) and len(ours) == len(theirs)
    return shape_list(ours) == shape_list(theirs)


def shape_list(lines):
    return [shape(line) for line in lines]


def members(schema, type_name):
    """name → type of an object of QEMU's schema, its variants' members left out."""
    entry = schema[type_name]
    if entry['meta-type'] == 'array':
        return members(schema, entry['element-type'])
    return {m['name']: m['type'] for m in entry.get('members', [])} if entry['meta-type'] == 'object' else {}


def check_against_schema(value, type_name, schema, where):
    """Every member we send must be one that a client of QEMU can know."""
    if isinstance(value, list):
        return [p for item in value for p in check_against_schema(item, type_name, schema, where + '[]')]
    if not isinstance(value, dict):
        return []
    known, problems = members(schema, type_name), []
    variants = [m for v in schema[type_name].get('variants', []) for m in members(schema, v['type'])]
    for key, inner in value.items():
        if key in known:
            problems += check_against_schema(inner, known[key], schema, f'{where}.{key}')
        elif key not in variants:
            problems.append(f'{where}.{key} is unknown to QEMU')
    return problems


def element(schema, type_name):
    entry = schema[type_name]
    return entry['element-type'] if entry['meta-type'] == 'array' else type_name


def main():
    server_program, qemu = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else 'qemu-system-x86_64'
    if not shutil.which(qemu):
        print(f'skipped: {qemu} is not installed')
        return 77
    with tempfile.TemporaryDirectory() as folder:
        ours_path, theirs_path = os.path.join(folder, 'ours'), os.path.join(folder, 'theirs')
        # QEMU gets a socket that already listens, so there is nothing to wait for.
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(theirs_path)
        listener.listen(1)
        theirs_process = subprocess.Popen(
            [qemu, '-M', 'none', '-display', 'none', '-nodefaults', '-name', 'test',
             '-chardev', f'socket,id=q,fd={listener.fileno()},server=on,wait=off', '-mon', 'chardev=q,mode=control'],
            pass_fds=[listener.fileno()])
        ours_process = subprocess.Popen([server_program, ours_path], stdout=subprocess.PIPE)
        try:
            assert ours_process.stdout.readline() == b'ready\n'
            return run(Client(ours_path), Client(theirs_path), ours_process, theirs_process)
        finally:
            for process in (ours_process, theirs_process):
                process.kill()
                process.wait()


def run(ours, theirs, ours_process, theirs_process):
    failures = 0
    our_hello, their_hello = ours.line(), theirs.line()
    our_hello['QMP'].pop('capabilities'), their_hello['QMP'].pop('capabilities')  # we have no out-of-band commands
    if shape(our_hello) != shape(their_hello):
        failures += 1
        print(f'greeting\n  ours   {our_hello}\n  theirs {their_hello}')
    for message in MESSAGES + list(KNOWN_DIFFERENCES):
        got, expected = ours.ask(message), theirs.ask(message)
        if not compare(message, got, expected):
            failures += 1
            print(f'{message}\n  ours   {got}\n  theirs {expected}')
    schema = {e['name']: e for e in theirs.ask(b'{"execute":"query-qmp-schema"}')[0]['return']}
    for entry in ours.ask(b'{"execute":"query-qmp-schema"}')[0]['return']:
        if entry['meta-type'] not in ('command', 'event'):
            continue
        name = entry['name']
        if name in OURS_ALONE:
            if name in schema:
                failures += 1
                print(f'{name} is a command of QEMU too by now, and may mean something else')
        elif name not in schema:
            failures += 1
            print(f'{name} is no {entry["meta-type"]} of QEMU')
        elif name.startswith('query-') and name != 'query-qmp-schema':
            value = ours.ask(json.dumps({'execute': name}).encode())[0]['return']
            for problem in check_against_schema(value, element(schema, schema[name]['ret-type']), schema, name):
                failures += 1
                print(problem)
    for client in (ours, theirs):
        client.socket.sendall(b'{"execute":"quit","id":1}')
    got, expected = [[c.line(), c.line()] for c in (ours, theirs)]
    statuses = [p.wait(20) for p in (ours_process, theirs_process)]
    if shape_list(got) != shape_list(expected) or statuses != [0, 0]:
        failures += 1
        print(f'quit\n  ours   {got} {statuses}\n  theirs {expected}')
    print(f'{len(MESSAGES) + len(KNOWN_DIFFERENCES)} messages compared, {failures} differ')
    return 1 if failures else 0


if __name__ == '__main__':
    sys.exit(main())
