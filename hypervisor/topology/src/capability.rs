//! Bounded walks over a function's capability lists (PCI Express Base Specification 6.0, sections 7.5.1.1.11 and 7.6.3).
//!
//! A device may lie about its lists in any way (CFG-08): pointers into the header, loops, lists without end. Each walk reads each
//! position at most once and at most 48 or 960 positions; a list that does not end properly is broken as a whole.

use address::DeviceId;
use alloc::vec::Vec;

use crate::ConfigSpace;

/// First byte after the header.
const FIRST: u16 = 0x40;
/// First byte of extended configuration space.
const FIRST_EXTENDED: u16 = 0x100;
/// Capabilities of 4 bytes that fit in 40h to FFh.
pub(crate) const MOST: usize = 48;
/// Capabilities of 4 bytes that fit in 100h to FFFh.
pub(crate) const MOST_EXTENDED: usize = 960;

/// Ids of conventional capabilities.
pub(crate) mod id {
    pub(crate) const POWER: u16 = 0x01;
    pub(crate) const MSI: u16 = 0x05;
    pub(crate) const PCIE: u16 = 0x10;
    pub(crate) const MSIX: u16 = 0x11;
    pub(crate) const ADVANCED_FEATURES: u16 = 0x13;
}

/// Ids of extended capabilities.
pub(crate) mod extended_id {
    pub(crate) const ACS: u16 = 0x0d;
    pub(crate) const ATS: u16 = 0x0f;
    pub(crate) const SRIOV: u16 = 0x10;
    pub(crate) const PRI: u16 = 0x13;
    pub(crate) const PASID: u16 = 0x1b;
}

/// One capability: its id and where it stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Capability {
    pub(crate) id: u16,
    pub(crate) offset: u16,
}

/// A list that loops, leaves its space or has no end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Broken;

/// The conventional list.
pub(crate) fn conventional<C: ConfigSpace>(
    config: &mut C,
    device: DeviceId,
) -> Result<Vec<Capability>, Broken> {
    const STATUS: u16 = 0x06;
    const HAS_LIST: u16 = 1 << 4;
    let mut found = Vec::new();
    if config.read16(device, STATUS) & HAS_LIST == 0 {
        return Ok(found);
    }
    let mut next = u16::from(config.read8(device, 0x34)) & 0xfc;
    while next != 0 {
        if next < FIRST || found.len() == MOST || seen(&found, next) {
            return Err(Broken);
        }
        let [id, pointer] = config.read16(device, next).to_le_bytes();
        if id == 0xff {
            return Err(Broken);
        }
        found.push(Capability {
            id: id.into(),
            offset: next,
        });
        next = u16::from(pointer) & 0xfc;
    }
    Ok(found)
}

/// The extended list. Empty where extended configuration space does not exist.
pub(crate) fn extended<C: ConfigSpace>(
    config: &mut C,
    device: DeviceId,
) -> Result<Vec<Capability>, Broken> {
    let mut found = Vec::new();
    let mut next = FIRST_EXTENDED;
    while next != 0 {
        if next < FIRST_EXTENDED || found.len() == MOST_EXTENDED || seen(&found, next) {
            return Err(Broken);
        }
        let header = config.read32(device, next);
        if next == FIRST_EXTENDED && (header == 0 || header == u32::MAX) {
            return Ok(found);
        }
        if header == u32::MAX {
            return Err(Broken);
        }
        found.push(Capability {
            id: header as u16,
            offset: next,
        });
        next = (header >> 20) as u16 & 0xffc;
    }
    Ok(found)
}

/// At most 960 entries of a list read once at boot: a search is cheap enough.
fn seen(found: &[Capability], offset: u16) -> bool {
    found.iter().any(|capability| capability.offset == offset)
}

/// The only capability with this id; a second one of the same id makes the device's word worthless.
pub(crate) fn only(list: &[Capability], id: u16) -> Result<Option<u16>, Broken> {
    let mut matching = list.iter().filter(|capability| capability.id == id);
    match (matching.next(), matching.next()) {
        (first, None) => Ok(first.map(|capability| capability.offset)),
        _ => Err(Broken),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Machine, device};

    const ID: DeviceId = match DeviceId::new(0, 0, 3, 0) {
        Some(id) => id,
        None => panic!("not a device"),
    };

    fn machine() -> Machine {
        Machine::new().with(ID, device(0x8086, 0x10c9))
    }

    #[test]
    fn a_sound_list_is_walked_to_its_end() {
        let mut machine = machine();
        let space = machine.space(ID);
        space.capability(0x40, 0x01, &[0; 6]);
        space.capability(0x50, 0x05, &[0; 22]);
        space.extended(0x100, 0x0d, &[0; 4]);
        space.extended(0x140, 0x0f, &[0; 4]);
        let list = conventional(&mut machine, ID).unwrap();
        assert_eq!(only(&list, id::MSI), Ok(Some(0x50)));
        assert_eq!(only(&list, id::MSIX), Ok(None));
        let list = extended(&mut machine, ID).unwrap();
        assert_eq!(only(&list, extended_id::ATS), Ok(Some(0x140)));
    }

    #[test]
    fn cfg_08_lists_that_loop_or_point_into_the_header_are_broken() {
        for pointer in [0x50u8, 0x3c, 0x04, 0x40] {
            let mut machine = machine();
            let space = machine.space(ID);
            space.capability(0x40, 1, &[0; 6]);
            space.capability(0x50, 5, &[0; 6]);
            space.set8(0x51, pointer);
            assert_eq!(conventional(&mut machine, ID), Err(Broken), "{pointer:#x}");
        }
        for next in [0x100u32, 0x140, 0x0fc, 0x004] {
            let mut machine = machine();
            let space = machine.space(ID);
            space.extended(0x100, 0x0d, &[0; 4]);
            space.set32(0x140, 0x0f | 1 << 16 | next << 20);
            space.set32(0x100, 0x0d | 1 << 16 | 0x140 << 20);
            assert_eq!(extended(&mut machine, ID), Err(Broken), "{next:#x}");
        }
    }

    #[test]
    fn cfg_08_a_device_that_vanishes_or_repeats_itself_is_broken() {
        let mut machine = machine();
        let space = machine.space(ID);
        space.capability(0x40, 1, &[0; 6]);
        space.set8(0x41, 0x80);
        space.set32(0x80, u32::MAX);
        assert_eq!(conventional(&mut machine, ID), Err(Broken));
        let twice = [5, 5].map(|id| Capability { id, offset: 0x40 });
        assert_eq!(only(&twice, 5), Err(Broken));
    }

    #[test]
    fn cfg_08_walks_are_bounded() {
        let mut machine = machine();
        let space = machine.space(ID);
        space.set16(6, 1 << 4);
        space.set8(0x34, 0x40);
        for (index, offset) in (0x40..0x100u16).step_by(4).enumerate() {
            space.set8(offset, 9);
            space.set8(
                offset + 1,
                if index + 1 == MOST {
                    0
                } else {
                    offset as u8 + 4
                },
            );
        }
        assert_eq!(
            conventional(&mut machine, ID).map(|list| list.len()),
            Ok(MOST)
        );
        let space = machine.space(ID);
        for offset in (0x100..0x1000u32).step_by(4) {
            let next = if offset == 0xffc { 0 } else { offset + 4 };
            space.set32(offset as u16, 0x0b | next << 20);
        }
        assert_eq!(
            extended(&mut machine, ID).map(|list| list.len()),
            Ok(MOST_EXTENDED)
        );
    }
}
