//! The hypervisor's log: a ring that the root drains, and COM1 until the root has it.

use core::fmt::{self, Write};
use core::sync::atomic::{AtomicBool, AtomicU16, Ordering};

use log::{LevelFilter, Log, Metadata, Record};
use spin::Mutex;
use uart_16550::backend::PioBackend;
use uart_16550::{BaudRate, Config, Uart16550};

const RING_BYTES: usize = 32 << 10;
/// How often the transmitter is asked before a byte is dropped: no wait on hardware without an end.
const MOST_POLLS: u32 = 200_000;

static PORT: AtomicU16 = AtomicU16::new(0);
/// Whether COM1 is still the hypervisor's.
static OURS: AtomicBool = AtomicBool::new(true);
static RING: Mutex<Ring> = Mutex::new(Ring::new());
static LOGGER: Logger = Logger;

/// Starts the log on the serial port that the loader found (0: none).
pub fn start(port: u16) {
    PORT.store(port, Ordering::Relaxed);
    if log::set_logger(&LOGGER).is_ok() {
        log::set_max_level(LevelFilter::Info);
    }
}

/// From now on COM1 is the root's, and the log goes to the ring alone.
pub fn hand_over() {
    OURS.store(false, Ordering::Release);
}

/// Copies log bytes from a position on, the oldest kept where that is gone; returns the position after them and how many.
pub fn read(position: u64, to: &mut [u8]) -> (u64, usize) {
    RING.lock().read(position, to)
}

struct Logger;

impl Log for Logger {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let mut ring = RING.lock();
        let _ = writeln!(
            Line {
                ring: &mut ring,
                serial: serial()
            },
            "{}: {}",
            record.level().as_str(),
            record.args()
        );
    }

    fn flush(&self) {}
}

fn serial() -> Option<Uart16550<PioBackend>> {
    let port = PORT.load(Ordering::Relaxed);
    if port == 0 || !OURS.load(Ordering::Acquire) {
        return None;
    }
    // SAFETY: the loader found a UART there and has set it up; until the hand-over it is the hypervisor's alone.
    unsafe { Uart16550::new_port(port) }.ok()
}

struct Line<'a> {
    ring: &'a mut Ring,
    serial: Option<Uart16550<PioBackend>>,
}

impl Write for Line<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            self.ring.push(byte);
            if let Some(uart) = &mut self.serial {
                send_text(uart, byte);
            }
        }
        Ok(())
    }
}

fn send_text(uart: &mut Uart16550<PioBackend>, byte: u8) {
    if byte == b'\n' {
        send(uart, b'\r');
    }
    send(uart, byte);
}

fn send(uart: &mut Uart16550<PioBackend>, byte: u8) {
    for _ in 0..MOST_POLLS {
        if uart.try_send_byte(byte).is_ok() {
            return;
        }
    }
}

/// Writes straight to the serial port, whoever has it, without locks: for the last words only.
pub struct Emergency(Option<Uart16550<PioBackend>>);

impl Emergency {
    /// Takes the port and sets it up again, since the root may have changed it.
    pub fn take() -> Self {
        let port = PORT.load(Ordering::Relaxed);
        if port == 0 {
            return Self(None);
        }
        // SAFETY: a UART is there; all other LPs have been told to stop, and no guest runs again.
        let uart = unsafe { Uart16550::new_port(port) };
        let config = Config {
            baud_rate: BaudRate::Baud115200,
            ..Config::default()
        };
        Self(
            uart.ok()
                .and_then(|mut uart| uart.init(config).ok().map(|()| uart)),
        )
    }
}

impl Write for Emergency {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if let Some(uart) = &mut self.0 {
            text.bytes().for_each(|byte| send_text(uart, byte));
        }
        Ok(())
    }
}

/// The newest bytes of the log; the oldest give way.
struct Ring {
    bytes: [u8; RING_BYTES],
    /// Bytes ever written.
    written: u64,
}

impl Ring {
    const fn new() -> Self {
        Self {
            bytes: [0; RING_BYTES],
            written: 0,
        }
    }

    fn push(&mut self, byte: u8) {
        self.bytes[self.written as usize % RING_BYTES] = byte;
        self.written += 1;
    }

    fn read(&self, position: u64, to: &mut [u8]) -> (u64, usize) {
        let oldest = self.written.saturating_sub(RING_BYTES as u64);
        let mut at = position.clamp(oldest, self.written);
        let mut count = 0;
        for place in to.iter_mut().take((self.written - at) as usize) {
            *place = self.bytes[at as usize % RING_BYTES];
            at += 1;
            count += 1;
        }
        (at, count)
    }
}
