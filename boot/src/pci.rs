//! Takes bus mastering from every PCI function, bridges included (PCI Local Bus Specification 3.0, 6.2.2), so that no device
//! that firmware left running writes to memory before the hypervisor's IOMMU tables are in force.

const VENDOR: u16 = 0x00;
const COMMAND: u16 = 0x04;
const HEADER_TYPE: u16 = 0x0c;
const BUS_MASTER: u32 = 1 << 2;
const MULTI_FUNCTION: u32 = 1 << 23;
const NO_DEVICE: u32 = 0xffff;

/// Configuration space of one segment.
pub trait ConfigSpace {
    /// The aligned 32-bit register at `offset` of a function; all ones where there is no function.
    fn read(&mut self, bus: u8, device: u8, function: u8, offset: u16) -> u32;
    /// Writes the aligned 32-bit register at `offset`.
    fn write(&mut self, bus: u8, device: u8, function: u8, offset: u16, value: u32);
}

/// Clears bus mastering on the buses `first` to `last`; returns (functions seen, functions that had it on).
pub fn stop_bus_masters(space: &mut impl ConfigSpace, first: u8, last: u8) -> (u32, u32) {
    let (mut seen, mut stopped) = (0, 0);
    for bus in first..=last {
        for device in 0..32 {
            let functions = functions(space, bus, device);
            for function in 0..functions {
                if space.read(bus, device, function, VENDOR) & 0xffff != NO_DEVICE {
                    seen += 1;
                    stopped += u32::from(stop(space, bus, device, function));
                }
            }
        }
    }
    (seen, stopped)
}

fn functions(space: &mut impl ConfigSpace, bus: u8, device: u8) -> u8 {
    if space.read(bus, device, 0, VENDOR) & 0xffff == NO_DEVICE {
        return 0;
    }
    if space.read(bus, device, 0, HEADER_TYPE) & MULTI_FUNCTION != 0 {
        8
    } else {
        1
    }
}

/// Clears the bit of one function; whether it was set. The status half is written as zero: its bits clear on ones.
fn stop(space: &mut impl ConfigSpace, bus: u8, device: u8, function: u8) -> bool {
    let command = space.read(bus, device, function, COMMAND);
    if command & BUS_MASTER == 0 {
        return false;
    }
    space.write(
        bus,
        device,
        function,
        COMMAND,
        command & 0xffff & !BUS_MASTER,
    );
    true
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::collections::BTreeMap;

    use super::*;

    #[derive(Default)]
    struct Fake(BTreeMap<(u8, u8, u8), [u32; 4]>);

    impl ConfigSpace for Fake {
        fn read(&mut self, bus: u8, device: u8, function: u8, offset: u16) -> u32 {
            self.0
                .get(&(bus, device, function))
                .map_or(u32::MAX, |f| f[offset as usize / 4])
        }
        fn write(&mut self, bus: u8, device: u8, function: u8, offset: u16, value: u32) {
            self.0.get_mut(&(bus, device, function)).unwrap()[offset as usize / 4] = value;
        }
    }

    #[test]
    fn every_function_on_every_bus_is_stopped_and_status_is_left_alone() {
        let mut fake = Fake::default();
        fake.0
            .insert((0, 1, 0), [0x1234_8086, 0xffff_0007, 0, 0x0080_0000]);
        fake.0
            .insert((0, 1, 7), [0x1234_8086, 0x0010_0406, 0, 0x0080_0000]);
        fake.0
            .insert((255, 31, 0), [0x1111_1b36, 0x0010_0004, 0, 0x0001_0000]);
        fake.0.insert((3, 0, 0), [0x1111_1b36, 0x0010_0003, 0, 0]);
        assert_eq!(stop_bus_masters(&mut fake, 0, 255), (4, 3));
        assert_eq!(fake.0[&(0, 1, 0)][1], 0x3);
        assert_eq!(fake.0[&(0, 1, 7)][1], 0x402);
        assert_eq!(fake.0[&(255, 31, 0)][1], 0);
        assert_eq!(
            fake.0[&(3, 0, 0)][1],
            0x0010_0003,
            "not written without need"
        );
    }
}
