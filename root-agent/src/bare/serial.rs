//! The two serial ports: people on the first, programs on the second.

use root_agent::agent::Agent;
use root_agent::calls::interrupt;
use root_agent::service::Output;
use runtime::serial::{COM2, Uart};

use super::{Bare, events};

/// The ports that there are.
pub struct Serial {
    console: Option<Uart>,
    program: Option<Uart>,
}

impl Serial {
    /// Finds the ports. The console's pin becomes an interrupt of the first VP; where that is refused, the tick has to
    /// do.
    pub fn begin(agent: &Agent<Bare>) -> Self {
        let facts = agent.facts.console;
        let console = facts.map(|console| Uart::new(console.port));
        if let Some((ioapic, pin)) = facts.and_then(|console| console.pin)
            && interrupt::map_pin(&agent.machine, ioapic, pin, 0, events::CONSOLE).is_ok()
            && let Some(uart) = console
        {
            uart.set_receive_interrupt(true);
        }
        let program = Some(Uart::new(COM2)).filter(|uart| uart.is_present());
        if let Some(uart) = program {
            uart.initialise();
        }
        Self { console, program }
    }

    /// A byte that the person typed.
    pub fn console_byte(&self) -> Option<u8> {
        self.console.and_then(Uart::read)
    }

    /// A byte that the program sent.
    pub fn program_byte(&self) -> Option<u8> {
        self.program.and_then(Uart::read)
    }

    /// Writes to both.
    pub fn write(&self, output: &Output) {
        if let Some(uart) = self.console {
            for byte in output.console.bytes() {
                if byte == b'\n' {
                    uart.write(b'\r');
                }
                uart.write(byte);
            }
        }
        if let Some(uart) = self.program {
            uart.write_all(output.program.as_bytes());
        }
    }
}
