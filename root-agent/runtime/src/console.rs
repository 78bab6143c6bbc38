//! `print!` and `println!` on COM1.

use core::fmt::{self, Write};

use spin::Mutex;

use crate::cpu;
use crate::serial::{COM1, Uart};

static LOCK: Mutex<()> = Mutex::new(());

struct Out;

impl Write for Out {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let uart = Uart::new(COM1);
        for byte in text.bytes() {
            if byte == b'\n' {
                uart.write(b'\r');
            }
            uart.write(byte);
        }
        Ok(())
    }
}

/// Writes formatted text to COM1; lines of several VPs do not mix.
pub fn write(text: fmt::Arguments<'_>) {
    cpu::without_interrupts(|| {
        let _guard = LOCK.lock();
        let _ = Out.write_fmt(text);
    });
}

/// Writes while the lock may be held by the code that failed.
pub(crate) fn write_at_end(text: fmt::Arguments<'_>) {
    cpu::disable_interrupts();
    let _ = Out.write_fmt(text);
}

/// Prints to COM1.
#[macro_export]
macro_rules! print {
    ($($argument:tt)*) => { $crate::console::write(::core::format_args!($($argument)*)) };
}

/// Prints a line to COM1.
#[macro_export]
macro_rules! println {
    () => { $crate::print!("\n") };
    ($($argument:tt)*) => { $crate::console::write(::core::format_args!("{}\n", ::core::format_args!($($argument)*))) };
}
