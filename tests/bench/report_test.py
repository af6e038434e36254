# SPDX-License-Identifier: Apache-2.0
"""holdfast bench with measuring programs that are quick: what is judged, said, drawn and compared; what happens
where something is missing, fails, talks nonsense or is interrupted. The page is looked at in a real browser."""
import html.parser
import json
import os
import re
import shutil
import signal
import stat
import struct
import subprocess
import tempfile
import time
import unittest
import zlib

HOLDFAST = os.environ['HOLDFAST']
VMM, IO = os.environ['HOLDFAST_VMM'], os.environ['HOLDFAST_IO']
DEADLINE = 60
PROGRAMS = {
    'bench-anchor': 'anchor.20.gain.256 140 x\nanchor.20.rate.256 5600 /s\nanchor.20.rate.1 40 /s\n'
                    'anchor.20.p50.256 48 ms\nanchor.20.p50.1 21 ms\nanchor.leaf.bytes 3000 bytes\n'
                    'anchor.curve.20ms.1 40 /s\nanchor.curve.20ms.16 600 /s\nanchor.curve.20ms.256 5600 /s\n'
                    'a line for people\nanchor.start.ms NaNsense ms\n',
    'bench-iommu': json.dumps({'benchmarks': [{'name': 'lookup', 'run_type': 'iteration', 'cpu_time': 149.5,
                                               'real_time': 1, 'time_unit': 'ns', 'bytes_per_mapping': 59},
                                              {'name': 'one_read', 'run_type': 'iteration', 'error_occurred': True,
                                               'cpu_time': 0, 'real_time': 0, 'time_unit': 'ns'}]}),
    'bench-attest': 'not the JSON that was asked for',
}


class Page(html.parser.HTMLParser):
    """The words of a page, and every address it would fetch."""

    def __init__(self, text):
        super().__init__()
        self.fetched, self.words, self.svgs = [], [], 0
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.svgs += tag == 'svg'
        self.fetched += [value for name, value in attributes if name in ('src', 'href', 'data')]

    def handle_data(self, data):
        self.words.append(data)


