# SPDX-License-Identifier: Apache-2.0
"""An implementation of its own of what `holdfast measure` computes: the PAGE_INFO chain of SEV-SNP, vCPU state
pages, and the pages that a launch loads. Written from the specifications, not from our sources."""
import hashlib
import struct
import uuid

PAGE = 4096
NORMAL, VMSA = 1, 2
VMSA_GPA = 0xFFFFFFFFF000


def chain(value, kind, gpa, page):
    contents = hashlib.sha384(page).digest() if kind in (NORMAL, VMSA) else bytes(48)
    return hashlib.sha384(value + contents + struct.pack('<HBBBBBBQ', 0x70, kind, 0, 0, 0, 0, 0, gpa)).digest()


class Vmsa:
    """The save area of AMD APM volume 2, table B-4, as it is after reset."""

    def __init__(self):
        self.page = bytearray(PAGE)
        for at in (0x00, 0x20, 0x30, 0x40, 0x50):
            self.segment(at, 0, 0x93, 0xffff, 0)
        self.segment(0x10, 0xf000, 0x9b, 0xffff, 0xffff0000)
        self.segment(0x60, 0, 0, 0xffff, 0)
        self.segment(0x70, 0, 0x82, 0xffff, 0)
        self.segment(0x80, 0, 0, 0xffff, 0)
        self.segment(0x90, 0, 0x8b, 0xffff, 0)
        for at, value in ((0x158, 0x60000010), (0x160, 0x400), (0x168, 0xffff0ff0), (0x170, 2), (0x178, 0xfff0),
                          (0x268, 0x0007040600070406), (0x3e8, 1)):
            self.put64(at, value)
        struct.pack_into('<I', self.page, 0x408, 0x1f80)
        struct.pack_into('<H', self.page, 0x410, 0x37f)

    def segment(self, at, selector, attributes, limit, base):
        struct.pack_into('<HHIQ', self.page, at, selector, attributes, limit, base)

    def put64(self, at, value):
        struct.pack_into('<Q', self.page, at, value)


def boot_cpu(mode, rip, argument):
    """The boot CPU as the Linux 64-bit boot protocol or PVH wants it."""
    state = Vmsa()
    long64 = mode == 'long64'
    for at in (0x00, 0x20, 0x30, 0x40, 0x50):
        state.segment(at, 0x18, 0xc93, 0xffffffff, 0)
    state.segment(0x10, 0x10, 0xa9b if long64 else 0xc9b, 0xffffffff, 0)
    state.segment(0x60, 0, 0, 39, 0x5000)
    state.segment(0x90, 0x20, 0x8b, 0x67, 0)
    state.put64(0x158, 0x80000011 if long64 else 0x11)
    state.put64(0x178, rip)
    if long64:
        state.put64(0xd0, 0x500)
        state.put64(0x148, 0x20)
        state.put64(0x150, 0x9000)
        state.put64(0x330, argument)
    else:
        state.put64(0x318, argument)
    return bytes(state.page)


