//! Port accesses: the root's few ports reach hardware, everything else becomes a message or reads all ones.

use guest::{Event, Gpr, PortAccess, Vcpu};

use super::run::Running;
use crate::Kernel;
use crate::seams::Machine;

/// First and last port of each range that the root may use: the two UARTs and the test-exit port.
const ROOT_PORTS: [(u16, u16); 3] = [(0x3f8, 0x3ff), (0x2f8, 0x2ff), (0xf4, 0xf7)];

/// Whether the root may access these bytes.
#[must_use]
pub fn root_may(port: u16, size: u8) -> bool {
    let last = port.saturating_add(u16::from(size).saturating_sub(1));
    ROOT_PORTS
        .iter()
        .any(|&(from, to)| port >= from && last <= to)
}

impl<M: Machine> Kernel<M> {
    /// Handles an access: for the root here and now, for a child by its parent.
    pub(crate) fn port(&self, running: &mut Running<'_, M>, access: PortAccess) {
        if !running.vp.is_root() {
            self.intercept_port(running, access);
            return;
        }
        if access.string {
            // The root has no device with a string port.
            running.vp.vcpu.inject(Event::GENERAL_PROTECTION);
            return;
        }
        self.root_port(&mut running.vp.vcpu, access);
        running.vp.vcpu.advance();
    }

    fn root_port(&self, vcpu: &mut M::Vcpu, access: PortAccess) {
        let PortAccess {
            port, size, write, ..
        } = access;
        let allowed = root_may(port, size);
        let mask = u32::MAX >> (32 - 8 * u32::from(size.clamp(1, 4)));
        if write {
            if allowed {
                self.machine
                    .output(port, size, vcpu.gpr(Gpr::Rax) as u32 & mask);
            }
            return;
        }
        let value = if allowed {
            self.machine.input(port, size)
        } else {
            u32::MAX
        } & mask;
        let old = vcpu.gpr(Gpr::Rax);
        // A 32-bit result clears the upper half of RAX; narrower ones leave the rest alone.
        let kept = if size == 4 { 0 } else { old & !u64::from(mask) };
        vcpu.set_gpr(Gpr::Rax, kept | u64::from(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cfg_12_the_roots_ports_are_a_short_list() {
        assert!(root_may(0x3f8, 1) && root_may(0x2ff, 1) && root_may(0xf4, 4));
        for port in [
            0x20, 0x21, 0x40, 0x43, 0x60, 0x64, 0x70, 0x92, 0xa0, 0xb2, 0xcf8, 0xcf9, 0xcfc,
        ] {
            assert!(!root_may(port, 1), "port {port:#x}");
        }
        assert!(!root_may(0x3ff, 2), "the second byte is outside");
        assert!(!root_may(0xffff, 4));
    }
}