class Bench(unittest.TestCase):
    def setUp(self):
        self.place = tempfile.mkdtemp(prefix='hf-bench-')
        self.addCleanup(shutil.rmtree, self.place)
        os.mkdir(f'{self.place}/bench')
        self.holdfast = shutil.copy(HOLDFAST, self.place)
        shutil.copy(VMM, self.place)
        shutil.copy(IO, self.place)
        for name, text in PROGRAMS.items():
            self.program(name, f"cat <<'END'\n{text}\nEND\n")
        self.program('bench-page-cipher', 'exit 3')

    def program(self, name, script):
        path = f'{self.place}/bench/{name}'
        with open(path, 'w') as file:
            file.write(f'#!/bin/sh\n{script}')
        os.chmod(path, stat.S_IRWXU)

    def bench(self, *flags):
        return subprocess.run([self.holdfast, 'bench', *flags], capture_output=True, text=True, timeout=DEADLINE)

    def rows(self, *flags):
        done = self.bench('--json', f'{self.place}/out.json', *flags)
        self.assertEqual(done.returncode, 0, done.stderr)
        with open(f'{self.place}/out.json') as file:
            report = json.load(file)
        return {row['question']: row for row in report['rows']}, report

    def row(self, rows, words):
        return next(row for question, row in rows.items() if words in question)

    def test_what_was_promised_is_judged(self):
        rows, report = self.rows()
        self.assertEqual(self.row(rows, 'times one increment')['verdict'], 'met')
        self.assertEqual(self.row(rows, 'p50 there')['verdict'], 'missed')  # 48/21 is more than 2.2
        self.assertAlmostEqual(self.row(rows, 'p50 there')['ratio'], 48 / 21)
        self.assertEqual(self.row(rows, 'memory of a leaf')['verdict'], 'missed')
        self.assertEqual(self.row(rows, 'lookup among')['verdict'], 'on the line')  # 149.5 of 150
        self.assertEqual(self.row(rows, 'memory of a mapping')['ours'], 59)
        self.assertTrue(all(report['machine'][key] for key in ('date', 'version', 'processor', 'kernel', 'command')))

    def test_what_was_not_measured_says_why_and_is_never_a_number(self):
        rows, _ = self.rows()
        for words, why in (('start with 10,000', 'no such figure'), ('seal 4 KiB', 'status 3'),
                           ('TPM quote, RSA', 'no JSON'), ('SEV-SNP report', 'no vectors'),
                           ('request to holdfast-io', 'not built'), ('attested channel', 'not built')):
            row = self.row(rows, words)
            self.assertEqual(row['verdict'], 'not measured')
            self.assertIsNone(row['ours'])
            self.assertIsNone(row['ratio'])
            self.assertIn(why, row['why'])
        self.assertIsNone(self.row(rows, 'lookup among')['limit'])  # its program said that it failed

    def test_suites_that_were_not_asked_for_are_not_there(self):
        rows, _ = self.rows('--suite', 'anchor', '--suite', 'iommu')
        self.assertEqual(len([question for question in rows if 'mapping' in question]), 2)
        self.assertFalse([question for question in rows if 'quote' in question or 'channel' in question])
        self.assertIn('HF-0101', self.bench('--suite', 'nothing').stderr)

    def test_each_goal_is_in_table_and_page_and_the_page_fetches_nothing(self):
        page = f'{self.place}/report.html'
        done = self.bench('--html', page)
        self.assertEqual(done.returncode, 0, done.stderr)
        rows, _ = self.rows()
        with open(page) as file:
            text = file.read()
        parsed = Page(text)
        words = ' '.join(parsed.words)
        for question in rows:
            self.assertIn(question, words)
            self.assertIn(question, done.stdout)
        self.assertEqual(parsed.fetched, [])
        self.assertNotIn('url(', text)
        self.assertEqual(parsed.svgs, 1)
        self.assertIn('Published by others', words)
        # No section without a row.
        for section in re.split('<h2>', text)[1:]:
            self.assertIn('<tr><td>', section)

    def test_comparison_sees_what_is_worse_than_the_noise(self):
        old = f'{self.place}/old.json'
        self.rows()
        shutil.copy(f'{self.place}/out.json', old)
        same = self.bench('--compare', old)
        self.assertEqual(same.returncode, 0)
        self.assertIn('no ratio differs', same.stdout)
        for text, status, word in ((PROGRAMS['bench-anchor'].replace('gain.256 140', 'gain.256 133'), 0, 'no ratio'),
                                   (PROGRAMS['bench-anchor'].replace('gain.256 140', 'gain.256 70'), 1, 'worse'),
                                   (PROGRAMS['bench-anchor'].replace('gain.256 140', 'gain.256 200'), 0, 'better'),
                                   (PROGRAMS['bench-anchor'].replace('p50.256 48', 'p50.256 96'), 1, 'worse')):
            self.program('bench-anchor', f"cat <<'END'\n{text}\nEND\n")
            done = self.bench('--compare', old)
            self.assertEqual(done.returncode, status, done.stdout)
            self.assertIn(word, done.stdout)

    def test_what_cannot_be_compared_with_or_written_is_known_before_anything_is_measured(self):
        with open(f'{self.place}/odd', 'w') as file:
            file.write('{"rows": 7}')
        self.program('bench-anchor', f'touch {self.place}/ran')
        for flags in (['--compare', 'missing'], ['--compare', HOLDFAST], ['--html', '/nowhere/x'], ['--json', '/nowhere/x'],
                      ['--quick', '--full']):
            done = self.bench(*flags)
            self.assertIn(done.returncode, (1, 2))
            self.assertIn('HF-010', done.stderr)
            self.assertFalse(os.path.exists(f'{self.place}/ran'))
        self.assertIn('HF-0104', self.bench('--compare', f'{self.place}/odd').stderr)

    def test_interrupted_it_ends_its_program_and_shows_what_it_has(self):
        self.program('bench-iommu', f'echo $$ > {self.place}/pid; exec sleep 1000')
        out = f'{self.place}/out.json'
        child = subprocess.Popen([self.holdfast, 'bench', '--json', out], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        deadline = time.monotonic() + DEADLINE
        while not os.path.exists(f'{self.place}/pid') or not os.path.getsize(f'{self.place}/pid'):
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.01)
        child.send_signal(signal.SIGINT)
        said, _ = child.communicate(timeout=DEADLINE)
        self.assertEqual(child.returncode, 1)
        with open(f'{self.place}/pid') as file:
            self.assertFalse(os.path.exists(f'/proc/{file.read().strip()}'))
        with open(out) as file:
            report = json.load(file)
        self.assertTrue(report['interrupted'])
        rows = {row['question']: row for row in report['rows']}
        self.assertEqual(self.row(rows, 'times one increment')['verdict'], 'met')
        self.assertEqual(self.row(rows, 'lookup among')['why'], 'interrupted')
        self.assertEqual(self.row(rows, 'TPM quote, RSA')['why'], 'interrupted')
        self.assertIn(b'interrupted', said)

    def test_browser_draws_it(self):
        browser = shutil.which('chromium')
        if not browser:
            self.skipTest('skip: no chromium (tools/deps browser)')
        page, picture = f'{self.place}/report.html', f'{self.place}/picture.png'
        self.assertEqual(self.bench('--html', page).returncode, 0)
        subprocess.run([browser, '--headless', '--no-sandbox', '--disable-gpu', f'--user-data-dir={self.place}/profile',
                        '--window-size=1200,6000', f'--screenshot={picture}', f'file://{page}'], check=True,
                       capture_output=True, timeout=DEADLINE)
        colours = colours_of(picture)
        # A verdict, and the first line of the plot.
        for colour in ((0xc1, 0x12, 0x1f), (0x25, 0x63, 0xeb)):
            self.assertIn(colour, colours)


def colours_of(path):
    """All colours of a PNG of 8 bits a channel (RFC 2083), by its own reader: nothing else here needs one."""
    with open(path, 'rb') as file:
        data = file.read()
    at, packed = 8, b''
    while at < len(data):
        size, kind = struct.unpack_from('>I4s', data, at)
        if kind == b'IHDR':
            width, height, depth, colour = struct.unpack_from('>IIBB', data, at + 8)
            assert depth == 8 and colour in (2, 6)
            step = 3 if colour == 2 else 4
        if kind == b'IDAT':
            packed += data[at + 8:at + 8 + size]
        at += size + 12
    raw, seen, above, at = zlib.decompress(packed), set(), bytearray(width * step), 0
    for _ in range(height):
        kind, row = raw[at], bytearray(raw[at + 1:at + 1 + width * step])
        at += 1 + width * step
        for i in range(len(row)):
            left = row[i - step] if i >= step else 0
            corner = above[i - step] if i >= step else 0
            if kind == 1:
                row[i] = (row[i] + left) & 255
            elif kind == 2:
                row[i] = (row[i] + above[i]) & 255
            elif kind == 3:
                row[i] = (row[i] + (left + above[i]) // 2) & 255
            elif kind == 4:
                guess = left + above[i] - corner
                row[i] = (row[i] + min((left, above[i], corner), key=lambda v: abs(guess - v))) & 255
        seen.update(tuple(row[i:i + 3]) for i in range(0, len(row), step))
        above = row
    return seen


if __name__ == '__main__':
    unittest.main()