def covered(start, size):
    return set(range(start // PAGE, (start + size + PAGE - 1) // PAGE)) if size else set()


def elf_pages(kernel):
    """Pages that the file's part of each PT_LOAD covers, by physical address."""
    phoff, = struct.unpack_from('<Q', kernel, 32)
    count, = struct.unpack_from('<H', kernel, 56)
    pages = set()
    for i in range(count):
        kind, _, _, _, paddr, filesz = struct.unpack_from('<IIQQQQ', kernel, phoff + 56 * i)
        if kind == 1:
            pages |= covered(paddr, filesz)
    return pages


def bzimage_pages(kernel, load):
    setup = ((kernel[0x1f1] or 4) + 1) * 512
    return covered(load, len(kernel) - setup)


def fixed_pages(ram, cmdline, mode, linux):
    """What is loaded beside kernel and initrd, where docs/launch_digest.md says."""
    pages = {0x5, 0x8, 0x7 if linux else 0x6, 0xff} | covered(0x20000, len(cmdline) + 1)
    if mode == 'long64':
        pages |= set(range(0x9, 0xf))
    # The tables, from the root pointer to the end of the XSDT, which is the last of them.
    xsdt, = struct.unpack_from('<Q', ram, 0xe0000 + 24)
    length, = struct.unpack_from('<I', ram, xsdt + 4)
    return pages | covered(0xe0000, xsdt + length - 0xe0000)


def digest(ram, pages, boot_page, cpus):
    value = bytes(48)
    for page in sorted(pages):
        value = chain(value, NORMAL, page * PAGE, ram[page * PAGE:(page + 1) * PAGE])
    value = chain(value, VMSA, VMSA_GPA, boot_page)
    for _ in range(cpus - 1):
        value = chain(value, VMSA, VMSA_GPA, bytes(Vmsa().page))
    return value.hex()


# Kernels that load and do nothing useful.

def pvh_elf(body):
    """ELF-64 with one PT_LOAD at 2 MiB and the PVH entry note."""
    note = struct.pack('<III4sI', 4, 4, 18, b'Xen\0', 0x200000)
    header = struct.pack('<16sHHIQQQIHHHHHH', b'\x7fELF\2\1\1' + bytes(9), 2, 62, 1, 0x200000, 64, 0, 0, 64, 56, 2,
                         0, 0, 0)
    load = struct.pack('<IIQQQQQQ', 1, 5, 0x1000, 0x200000, 0x200000, len(body), len(body) + 10000, 0x1000)
    notes = struct.pack('<IIQQQQQQ', 4, 4, 0x200, 0, 0, len(note), len(note), 4)
    return (header + load + notes).ljust(0x200, b'\0') + note.ljust(0xe00, b'\0') + body


def bzimage(body):
    """Boot protocol 2.15, relocatable, one setup sector and 4 more; loaded at 1 MiB or its alignment."""
    setup = bytearray(5 * 512)
    setup[0x1f1] = 4
    struct.pack_into('<I', setup, 0x1f4, (len(body) + 15) // 16)
    body = body.ljust((len(body) + 15) // 16 * 16, b'\0')
    struct.pack_into('<HHIH', setup, 0x1fe, 0xaa55, 0x66eb, 0x53726448, 0x20f)
    struct.pack_into('<I', setup, 0x22c, 0x7fffffff)
    struct.pack_into('<IBBHI', setup, 0x230, 0x200000, 1, 21, 1, 2047)
    struct.pack_into('<QI', setup, 0x258, 0x1000000, 0x100000)
    return bytes(setup) + body


# Firmware of the OVMF family: the last page of an image, with its GUID table and SEV metadata.

SECTION_TYPES = {'SNP_SEC_MEM': 1, 'SNP_SECRETS': 2, 'CPUID': 3, 'SVSM_CAA': 4, 'SNP_KERNEL_HASHES': 0x10}


def ovmf(sections, reset_eip, hash_table):
    def entry(guid, data):
        return data + struct.pack('<H', len(data) + 18) + uuid.UUID(guid).bytes_le

    metadata = struct.pack('<4sIII', b'ASEV', 16 + 12 * len(sections), 1, len(sections))
    for gpa, size, kind in sections:
        metadata += struct.pack('<III', gpa, size, kind)
    table = entry('7255371f-3a3b-4b04-927b-1da6efa8d454', struct.pack('<I', hash_table))
    table += entry('00f771de-1a7e-4fcb-890e-68c77e2fb44e', struct.pack('<I', reset_eip))
    table += entry('dc886566-984a-4798-a75e-5585a7bf67cc', struct.pack('<I', 0x800))
    table += struct.pack('<H', len(table) + 18) + uuid.UUID('96b582de-1fb2-45f7-baea-a366c55a082d').bytes_le
    page = bytes(0x800) + metadata
    return page.ljust(PAGE - 32 - len(table), b'\0') + table + bytes(32)
