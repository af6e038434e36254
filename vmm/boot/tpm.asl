// SPDX-License-Identifier: Apache-2.0
// The AML that a guest with a TPM gets more: Linux looks for the device, the TPM2 table says the rest.
// The region is the CRB's registers and, behind them, its buffer. tools/dsdt makes tpm.inc from it.
DefinitionBlock ("", "SSDT", 2, "HOLDFA", "HOLDFTPM", 1)
{
    Scope (\_SB)
    {
        Device (TPM)
        {
            Name (_HID, "MSFT0101")
            Name (_CRS, ResourceTemplate ()
            {
                Memory32Fixed (ReadWrite, 0xFED40000, 0x2000)
            })
        }
    }
}
