//! Reset and power-off (ACPI specification 6.5, 4.8.3.6 and 4.8.3.2).

use firmware::fadt::{Fadt, Register};
use spin::Once;
use topology::ConfigSpace;
use x86_64::instructions::port::Port;

use crate::acpi_tables::Tables;
use crate::config_space::Config;
use crate::facts::Facts;
use crate::mmio::Registers;

/// SLP_EN of a PM1 control register; SLP_TYP stands above bit 10.
const SLEEP_ENABLE: u16 = 1 << 13;
const SLEEP_TYPE_SHIFT: u32 = 10;
const KEYBOARD_COMMAND: u16 = 0x64;
const PULSE_RESET: u8 = 0xfe;
const RESET_CONTROL: u16 = 0xcf9;

struct Ways {
    reset: Option<(Register, u8)>,
    off: [Option<(u16, u16)>; 2],
}

static WAYS: Once<Ways> = Once::new();

/// Finds out how the machine resets and powers off. What firmware does not say stays unknown.
pub fn start(facts: &Facts, tables: &Tables) {
    let Some(bytes) = tables.find(b"FACP") else {
        return;
    };
    let Ok(fadt) = Fadt::parse(bytes) else {
        return;
    };
    let dsdt = crate::acpi_tables::dsdt(facts, bytes);
    let types = dsdt.and_then(firmware::sleep::power_off_types);
    let way = |index: usize| {
        let port = fadt.pm1_control[index];
        let kind = types?[index];
        (port != 0).then_some((port, u16::from(kind & 7) << SLEEP_TYPE_SHIFT | SLEEP_ENABLE))
    };
    WAYS.call_once(|| Ways {
        reset: fadt.reset,
        off: [way(0), way(1)],
    });
}

/// Powers off; returns where the machine does not know how.
pub fn off() {
    for (port, value) in WAYS.get().into_iter().flat_map(|ways| ways.off).flatten() {
        // SAFETY: firmware names the port and the value for power-off.
        unsafe { Port::<u16>::new(port).write(value) };
    }
}

/// Resets: as firmware says, else by the chip set's reset register, else by the keyboard controller.
pub fn reset() {
    if let Some((register, value)) = WAYS.get().and_then(|ways| ways.reset) {
        write(register, value);
    }
    // SAFETY: both are resets on every PC that has them, and nothing where they are missing.
    unsafe {
        Port::<u8>::new(RESET_CONTROL).write(0x02);
        Port::<u8>::new(RESET_CONTROL).write(0x06);
        Port::<u8>::new(KEYBOARD_COMMAND).write(PULSE_RESET);
    }
}

fn write(register: Register, value: u8) {
    match register {
        // SAFETY: firmware names the port and the value for reset.
        Register::Port(port) => unsafe { Port::<u8>::new(port).write(value) },
        Register::Memory(address) => {
            if let Some(block) = Registers::new(address::Spa::new(address), 1) {
                block.write_8(0, value);
            }
        }
        Register::Config(device, function, offset) => {
            if let Some(id) = address::DeviceId::new(0, 0, device, function) {
                Config.write8(id, offset, value);
            }
        }
    }
}
