//! Sizing of base address registers (PCI Express Base Specification 6.0, section 7.5.1.2.1).

use address::DeviceId;

use crate::{Bar, BarKind, ConfigSpace};

const COMMAND: u16 = 0x04;
/// I/O space and memory space enable.
const DECODE: u16 = 3;

/// All BARs of a function, and the index of the first that makes no sense.
pub(crate) type Bars = ([Option<Bar>; 6], Option<u8>);

/// Reads and sizes `count` registers with decoding off, and restores what was there.
///
/// A register that does not come back as it was is broken: the device changes its word between reads.
pub(crate) fn size_all<C: ConfigSpace>(config: &mut C, id: DeviceId, count: u8) -> Bars {
    let command = config.read16(id, COMMAND);
    config.write16(id, COMMAND, command & !DECODE);
    let mut bars = [None; 6];
    let mut broken = None;
    let mut index = 0;
    while index < count {
        let found = one(config, id, index, count);
        if found.is_err() {
            broken = broken.or(Some(index));
        }
        let bar = found.unwrap_or(None);
        if let Some(slot) = bars.get_mut(usize::from(index)) {
            *slot = bar;
        }
        let wide = bar.is_some_and(|bar| matches!(bar.kind, BarKind::Memory { wide: true, .. }));
        index += if wide { 2 } else { 1 };
    }
    config.write16(id, COMMAND, command);
    (bars, broken)
}

struct Broken;

/// What a register held, and which of its bits stick.
fn probe<C: ConfigSpace>(config: &mut C, id: DeviceId, index: u8) -> Result<(u32, u32), Broken> {
    let offset = 0x10 + u16::from(index) * 4;
    let original = config.read32(id, offset);
    config.write32(id, offset, u32::MAX);
    let mask = config.read32(id, offset);
    config.write32(id, offset, original);
    if config.read32(id, offset) == original {
        Ok((original, mask))
    } else {
        Err(Broken)
    }
}

fn one<C: ConfigSpace>(
    config: &mut C,
    id: DeviceId,
    index: u8,
    count: u8,
) -> Result<Option<Bar>, Broken> {
    let (original, mask) = probe(config, id, index)?;
    if mask == 0 && original == 0 {
        return Ok(None);
    }
    if original & 1 != 0 {
        return ports(original, mask).map(Some);
    }
    let prefetchable = original & 8 != 0;
    let (high, high_mask, wide) = match original & 6 {
        0 => (0, u32::MAX, false),
        4 if index + 1 < count => {
            let (high, mask) = probe(config, id, index + 1)?;
            (high, mask, true)
        }
        _ => return Err(Broken),
    };
    if mask & 0xf != original & 0xf {
        return Err(Broken);
    }
    let address = u64::from(high) << 32 | u64::from(original & !0xf);
    let mask = u64::from(high_mask) << 32 | u64::from(mask & !0xf);
    let kind = BarKind::Memory { wide, prefetchable };
    check(address, mask, kind).map(Some)
}

fn ports(original: u32, mask: u32) -> Result<Bar, Broken> {
    if mask & 3 != original & 3 {
        return Err(Broken);
    }
    // The upper half may be hard-wired to zero: there are 65,536 ports.
    let mask = 0xffff_ffff_ffff_0000 | u64::from(mask & 0xfffc);
    check(u64::from(original & 0xffff_fffc), mask, BarKind::Io)
}

fn check(address: u64, mask: u64, kind: BarKind) -> Result<Bar, Broken> {
    let size = (!mask).wrapping_add(1);
    let sound = size.is_power_of_two() && address & (size - 1) == 0;
    let bar = Bar {
        address,
        size,
        kind,
    };
    if sound && bar.end().is_some() {
        Ok(bar)
    } else {
        Err(Broken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Machine, device};

    fn sized(set: impl Fn(&mut crate::testing::Space)) -> (Bars, Machine) {
        let id = DeviceId::new(0, 0, 3, 0).unwrap();
        let mut machine = Machine::new().with(id, device(1, 2));
        set(machine.space(id));
        machine.space(id).set16(4, 3);
        let bars = size_all(&mut machine, id, 6);
        (bars, machine)
    }

    #[test]
    fn bars_of_every_kind_are_sized_and_restored() {
        let id = DeviceId::new(0, 0, 3, 0).unwrap();
        let ((bars, broken), mut machine) = sized(|space| {
            space.bar(0, 0xfeb0_0000, 0x2_0000);
            space.set32(0x14, 0xc001);
            space.allow(0x14, 0xffe0);
            space.wide_bar(2, 0x80_0000_0000, 0x2_0000_0000);
        });
        assert_eq!(broken, None);
        assert_eq!(
            bars[0],
            Some(Bar {
                address: 0xfeb0_0000,
                size: 0x2_0000,
                kind: BarKind::Memory {
                    wide: false,
                    prefetchable: false
                }
            })
        );
        assert_eq!(
            bars[1],
            Some(Bar {
                address: 0xc000,
                size: 32,
                kind: BarKind::Io
            })
        );
        assert_eq!(
            bars[2],
            Some(Bar {
                address: 0x80_0000_0000,
                size: 0x2_0000_0000,
                kind: BarKind::Memory {
                    wide: true,
                    prefetchable: true
                }
            })
        );
        assert_eq!((bars[3], bars[4]), (None, None));
        let space = machine.space(id);
        assert_eq!(
            (space.get32(0x10), space.get32(0x1c), space.get16(4)),
            (0xfeb0_0000, 0x80, 3)
        );
    }

    #[test]
    fn cfg_08_bars_that_make_no_sense_are_broken() {
        let holes = |space: &mut crate::testing::Space| space.allow(0x10, 0xff0f_0000);
        assert_eq!(sized(holes).0.1, Some(0));
        let no_type = |space: &mut crate::testing::Space| space.set32(0x18, 0xfeb0_0002);
        assert_eq!(sized(no_type).0.1, Some(2));
        let wide_at_the_end = |space: &mut crate::testing::Space| space.wide_bar(4, 0, 0x1000);
        assert_eq!(sized(wide_at_the_end).0.1, None);
        let past_the_end = |space: &mut crate::testing::Space| space.set32(0x24, 4);
        assert_eq!(sized(past_the_end).0.1, Some(5));
        let fixed = |space: &mut crate::testing::Space| space.set32(0x10, 0xfeb0_0000);
        assert_eq!(sized(fixed).0, ([None; 6], Some(0)).clone());
        let kind_moves = |space: &mut crate::testing::Space| space.allow(0x10, 0xffff_f008);
        assert_eq!(sized(kind_moves).0.1, Some(0));
    }
}
