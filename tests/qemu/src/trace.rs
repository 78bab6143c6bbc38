//! What the emulator's IOMMU did, read from its trace.

use crate::config::{Dialect, Watched};

/// How often a device's DMA was translated and its interrupts remapped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Carried {
    /// Translations of the device's requests.
    pub dma: usize,
    /// Interrupts that went through a remapping entry which admits just this device.
    pub interrupts: usize,
}

/// The function of the emulated machine that a trace is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Function {
    /// Bus.
    pub bus: u8,
    /// Device.
    pub slot: u8,
    /// Function.
    pub function: u8,
}

impl Function {
    /// The function 0 at a slot of bus 0.
    pub fn at(slot: u8) -> Self {
        Self {
            bus: 0,
            slot,
            function: 0,
        }
    }

    fn source(self) -> u64 {
        u64::from(self.bus) << 8 | u64::from(self.slot) << 3 | u64::from(self.function)
    }

    fn name(self) -> String {
        format!("{:02x}:{:02x}", self.bus, self.slot)
    }
}

/// The I/O APIC's source id on a machine with AMD-Vi, as the emulator reports it: 00:14.0.
const IO_APIC: Function = Function {
    bus: 0,
    slot: 0x14,
    function: 0,
};

/// Names of the trace events that show this.
pub fn events(dialect: Dialect, watched: &[Watched]) -> Vec<&'static str> {
    let of = |watched: &Watched| -> &'static [&'static str] {
        match (dialect, watched) {
            (Dialect::Intel, Watched::Dma) => &["vtd_dmar_translate"],
            (Dialect::Intel, Watched::Interrupts) => &["vtd_ir_irte_get", "vtd_ir_remap"],
            (Dialect::Amd, Watched::Dma) => &["amdvi_cache_update", "amdvi_iotlb_hit"],
            (Dialect::Amd, Watched::Interrupts) => &[
                "amdvi_ir_remap_msi_req",
                "amdvi_ir_irte_ga_val",
                "amdvi_ir_remap_msi",
            ],
        }
    };
    watched.iter().flat_map(of).copied().collect()
}

/// Counts what `trace` (the text of the trace file) says about a function.
pub fn carried(dialect: Dialect, trace: &str, of: Function) -> Carried {
    match dialect {
        Dialect::Intel => Carried {
            dma: count(trace, |line| {
                line.starts_with("vtd_dmar_translate ")
                    && line.contains(&format!("dev {}.{:02x} ", of.name(), of.function))
            }),
            interrupts: remapped_by_index(trace, |low| admits(low, of.source())),
        },
        Dialect::Amd => Carried {
            dma: count(trace, |line| {
                // Domain 0 is that of what is blocked; nothing of it is ever cached.
                let new = line.starts_with("amdvi_cache_update ")
                    && number_after(line, "domid ").is_some_and(|domain| domain != 0);
                (new || line.starts_with("amdvi_iotlb_hit "))
                    && line.contains(&format!("{}.{:x} ", of.name(), of.function))
            }),
            interrupts: remapped_by_source(trace, of, |_| true),
        },
    }
}

/// How often the I/O APIC's interrupts went through the remapping entry with this index.
pub fn pins(dialect: Dialect, trace: &str, index: u64) -> usize {
    match dialect {
        Dialect::Intel => {
            let ours = format!("index {index} ");
            count(trace, |line| {
                line.starts_with("vtd_ir_remap ") && line.contains(&ours)
            })
        }
        Dialect::Amd => remapped_by_source(trace, IO_APIC, |asked| {
            number_after(asked, "data ").is_some_and(|data| data & 0x7ff == index)
        }),
    }
}

fn count(trace: &str, wanted: impl Fn(&str) -> bool) -> usize {
    trace.lines().filter(|line| wanted(line)).count()
}

/// VT-d: interrupts through an entry that `wanted` approves of. It is fetched right before the interrupt is delivered.
fn remapped_by_index(trace: &str, wanted: impl Fn(&str) -> bool) -> usize {
    let (mut fetched, mut found) = (None, 0);
    for line in trace.lines() {
        if line.starts_with("vtd_ir_irte_get ") {
            fetched = wanted(line).then(|| number_after(line, "index ")).flatten();
        } else if line.starts_with("vtd_ir_remap ") {
            let index = number_after(line, "index ");
            found += usize::from(index.is_some() && index == fetched);
            fetched = None;
        }
    }
    found
}

