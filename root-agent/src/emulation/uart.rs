//! The 16550 UART that a child sees (PC16550D data sheet). What it sends becomes lines; what it receives waits in a
//! queue. It raises no interrupt: guests poll it.

use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;

/// Bytes of input that wait at most.
const INPUT_MAX: usize = 4096;
/// Bytes of a line; a longer one is broken.
const LINE_MAX: usize = 1024;

/// Registers of the UART.
#[derive(Default)]
pub struct Uart {
    input: VecDeque<u8>,
    line: Vec<u8>,
    interrupt_enable: u8,
    line_control: u8,
    modem_control: u8,
    scratch: u8,
    divisor: [u8; 2],
}

const TRANSMITTER_EMPTY: u8 = 0x60;
const DATA_READY: u8 = 1;
const LOOPBACK: u8 = 1 << 4;
const DIVISOR_ACCESS: u8 = 1 << 7;

impl Uart {
    /// Reads a register, 0 to 7.
    pub fn read(&mut self, register: u16) -> u8 {
        let divisor = self.line_control & DIVISOR_ACCESS != 0;
        match register {
            0 if divisor => self.divisor[0],
            1 if divisor => self.divisor[1],
            0 => self.input.pop_front().unwrap_or(0),
            1 => self.interrupt_enable,
            2 if self.interrupt_enable & 1 != 0 && !self.input.is_empty() => 0xc4,
            2 if self.interrupt_enable & 2 != 0 => 0xc2,
            2 => 0xc1,
            3 => self.line_control,
            4 => self.modem_control,
            5 if self.input.is_empty() => TRANSMITTER_EMPTY,
            5 => TRANSMITTER_EMPTY | DATA_READY,
            6 => 0xb0,
            7 => self.scratch,
            _ => 0xff,
        }
    }

    /// Writes a register, 0 to 7; returns a line that the byte completed.
    pub fn write(&mut self, register: u16, value: u8) -> Option<String> {
        let divisor = self.line_control & DIVISOR_ACCESS != 0;
        match register {
            0 if divisor => self.divisor[0] = value,
            1 if divisor => self.divisor[1] = value,
            0 if self.modem_control & LOOPBACK != 0 => self.receive(value),
            0 => return self.send(value),
            1 => self.interrupt_enable = value & 0xf,
            2 if value & 2 != 0 => self.input.clear(),
            3 => self.line_control = value,
            4 => self.modem_control = value & 0x1f,
            7 => self.scratch = value,
            _ => {}
        }
        None
    }

    /// Lets a byte wait for the guest; dropped when too many wait.
    pub fn receive(&mut self, byte: u8) {
        if self.input.len() < INPUT_MAX {
            self.input.push_back(byte);
        }
    }

    /// The line that the guest has begun, when it ends without completing it.
    pub fn take_rest(&mut self) -> Option<String> {
        (!self.line.is_empty()).then(|| self.take_line())
    }

    fn send(&mut self, byte: u8) -> Option<String> {
        match byte {
            b'\n' => return Some(self.take_line()),
            b'\r' => {}
            byte => self.line.push(byte),
        }
        (self.line.len() >= LINE_MAX).then(|| self.take_line())
    }

    fn take_line(&mut self) -> String {
        let line = core::mem::take(&mut self.line);
        String::from_utf8_lossy(&line).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn send(uart: &mut Uart, text: &str) -> Vec<String> {
        text.bytes().filter_map(|b| uart.write(0, b)).collect()
    }

    #[test]
    fn bytes_become_lines() {
        let mut uart = Uart::default();
        assert_eq!(
            send(&mut uart, "one\r\n\ntw"),
            [String::from("one"), String::new()]
        );
        assert_eq!(uart.take_rest().as_deref(), Some("tw"));
        assert_eq!(uart.take_rest(), None);
        assert_eq!(send(&mut uart, &"x".repeat(LINE_MAX + 1)).len(), 1);
    }

    #[test]
    fn input_waits_and_is_bounded() {
        let mut uart = Uart::default();
        assert_eq!(uart.read(5), 0x60);
        (0..10_000).for_each(|_| uart.receive(b'a'));
        assert_eq!(uart.read(5), 0x61);
        let taken = (0..10_000).filter(|_| uart.read(0) == b'a').count();
        assert_eq!(taken, INPUT_MAX);
    }

    #[test]
    fn the_divisor_hides_the_data_registers() {
        let mut uart = Uart::default();
        uart.write(3, 0x83);
        assert_eq!(uart.write(0, b'\n'), None);
        uart.write(1, 0x12);
        assert_eq!((uart.read(0), uart.read(1)), (b'\n', 0x12));
        uart.write(3, 3);
        assert_eq!(uart.read(1), 0);
        uart.write(7, 0x5a);
        assert_eq!(uart.read(7), 0x5a);
    }

    #[test]
    fn loopback_returns_what_is_sent() {
        let mut uart = Uart::default();
        uart.write(4, 0x1e);
        assert_eq!(uart.write(0, 0xae), None);
        assert_eq!(uart.read(0), 0xae);
    }
}
