//! What the loader says: on the screen while firmware drives it, and on the serial line.

use core::fmt::{self, Write};
use core::time::Duration;

use uart_16550::backend::PioBackend;
use uart_16550::{BaudRate, Config, Uart16550};
use uefi::boot::{OpenProtocolAttributes, OpenProtocolParams};
use uefi::proto::console::text::Output;
use uefi::proto::device_path::{DevicePath, DeviceSubType, DeviceType};
use x86_64::instructions::interrupts;

use super::memory::boot_services_ended;

/// COM1 and COM2.
const PORTS: [u16; 2] = [0x3f8, 0x2f8];
/// How often the transmitter is asked before a byte is dropped.
const MOST_POLLS: u32 = 200_000;

struct Serial {
    uart: Uart16550<PioBackend>,
    /// Firmware's own text console goes to a serial line: writing both would say everything twice.
    firmware_echoes: bool,
}

static SERIAL: spin_cell::Cell<Serial> = spin_cell::Cell::new();

/// Finds the serial port, or says on the screen that there is none and waits ten seconds. Returns its first port, or 0.
pub fn start() -> u16 {
    let found = PORTS.into_iter().find_map(|port| Some((port, open(port)?)));
    let Some((port, uart)) = found else {
        say(format_args!(
            "no serial port answers; the console needs one. Going on in ten seconds."
        ));
        uefi::boot::stall(Duration::from_secs(10));
        return 0;
    };
    SERIAL.set(Serial {
        uart,
        firmware_echoes: firmware_echoes(),
    });
    say(format_args!("Portcullis loader, serial port {port:#x}"));
    port
}

fn open(port: u16) -> Option<Uart16550<PioBackend>> {
    // SAFETY: the ports of COM1 and COM2 belong to a UART or to nobody; the loader is the only one that uses them.
    let mut uart = unsafe { Uart16550::new_port(port) }.ok()?;
    if !uart.check_present() {
        return None;
    }
    let config = Config {
        baud_rate: BaudRate::Baud115200,
        ..Config::default()
    };
    uart.init(config).ok()?;
    Some(uart)
}

/// Whether a text console of firmware's ends in a UART.
fn firmware_echoes() -> bool {
    let handles = uefi::boot::find_handles::<Output>().unwrap_or_default();
    handles.into_iter().any(|handle| {
        let params = OpenProtocolParams {
            handle,
            agent: uefi::boot::image_handle(),
            controller: None,
        };
        // SAFETY: the path is only read, at once, and its owner is not disconnected meanwhile.
        let path = unsafe {
            uefi::boot::open_protocol::<DevicePath>(params, OpenProtocolAttributes::GetProtocol)
        };
        path.is_ok_and(|path| {
            path.node_iter().any(|node| {
                node.full_type() == (DeviceType::MESSAGING, DeviceSubType::MESSAGING_UART)
            })
        })
    })
}

/// Writes a line.
pub fn say(text: fmt::Arguments<'_>) {
    let screen = !boot_services_ended();
    if screen {
        uefi::system::with_stdout(|out| {
            let _ = writeln!(out, "{text}");
        });
    }
    SERIAL.with(|serial| {
        if !(screen && serial.firmware_echoes) {
            let _ = writeln!(Line(&mut serial.uart), "{text}");
        }
    });
}

struct Line<'a>(&'a mut Uart16550<PioBackend>);

impl Line<'_> {
    fn send(&mut self, byte: u8) {
        for _ in 0..MOST_POLLS {
            if self.0.try_send_byte(byte).is_ok() {
                return;
            }
        }
    }
}

impl Write for Line<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            if byte == b'\n' {
                self.send(b'\r');
            }
            self.send(byte);
        }
        Ok(())
    }
}

/// A value that is set once and used by one processor.
mod spin_cell {
    use core::cell::RefCell;

    pub struct Cell<T>(RefCell<Option<T>>);

    // SAFETY: the loader runs on one processor and takes no interrupts of its own.
    unsafe impl<T> Sync for Cell<T> {}

    impl<T> Cell<T> {
        pub const fn new() -> Self {
            Self(RefCell::new(None))
        }

        pub fn set(&self, value: T) {
            *self.0.borrow_mut() = Some(value);
        }

        pub fn with(&self, action: impl FnOnce(&mut T)) {
            if let Ok(mut guard) = self.0.try_borrow_mut()
                && let Some(value) = guard.as_mut()
            {
                action(value);
            }
        }
    }
}

/// No interrupt may come between the end of boot services and the hypervisor.
pub fn disable_interrupts() {
    interrupts::disable();
}
