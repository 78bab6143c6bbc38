//! Reset of a function between owners (PCI Express Base Specification, "Function-Level Reset"; Advanced Features
//! ECN for conventional PCI).

use abi::Status;
use alloc::vec::Vec;

use super::capability::{self, id};
use super::config::{ConfigSpace, command, register};

/// Milliseconds that a function has to come back.
pub const WAIT_MS: u64 = 100;

/// How a function can be reset.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Method {
    /// Through its PCI Express capability at this offset.
    Express(u8),
    /// Through its Advanced Features capability at this offset.
    Advanced(u8),
}

/// The way to reset a function, if it has one.
#[must_use]
pub fn method(config: &impl ConfigSpace) -> Option<Method> {
    let capabilities = capability::list(config);
    let find = |id| capabilities.iter().find(|c| c.id == id).map(|c| c.offset);
    let express = find(id::EXPRESS)
        .filter(|&offset| offset <= 0xf0 && config.read(u16::from(offset) + 4, 4) & 1 << 28 != 0);
    let advanced = find(id::ADVANCED)
        .filter(|&offset| offset <= 0xf8 && config.read(u16::from(offset) + 3, 1) & 0b10 != 0);
    express
        .map(Method::Express)
        .or(advanced.map(Method::Advanced))
}

/// Resets a function; `wait` is called with milliseconds. Its BARs and command register are as before afterwards, bus
/// mastering and port decoding off.
pub fn reset(config: &impl ConfigSpace, method: Method, wait: impl Fn(u64)) -> Result<(), Status> {
    let saved: Vec<(u16, u32)> = (register::BAR0..0x28)
        .step_by(4)
        .chain([0x3c])
        .map(|offset| (offset, config.read(offset, 4)))
        .collect();
    let before = config.read(register::COMMAND, 2) as u16;
    // Quiet first: a reset with transactions under way may lose completions.
    config.write(register::COMMAND, 2, u32::from(command::NO_INTX))?;
    wait(1);
    match method {
        Method::Express(offset) => {
            let control = config.read(u16::from(offset) + 8, 2);
            config.write(u16::from(offset) + 8, 2, control | 1 << 15)?;
        }
        Method::Advanced(offset) => {
            config.write(u16::from(offset) + 4, 1, 1)?;
        }
    }
    wait(WAIT_MS);
    if config.read(register::IDS, 2) == 0xffff {
        return Err(Status::TIME_OUT);
    }
    for (offset, value) in saved {
        // The interrupt line and unused registers may not be writable through the guard, and hold nothing.
        if config.read(offset, 4) != value {
            config.write(offset, 4, value)?;
        }
    }
    // Bus mastering is the hypervisor's; ports of a function are given to nobody, so they need not answer.
    let restored = before & !(command::BUS_MASTER | command::IO);
    config
        .write(register::COMMAND, 2, u32::from(restored))
        .map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::super::description::tests::Fake;
    use super::*;

    #[test]
    fn a_reset_writes_one_bit_and_leaves_the_bars() {
        let fake = Fake::network_card();
        assert_eq!(method(&fake), Some(Method::Express(0xe0)));
        let waited = core::cell::Cell::new(0);
        reset(&fake, Method::Express(0xe0), |ms| {
            waited.set(waited.get() + ms);
            // What a real function does meanwhile.
            if ms == WAIT_MS {
                fake.put(0x10, &[0; 4]);
            }
        })
        .unwrap();
        assert!(waited.get() >= 100);
        assert_eq!(fake.read(0xe8, 2) & 1 << 15, 1 << 15);
        assert_eq!(fake.read(0x10, 4), 0xfeb8_0000);
        assert_eq!(fake.read(4, 2) as u16 & command::BUS_MASTER, 0);
    }

    #[test]
    fn a_function_without_the_capability_has_no_reset() {
        let fake = Fake::network_card();
        fake.put(0xe7, &[0]);
        assert_eq!(method(&fake), None);
    }
}
