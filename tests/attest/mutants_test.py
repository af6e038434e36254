#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Deletes each check of attest/ in turn: some test must fail. A check is a place that calls Findings::add with a code.

usage: mutants_test.py SOURCES UNIT VECTORS [DIR]

UNIT (unit tests, mutants/serve.cpp) and VECTORS (attest-vectors, run on DIR where there is one) are linked with
mutants/watch.cpp. Prints a line for each place and code, as `tools/test` counts them."""
import concurrent.futures
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import threading

EXCUSE = 'Without a test'  # in the comment above a check
CALL = re.compile(r'\badd\(([^;]*);')
CODE = re.compile(r'\bCode::(\w+)')
ROW = re.compile(r'CodeRow\{Code::(\w+), "([^"]+)"')


class Vectors:
    def __init__(self, *command):
        self.command = command

    def passes(self, **variables):
        done = subprocess.run(self.command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, **variables})
        return done.returncode == 0

    def passes_without(self, check, _tests):
        return self.passes(HOLDFAST_MUTE=check)


class UnitTests(Vectors):
    mine = threading.local()

    def passes_without(self, check, tests):
        if not hasattr(self.mine, 'server'):
            self.mine.server = subprocess.Popen([*self.command, 'serve'], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        few = sorted(tests)[:3]  # mostly enough
        return self.ask(check, few) and (len(tests) == len(few) or self.ask(check, sorted(tests)[3:]))

    def ask(self, check, tests):
        self.mine.server.stdin.write(f'{check} {":".join(tests)}\n')
        self.mine.server.stdin.flush()
        return int(self.mine.server.stdout.readline()) == 0


def checks_of(program):
    """{(FILE:LINE, code): {site: tests}} that ran."""
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder, 'seen')
        assert program.passes(HOLDFAST_SEEN=str(file)), f'{program.command} fails with every check in place'
        rows = {tuple(line.split(' ')) for line in file.read_text().splitlines()}
    place = places(program.command[0], sorted({site for site, _, _ in rows}))
    found = {}
    for site, code, test in rows:
        if place[site].startswith('attest/'):  # and not what a test reports itself
            found.setdefault((place[site], code), {}).setdefault(site, set()).add(test)
    return found


def places(program, sites):
    calls = [f'{int(site, 16) - 1:x}' for site in sites]  # a site is where the call returns to
    done = subprocess.run(['addr2line', '-e', program, *calls], stdout=subprocess.PIPE, text=True, check=True)
    return {site: in_tree(line.split(' ')[0]) for site, line in zip(sites, done.stdout.splitlines())}


def in_tree(path):
    """From the tree's root on, whichever tree a cache of the compiler has it from."""
    path = os.path.normpath(path)
    at = path.rfind('/tests/')
    return path[(at if at >= 0 else path.rfind('/attest/')) + 1:]


def written(sources):
    """[(FILE, its lines, code)] of the calls that name their code."""
    names = dict(ROW.findall((sources / 'attest/finding.cpp').read_text()))
    for path in sorted((sources / 'attest').rglob('*.cpp')):
        text = path.read_text()
        for call in CALL.finditer(text):
            if EXCUSE in text[:call.start()].rsplit('\n', 2)[-2]:
                continue
            lines = range(text.count('\n', 0, call.start()) + 1, text.count('\n', 0, call.end()) + 2)
            for code in CODE.findall(call[1]):
                yield str(path.relative_to(sources)), lines, names[code]


def main():
    sources = pathlib.Path(sys.argv[1])
    programs = [UnitTests(sys.argv[2])]
    if len(sys.argv) > 4 and pathlib.Path(sys.argv[4], 'cases.json').exists():
        programs.append(Vectors(*sys.argv[3:5]))
    checks = {}
    for program in programs:
        for check, sites in checks_of(program).items():
            checks.setdefault(check, []).extend((program, site, tests) for site, tests in sites.items())

    def noticed(check):
        return any(not program.passes_without(f'{site}:{check[1]}', tests) for program, site, tests in checks[check])

    bad = 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for check, good in zip(checks, pool.map(noticed, checks)):
            print(f'ok {check[1]} at {check[0]}' if good else f'not ok {check[1]} at {check[0]}: nothing fails without it')
            bad += not good
    for file, lines, code in written(sources):
        if not any((f'{file}:{line}', code) in checks for line in lines):
            print(f'skip {code} at {file}:{lines[0]}: no attestation vectors' if len(programs) == 1 else
                  f'not ok {code} at {file}:{lines[0]}: no test gets there')
            bad += len(programs) > 1
    return 1 if bad else 0


if __name__ == '__main__':
    sys.exit(main())
