# SPDX-License-Identifier: Apache-2.0
"""What cases of virsh have in common: a libvirtd of their own, and domains that are gone when a case is over."""
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

import daemon
from daemon import until
from domains import Terminal
from vm import children_of, where_threads_stand


class Domains(unittest.TestCase):
    conf = daemon.QEMU_CONF
    hide_qemu = True

    @classmethod
    def setUpClass(cls):
        cls.dir = pathlib.Path(tempfile.mkdtemp(prefix='holdfast-libvirt-'))
        cls.libvirtd = daemon.Daemon(cls.dir, cls.hide_qemu, cls.conf)

    @classmethod
    def tearDownClass(cls):
        cls.libvirtd.close()
        shutil.rmtree(cls.dir)

    def virsh(self, *arguments, **more):
        return self.libvirtd.virsh(*arguments, **more)

    def define(self, text):
        name = re.search('<name>(.*?)</name>', text)[1]
        (self.dir / 'domain.xml').write_text(text)
        self.virsh('define', str(self.dir / 'domain.xml'))
        self.addCleanup(self.forget, name)
        return name

    def forget(self, name):
        if not self._outcome.success:  # unittest's own: the case has failed, and its domains still stand
            self.tell(name)
        self.virsh('destroy', name, check=False)
        self.virsh('undefine', name, check=False)

    def tell(self, name):
        """What there is to know of a domain whose case has failed."""
        state = self.virsh('domstate', name, '--reason', check=False)
        log = subprocess.run(self.libvirtd.inside('tail', '-n', '20', f'/var/log/libvirt/qemu/{name}.log'), capture_output=True, text=True)
        print(f'# {name}: {state.stdout.strip()}{state.stderr.strip()}\n{log.stdout[-2000:]}', flush=True)
        if 'running' in state.stdout:
            try:
                pids = {'holdfast-qemu': self.adapter(name), **self.processes(name)}
                print(where_threads_stand(pids), flush=True)
            except (OSError, KeyError) as gone:
                print(f'# its processes: {gone!r}', flush=True)

    def start(self, text):
        name = self.define(text)
        self.virsh('start', name)
        return name

    def refused(self, text, *words):
        (self.dir / 'refused.xml').write_text(text)
        done = self.virsh('create', str(self.dir / 'refused.xml'), check=False)
        self.assertNotEqual(done.returncode, 0)
        for word in words:
            self.assertIn(word, done.stderr)
        self.assertEqual(self.virsh('list', '--name').strip(), '')

    def state(self, name):
        return self.virsh('domstate', name, '--reason').strip()

    def becomes(self, name, state):
        until(lambda: self.state(name) == state, f'{name} {state}: {self.state(name)}')

    def terminal(self, name):
        return Terminal(self.virsh('ttyconsole', name).strip())

    def adapter(self, name):
        return int(self.libvirtd.inside_file(f'/run/libvirt/qemu/{name}.pid'))

    def processes(self, name):
        """{program: pid} below the adapter."""
        run = children_of(self.adapter(name))['holdfast']
        return {'holdfast': run, **children_of(run)}

    def no_process_is_left(self, *pids):
        for pid in pids:
            until(lambda: not os.path.exists(f'/proc/{pid}'), f'process {pid} ends')
