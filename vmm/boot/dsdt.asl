// SPDX-License-Identifier: Apache-2.0
// All the AML a guest gets: what a stock kernel needs to find the PCI bus, the serial port and the
// power button, and to power off. tools/dsdt makes dsdt.inc from it.
DefinitionBlock ("", "DSDT", 2, "HOLDFA", "HOLDFAST", 1)
{
    Name (_S5, Package () { 5 })

    Scope (_SB)
    {
        Device (PCI0)
        {
            Name (_HID, EisaId ("PNP0A08"))
            Name (_CID, EisaId ("PNP0A03"))
            Name (_UID, 0)
            Name (_SEG, 0)
            Name (_BBN, 0)
            Name (_CCA, 1)
            Name (_CRS, ResourceTemplate ()
            {
                WordBusNumber (ResourceProducer, MinFixed, MaxFixed, PosDecode, 0, 0, 0, 0, 1)
                DWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed, NonCacheable, ReadWrite,
                    0, 0xC0000000, 0xDFFFFFFF, 0, 0x20000000)
            })
        }

        Device (COM1)
        {
            Name (_HID, EisaId ("PNP0501"))
            Name (_UID, 0)
            Name (_CRS, ResourceTemplate ()
            {
                IO (Decode16, 0x3F8, 0x3F8, 0, 8)
                Interrupt (ResourceConsumer, Edge, ActiveHigh, Exclusive) { 4 }
            })
        }

        Device (PWRB)
        {
            Name (_HID, EisaId ("PNP0C0C"))
        }

        // Generic event device (ACPI 6.5 section 5.6.9): reading the register takes the pending events.
        Device (GED)
        {
            Name (_HID, "ACPI0013")
            Name (_CRS, ResourceTemplate ()
            {
                Interrupt (ResourceConsumer, Edge, ActiveHigh, Exclusive) { 5 }
            })
            OperationRegion (EVTS, SystemIO, 0x604, 4)
            Field (EVTS, DWordAcc, NoLock, Preserve) { PEND, 32 }
            Method (_EVT, 1, Serialized)
            {
                Local0 = PEND
                If (Local0 & 1) { Notify (PWRB, 0x80) }
            }
        }
    }
}
