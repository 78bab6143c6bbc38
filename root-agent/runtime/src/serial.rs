//! A 16550 UART (PC16550D data sheet, section 8).

use crate::port;

/// First port of COM1.
pub const COM1: u16 = 0x3f8;
/// First port of COM2.
pub const COM2: u16 = 0x2f8;

const DATA: u16 = 0;
const INTERRUPT_ENABLE: u16 = 1;
const INTERRUPT_ID: u16 = 2;
const FIFO_CONTROL: u16 = 2;
const LINE_CONTROL: u16 = 3;
const MODEM_CONTROL: u16 = 4;
const LINE_STATUS: u16 = 5;
const SCRATCH: u16 = 7;

const STATUS_RECEIVED: u8 = 1;
const STATUS_EMPTY: u8 = 1 << 5;

/// Polls of the line status before a byte is given up: more than a byte takes at 300 baud.
const POLLS: u32 = 1_000_000;

/// A UART at eight ports. Copies name the same hardware: the user serialises them.
#[derive(Clone, Copy, Debug)]
pub struct Uart {
    base: u16,
}

impl Uart {
    /// The UART at these ports; nothing is touched yet.
    #[must_use]
    pub const fn new(base: u16) -> Self {
        Self { base }
    }

    /// Whether a UART answers: its scratch register keeps what is written.
    #[must_use]
    pub fn is_present(self) -> bool {
        [0x5a, 0xa5].into_iter().all(|probe| {
            port::write8(self.base + SCRATCH, probe);
            port::read8(self.base + SCRATCH) == probe
        })
    }

    /// 115200 baud, 8 bits, no parity, FIFOs on, no interrupts. The FIFO's trigger is at fourteen bytes, which says nothing to who
    /// polls; but an emulator fills a FIFO no further than its trigger between two looks.
    pub fn initialise(self) {
        port::write8(self.base + INTERRUPT_ENABLE, 0);
        port::write8(self.base + LINE_CONTROL, 0x80);
        port::write8(self.base + DATA, 1);
        port::write8(self.base + INTERRUPT_ENABLE, 0);
        port::write8(self.base + LINE_CONTROL, 3);
        port::write8(self.base + FIFO_CONTROL, 0xc7);
        port::write8(self.base + MODEM_CONTROL, 0x0b);
    }

    /// Raises the UART's interrupt for each received byte, or no more.
    pub fn set_receive_interrupt(self, on: bool) {
        // FIFO on, its trigger at one byte: with a higher one the interrupt waits until the line has been silent for a
        // while, and whoever polls meanwhile takes the bytes before it comes.
        port::write8(self.base + FIFO_CONTROL, 1);
        port::write8(self.base + INTERRUPT_ENABLE, u8::from(on));
    }

    /// Reads the interrupt identification register, which also ends some interrupts.
    #[must_use]
    pub fn interrupt_id(self) -> u8 {
        port::read8(self.base + INTERRUPT_ID)
    }

    /// The next received byte, if there is one.
    #[must_use]
    pub fn read(self) -> Option<u8> {
        let status = port::read8(self.base + LINE_STATUS);
        // All ones: there is no UART.
        (status != 0xff && status & STATUS_RECEIVED != 0).then(|| port::read8(self.base + DATA))
    }

    /// Writes a byte, once there is room or the wait is over.
    pub fn write(self, byte: u8) {
        for _ in 0..POLLS {
            if port::read8(self.base + LINE_STATUS) & STATUS_EMPTY != 0 {
                break;
            }
            crate::cpu::pause();
        }
        port::write8(self.base + DATA, byte);
    }

    /// Writes bytes as they are.
    pub fn write_all(self, bytes: &[u8]) {
        for &byte in bytes {
            self.write(byte);
        }
    }
}
