// SPDX-License-Identifier: Apache-2.0
// The AML that a guest gets more if it has a device of the host with an interrupt line: INTA of PCI device N
// goes to the I/O APIC's pin 16 + N % 4. tools/dsdt makes intx.inc from it.
DefinitionBlock ("", "SSDT", 2, "HOLDFA", "HOLDINTX", 1)
{
    External (\_SB.PCI0, DeviceObj)
    Scope (\_SB.PCI0)
    {
        Name (_PRT, Package ()
        {
            Package () { 0x0001FFFF, 0, 0, 17 },
            Package () { 0x0002FFFF, 0, 0, 18 },
            Package () { 0x0003FFFF, 0, 0, 19 },
            Package () { 0x0004FFFF, 0, 0, 16 },
            Package () { 0x0005FFFF, 0, 0, 17 },
            Package () { 0x0006FFFF, 0, 0, 18 },
            Package () { 0x0007FFFF, 0, 0, 19 },
            Package () { 0x0008FFFF, 0, 0, 16 },
            Package () { 0x0009FFFF, 0, 0, 17 },
            Package () { 0x000AFFFF, 0, 0, 18 },
            Package () { 0x000BFFFF, 0, 0, 19 },
            Package () { 0x000CFFFF, 0, 0, 16 },
            Package () { 0x000DFFFF, 0, 0, 17 },
            Package () { 0x000EFFFF, 0, 0, 18 },
            Package () { 0x000FFFFF, 0, 0, 19 },
            Package () { 0x0010FFFF, 0, 0, 16 },
            Package () { 0x0011FFFF, 0, 0, 17 },
            Package () { 0x0012FFFF, 0, 0, 18 },
            Package () { 0x0013FFFF, 0, 0, 19 },
            Package () { 0x0014FFFF, 0, 0, 16 },
            Package () { 0x0015FFFF, 0, 0, 17 },
            Package () { 0x0016FFFF, 0, 0, 18 },
            Package () { 0x0017FFFF, 0, 0, 19 },
            Package () { 0x0018FFFF, 0, 0, 16 },
            Package () { 0x0019FFFF, 0, 0, 17 },
            Package () { 0x001AFFFF, 0, 0, 18 },
            Package () { 0x001BFFFF, 0, 0, 19 },
            Package () { 0x001CFFFF, 0, 0, 16 },
            Package () { 0x001DFFFF, 0, 0, 17 },
            Package () { 0x001EFFFF, 0, 0, 18 },
            Package () { 0x001FFFFF, 0, 0, 19 }
        })
    }
}