/// Whether the fetched entry is present and checks for exactly this source id (SVT=01b, SQ=00b).
fn admits(line: &str, source: u64) -> bool {
    // QEMU 10 prints the upper half of the entry under "low" and the lower one under "high".
    let (Some(low), Some(high)) = (number_after(line, "high "), number_after(line, "low ")) else {
        return false;
    };
    low & 1 == 1 && high & 0xffff == source && high >> 16 & 0b11 == 0 && high >> 18 & 0b11 == 1
}

/// AMD-Vi: requests of a source that `wanted` approves of, which led to an entry that is on (RemapEn) and was delivered.
/// The table is the source's own, so that the entry admits no other. Request, entry, delivery follow each other.
fn remapped_by_source(trace: &str, of: Function, wanted: impl Fn(&str) -> bool) -> usize {
    // The emulator prints the low byte of the source alone.
    let source = of.source() & 0xff;
    let (mut asked, mut entered, mut found) = (false, false, 0);
    for line in trace.lines() {
        if line.starts_with("amdvi_ir_remap_msi_req ") {
            asked = number_after(line, "devid ") == Some(source) && wanted(line);
            entered = false;
        } else if line.starts_with("amdvi_ir_irte_ga_val ") {
            entered = asked && number_after(line, "lo ").is_some_and(|low| low & 1 == 1);
        } else if line.starts_with("amdvi_ir_remap_msi ") {
            found += usize::from(asked && entered);
            (asked, entered) = (false, false);
        }
    }
    found
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

    const INTEL: &str = "\
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

    const AMD: &str = "\
amdvi_cache_update  update iotlb domid 0x1 devid: 00:10.0 gpa 0x1000 hpa 0x7001000
amdvi_iotlb_hit hit iotlb devid 00:10.0 gpa 0x1000 hpa 0x7001000
amdvi_cache_update  update iotlb domid 0x0 devid: 00:11.0 gpa 0x1000 hpa 0x1000
amdvi_ir_remap_msi_req addr 0xfee00000 data 0x0 devid 0x80
amdvi_ir_irte_ga_val hi 0x31 lo 0x1
amdvi_ir_remap_msi (addr 0xfee00000, data 0x0) -> (addr 0xfee00000, data 0x4031)
amdvi_ir_remap_msi_req addr 0xfee00000 data 0x1 devid 0x80
amdvi_ir_irte_ga_val hi 0x0 lo 0x0
amdvi_ir_remap_msi_req addr 0xfee00000 data 0x0 devid 0x88
amdvi_ir_remap_msi (addr 0xfee00000, data 0x0) -> (addr 0xfee00000, data 0x0)
amdvi_ir_remap_msi_req addr 0xfee00000 data 0x2 devid 0xa0
amdvi_ir_irte_ga_val hi 0x32 lo 0x1
amdvi_ir_remap_msi (addr 0xfee00000, data 0x2) -> (addr 0xfee00000, data 0x4032)
";

    fn both(dma: usize, interrupts: usize) -> Carried {
        Carried { dma, interrupts }
    }

    #[test]
    fn only_the_asked_device_counts() {
        let of = |slot| carried(Dialect::Intel, INTEL, Function::at(slot));
        assert_eq!(of(0x10), both(1, 1));
        assert_eq!(of(0x11), both(1, 1));
        assert_eq!(of(0x12), Carried::default());
        assert_eq!(
            carried(Dialect::Intel, "", Function::at(0x10)),
            Carried::default()
        );
    }

    #[test]
    fn only_what_was_translated_and_remapped_counts() {
        let of = |slot| carried(Dialect::Amd, AMD, Function::at(slot));
        assert_eq!(of(0x10), both(2, 1));
        assert_eq!(of(0x11), both(0, 0), "passed as they stood");
    }

    #[test]
    fn pins_are_told_apart_by_their_entry() {
        assert_eq!(pins(Dialect::Amd, AMD, 2), 1);
        assert_eq!(pins(Dialect::Amd, AMD, 1), 0);
        assert_eq!(pins(Dialect::Intel, INTEL, 3), 2);
        assert_eq!(pins(Dialect::Intel, INTEL, 5), 0);
    }
}
