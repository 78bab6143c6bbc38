//! The board of a child: which emulated thing a port or an address means.

use alloc::string::String;

use super::map;
use super::pci::bus::{Bus, HardwareOf};
use super::uart::Uart;

/// All emulated things of a child.
pub struct Board {
    /// Its serial port.
    pub uart: Uart,
    /// Its bus.
    pub bus: Bus,
    /// Accesses to ports where nothing is.
    pub unknown_ports: u64,
    /// Accesses to addresses where nothing is.
    pub unknown_memory: u64,
}

/// What a port write did besides.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Effect {
    /// Nothing.
    None,
    /// The guest's console has a complete line.
    Line(String),
    /// The guest ended itself with this value.
    Exit(u8),
}

impl Board {
    /// The board of a child with this many VPs.
    #[must_use]
    pub fn new(vps: u32) -> Self {
        Self {
            uart: Uart::default(),
            bus: Bus::new(vps),
            unknown_ports: 0,
            unknown_memory: 0,
        }
    }

    /// Reads 1, 2 or 4 bytes from a port; all ones where nothing is.
    pub fn read_port(&mut self, port: u16, size: u8) -> u32 {
        match port {
            map::CONFIG_ADDRESS..=0xcff => self.bus.read_port(port, size),
            _ if uart_register(port).is_some() => self.read_bytes(port, size),
            _ => {
                self.unknown_ports += 1;
                u32::MAX
            }
        }
    }

    /// The UART has a register in each byte.
    fn read_bytes(&mut self, port: u16, size: u8) -> u32 {
        (0..u16::from(size)).rev().fold(0, |value, at| {
            let byte = match uart_register(port.wrapping_add(at)) {
                Some(register) => self.uart.read(register),
                None => 0xff,
            };
            value << 8 | u32::from(byte)
        })
    }

    /// Writes 1, 2 or 4 bytes to a port.
    pub fn write_port(
        &mut self,
        port: u16,
        size: u8,
        value: u32,
        hardware: &mut impl HardwareOf,
    ) -> Effect {
        match port {
            map::EXIT => return Effect::Exit(value as u8),
            map::CONFIG_ADDRESS..=0xcff => self.bus.write_port((port, size), value, hardware),
            _ if uart_register(port).is_some() => {
                let mut effect = Effect::None;
                for (at, byte) in (0..u16::from(size)).zip(value.to_le_bytes()) {
                    let register = uart_register(port.wrapping_add(at));
                    if let Some(line) = register.and_then(|r| self.uart.write(r, byte)) {
                        effect = Effect::Line(line);
                    }
                }
                return effect;
            }
            _ => self.unknown_ports += 1,
        }
        Effect::None
    }

    /// Reads emulated memory.
    pub fn read_memory(&mut self, address: u64, size: u8, hardware: &mut impl HardwareOf) -> u64 {
        self.count_unknown(address);
        self.bus.read_memory(address, size, hardware)
    }

    /// Writes emulated memory.
    pub fn write_memory(
        &mut self,
        address: u64,
        size: u8,
        value: u64,
        hardware: &mut impl HardwareOf,
    ) {
        self.count_unknown(address);
        self.bus.write_memory((address, size), value, hardware);
    }

    fn count_unknown(&mut self, address: u64) {
        self.unknown_memory += u64::from(!self.bus.answers(address));
    }
}

fn uart_register(port: u16) -> Option<u16> {
    port.checked_sub(map::UART).filter(|register| *register < 8)
}

#[cfg(test)]
mod tests {
    use super::super::pci::hardware::tests::Recorder;
    use super::*;

    struct Nothing;
    impl HardwareOf for Nothing {
        type Hardware = Recorder;
        fn of(&mut self, _: address::DeviceId) -> Recorder {
            Recorder::default()
        }
    }

    #[test]
    fn cfg_12_ports_where_nothing_is_read_all_ones_and_are_counted() {
        let mut board = Board::new(1);
        let mut known = 0;
        for port in 0..=u16::MAX {
            known += u32::from(board.read_port(port, 1) as u8 != 0xff);
            if port != map::EXIT {
                board.write_port(port, 1, 0, &mut Nothing);
            }
        }
        assert_eq!(known, 8, "the UART");
        assert_eq!(board.unknown_ports, 2 * (65_536 - 16) - 1);
    }

    #[test]
    fn the_exit_port_ends_the_guest() {
        let mut board = Board::new(1);
        let effect = board.write_port(0xf4, 1, 0x1203, &mut Nothing);
        assert_eq!(effect, Effect::Exit(3));
    }
}
