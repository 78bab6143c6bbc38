//! A machine whose configuration space is made of bytes, and may lie.

use std::collections::BTreeMap;

use address::{DeviceId, RequesterId};
use topology::{ConfigSpace, Header, Topology};

/// How a machine treats its reader.
#[derive(Clone, Copy, Debug, Default)]
pub struct Manners {
    /// Every 16th read differs from what is there.
    pub fickle: bool,
    /// Writes do nothing.
    pub deaf: bool,
    /// Writes change every bit, the read-only ones too.
    pub soft: bool,
}

/// Functions of one segment: 4 KiB each, made of the 32-bit registers that were set.
#[derive(Clone, Debug, Default)]
pub struct Machine {
    registers: BTreeMap<(u16, u16), u32>,
    functions: BTreeMap<u16, ()>,
    manners: Manners,
    reads: u32,
}

impl Machine {
    /// First byte: manners (bits 0, 1, 2). Then eight bytes per register: requester id, offset, value, little endian.
    #[must_use]
    pub fn from_bytes(data: &[u8]) -> Self {
        let (flags, rest) = data.split_first().unwrap_or((&0, &[]));
        let mut machine = Self {
            manners: Manners {
                fickle: flags & 1 != 0,
                deaf: flags & 2 != 0,
                soft: flags & 4 != 0,
            },
            ..Self::default()
        };
        let (records, _) = rest.as_chunks::<8>();
        for &[r0, r1, o0, o1, v0, v1, v2, v3] in records {
            let requester = u16::from_le_bytes([r0, r1]);
            let offset = u16::from_le_bytes([o0, o1]) & 0xffc;
            machine.set(requester, offset, u32::from_le_bytes([v0, v1, v2, v3]));
        }
        machine
    }

    /// Sets one register.
    pub fn set(&mut self, requester: u16, offset: u16, value: u32) {
        self.functions.insert(requester, ());
        self.registers.insert((requester, offset & 0xffc), value);
    }

    /// Reads a register without being lied to.
    #[must_use]
    pub fn get(&self, requester: u16, offset: u16) -> u32 {
        let absent = if self.functions.contains_key(&requester) {
            0
        } else {
            u32::MAX
        };
        *self
            .registers
            .get(&(requester, offset & 0xffc))
            .unwrap_or(&absent)
    }

    fn read(&mut self, RequesterId(requester): RequesterId, offset: u16) -> u32 {
        self.reads = self.reads.wrapping_add(1);
        let twist = if self.manners.fickle && self.reads & 15 == 0 {
            self.reads.rotate_left(27)
        } else {
            0
        };
        self.get(requester, offset) ^ twist
    }

    fn write(&mut self, RequesterId(requester): RequesterId, offset: u16, value: u32, bits: u32) {
        if self.manners.deaf || !self.functions.contains_key(&requester) {
            return;
        }
        let known = self.registers.contains_key(&(requester, offset & 0xffc));
        let writable = match offset & 0xffc {
            _ if self.manners.soft => u32::MAX,
            _ if !known => 0,
            0x04 => 0x407,
            0x10..=0x24 => 0xffff_c000,
            // A capability's control registers take writes, its header does not.
            0x40.. => 0xffff_0000,
            _ => 0,
        };
        let old = self.get(requester, offset);
        let bits = bits & writable;
        self.registers
            .insert((requester, offset & 0xffc), old & !bits | value & bits);
    }
}

impl ConfigSpace for Machine {
    fn read8(&mut self, device: DeviceId, offset: u16) -> u8 {
        self.read32(device, offset & !3).to_le_bytes()[usize::from(offset & 3)]
    }

    fn read16(&mut self, device: DeviceId, offset: u16) -> u16 {
        assert_eq!(offset & 1, 0, "unaligned read");
        (self.read32(device, offset & !3) >> ((offset & 2) * 8)) as u16
    }

    fn read32(&mut self, device: DeviceId, offset: u16) -> u32 {
        assert!(offset & 3 == 0 && offset < 0x1000, "no such register");
        self.read(device.requester, offset)
    }

    fn write8(&mut self, device: DeviceId, offset: u16, value: u8) {
        let shift = (offset & 3) * 8;
        self.write(
            device.requester,
            offset,
            u32::from(value) << shift,
            0xff << shift,
        );
    }

    fn write16(&mut self, device: DeviceId, offset: u16, value: u16) {
        assert!(offset & 1 == 0 && offset < 0x1000, "no such register");
        let shift = (offset & 2) * 8;
        self.write(
            device.requester,
            offset,
            u32::from(value) << shift,
            0xffff << shift,
        );
    }

    fn write32(&mut self, device: DeviceId, offset: u16, value: u32) {
        assert!(offset & 3 == 0 && offset < 0x1000, "no such register");
        self.write(device.requester, offset, value, u32::MAX);
    }
}

/// What must hold for every topology, whatever it was made of.
pub fn check(topology: &Topology) {
    let mut members = 0;
    for (number, group) in topology.groups.iter().enumerate() {
        members += group.members.len();
        assert!(
            group
                .members
                .iter()
                .all(|index| topology.functions[*index].group == number)
        );
    }
    assert_eq!(
        members,
        topology.functions.len(),
        "a function is in no group or in two"
    );
    for (index, function) in topology.functions.iter().enumerate() {
        assert_eq!(
            topology.find(function.id),
            Some(index),
            "two functions of one name"
        );
        assert_eq!(function.aliases[0].first, function.id.requester);
        assert!(topology.upstream(index).count() <= 256);
        assert!(function.unit.is_none_or(|unit| unit < topology.units.len()));
        let free = function.unassignable.is_none();
        assert!(
            !free || function.unit.is_some() && !function.rmrr && function.header == Header::Device
        );
        if let Some(msix) = function.msix.filter(|_| free) {
            let bar = function.bars[usize::from(msix.table_bar)].expect("a table in a BAR");
            assert!(u64::from(msix.table_offset) + msix.table_bytes() <= bar.size);
        }
        for bar in function.bars.iter().flatten() {
            assert!(bar.size.is_power_of_two() && bar.end().is_some());
        }
    }
    for (index, one) in topology.functions.iter().enumerate() {
        let apart = |other: &&topology::Function| other.group != one.group;
        for other in topology.functions.iter().skip(index + 1).filter(apart) {
            let shared = one
                .aliases
                .iter()
                .any(|alias| other.aliases.contains(alias));
            assert!(!shared, "{} and {} share a requester id", one.id, other.id);
        }
    }
}

/// Two endpoints: 00:03.0, and 02:06.0 behind a root port at 00:04.0 and a bridge at 01:00.0.
pub fn two_endpoints() -> Machine {
    let mut machine = Machine::default();
    for (requester, class, header, buses) in [
        (0x18, 0x0200_0000, 0, 0),
        (0x20, 0x0604_0000, 0x1_0000, 0x02_01_00),
        (0x100, 0x0604_0000, 0x1_0000, 0x02_02_01),
        (0x230, 0x0200_0000, 0, 0),
    ] {
        machine.set(requester, 0, 0x10c9_8086);
        machine.set(requester, 8, class);
        machine.set(requester, 0xc, header);
        machine.set(requester, 0x18, buses);
    }
    machine
}
