//! What the emulator's IOMMU did, read from its trace.

/// Trace events that show translated DMA and remapped interrupts.
pub const CARRIED: [&str; 3] = ["vtd_dmar_translate", "vtd_ir_irte_get", "vtd_ir_remap"];

/// How often a device's DMA was translated and its interrupts remapped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Carried {
    /// Translations of the device's requests.
    pub dma: usize,
    /// Interrupts that went through a remapping entry which admits just this device.
    pub interrupts: usize,
}

/// Counts what `trace` (the text of the trace file) says about the function `bus`:`slot`.`function`.
pub fn carried(trace: &str, bus: u8, slot: u8, function: u8) -> Carried {
    let name = format!("dev {bus:02x}:{slot:02x}.{function:02x} ");
    let source = u64::from(bus) << 8 | u64::from(slot) << 3 | u64::from(function);
    let mut counts = Carried::default();
    // An entry is fetched right before the interrupt that goes through it is delivered.
    let mut fetched = None;
    for line in trace.lines() {
        if line.contains("vtd_dmar_translate ") && line.contains(&name) {
            counts.dma += 1;
        } else if line.contains("vtd_ir_irte_get ") {
            fetched = admits(line, source)
                .then(|| number_after(line, "index "))
                .flatten();
        } else if line.contains("vtd_ir_remap ") {
            let index = number_after(line, "index ");
            counts.interrupts += usize::from(index.is_some() && index == fetched);
            fetched = None;
        }
    }
    counts
}

/// Whether the fetched entry is present and checks for exactly this source id (SVT=01b, SQ=00b).
fn admits(line: &str, source: u64) -> bool {
    // QEMU 10 prints the upper half of the entry under "low" and the lower one under "high".
    let (Some(low), Some(high)) = (number_after(line, "high "), number_after(line, "low ")) else {
        return false;
    };
    low & 1 == 1 && high & 0xffff == source && high >> 16 & 0b11 == 0 && high >> 18 & 0b11 == 1
}

fn number_after(line: &str, word: &str) -> Option<u64> {
    let (_, rest) = line.split_once(word)?;
    let text = rest.split([' ', ',', ')']).next()?;
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "\
vtd_dmar_translate dev 00:10.00 iova 0x1000 -> gpa 0x7001000 mask 0xfff
vtd_dmar_translate dev 00:11.00 iova 0x1000 -> gpa 0x7002000 mask 0xfff
vtd_ir_irte_get index 3 low 0x40080 high 0x210001
vtd_ir_remap index 3 trigger 0 vector 33 deliver 0 dest 0x0 mode 0
vtd_ir_irte_get index 4 low 0x40088 high 0x210001
vtd_ir_remap index 4 trigger 0 vector 33 deliver 0 dest 0x0 mode 0
vtd_ir_irte_get index 3 low 0x80 high 0x210001
vtd_ir_remap index 3 trigger 0 vector 33 deliver 0 dest 0x0 mode 0
vtd_ir_irte_get index 3 low 0x40080 high 0x210000
";

    #[test]
    fn only_the_asked_device_counts() {
        assert_eq!(
            carried(TRACE, 0, 0x10, 0),
            Carried {
                dma: 1,
                interrupts: 1
            }
        );
        assert_eq!(
            carried(TRACE, 0, 0x11, 0),
            Carried {
                dma: 1,
                interrupts: 1
            }
        );
        assert_eq!(carried(TRACE, 0, 0x12, 0), Carried::default());
        assert_eq!(carried("", 0, 0x10, 0), Carried::default());
    }
}
