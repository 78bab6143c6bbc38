//! Drivers for two network adapters: the 82576 ("igb") and the 82574L ("e1000e"). One receive and one transmit queue,
//! interrupts by MSI-X or MSI, no offloads. Registers and descriptors as Intel's 82576EB and 82574 data sheets.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod model;
mod register;
mod ring;

pub use model::Model;

use pci::{Function, Interrupts, Way, register as config};
use runtime::clock;
use runtime::mmio::Mmio;

use register::{
    CTRL, MDI_READY, MDIC, NEGOTIATE, RAH0, RAL0, RCTL, RECEIVE, RESET, SET_LINK_UP, STATUS, TCTL,
    TRANSMIT,
};
use ring::{Receive, Transmit};

/// Bytes of the largest frame, without its checksum.
pub const FRAME: usize = 1514;

/// How long hardware may take over what it must do, in microseconds.
const PATIENCE: u64 = 5_000_000;

/// A network adapter that runs.
pub struct Nic {
    model: Model,
    registers: Mmio,
    interrupts: Interrupts,
    receive: Receive,
    transmit: Transmit,
    mac: [u8; 6],
}

impl Nic {
    /// Resets the adapter and starts it; its interrupts raise `vector` at this APIC id.
    pub fn open(
        function: Function,
        apic_id: u32,
        vector: u8,
        only: Option<Way>,
    ) -> Result<Self, &'static str> {
        let model = Model::of(function.ids()).ok_or("not an adapter that this driver knows")?;
        function.command(config::MEMORY | config::MASTER, 0);
        let registers = function.map_bar(0).ok_or("BAR 0 has no address")?;
        reset(model, &registers)?;
        let mac = read_mac(&registers)?;
        let interrupts = Interrupts::open(function, apic_id, vector, only)
            .ok_or("it has neither MSI-X nor MSI")?;
        model.route_interrupts(&registers, interrupts.way());
        let receive = Receive::new(model, &registers).ok_or("no memory for the receive ring")?;
        let transmit = Transmit::new(model, &registers).ok_or("no memory for the transmit ring")?;
        registers.write32(RCTL, RECEIVE);
        registers.write32(TCTL, TRANSMIT);
        receive.start(&registers);
        let nic = Self {
            model,
            registers,
            interrupts,
            receive,
            transmit,
            mac,
        };
        nic.rearm();
        Ok(nic)
    }

    /// Which adapter it is.
    #[must_use]
    pub const fn model(&self) -> Model {
        self.model
    }

    /// How it raises interrupts.
    #[must_use]
    pub const fn way(&self) -> Way {
        self.interrupts.way()
    }

    /// Its message, for moving it to another vector or VP.
    #[must_use]
    pub const fn interrupts(&self) -> &Interrupts {
        &self.interrupts
    }

    /// Its hardware address.
    #[must_use]
    pub const fn mac(&self) -> [u8; 6] {
        self.mac
    }

    /// Whether the link is up.
    #[must_use]
    pub fn link_up(&self) -> bool {
        self.registers.read32(STATUS) & 1 << 1 != 0
    }

    /// Waits for the link; false when it does not come.
    #[must_use]
    pub fn wait_for_link(&self) -> bool {
        wait(|| self.link_up())
    }

    /// Lets the adapter raise its next interrupt. After this, look once more for frames before waiting.
    pub fn rearm(&self) {
        self.model
            .enable_interrupts(&self.registers, self.interrupts.way());
    }

    /// Whether a frame waits.
    #[must_use]
    pub fn has_frame(&self) -> bool {
        self.receive.has_frame()
    }

    /// Copies the next frame out; its length.
    pub fn receive(&mut self, frame: &mut [u8; 2048]) -> Option<usize> {
        self.receive.take(&self.registers, frame)
    }

    /// Whether there is room for a frame to send.
    #[must_use]
    pub fn can_transmit(&self) -> bool {
        self.transmit.has_room()
    }

    /// Sends a frame; false where there is no room or the frame is too long.
    pub fn transmit(&mut self, frame: &[u8]) -> bool {
        self.transmit.put(&self.registers, frame)
    }

    /// Frames received and sent.
    #[must_use]
    pub const fn frames(&self) -> (u64, u64) {
        (self.receive.count(), self.transmit.count())
    }

    /// Address of the receive ring's first buffer, for probes of what the adapter can reach.
    #[must_use]
    pub const fn receive_buffers(&self) -> u64 {
        self.receive.buffers()
    }
}

fn wait(ready: impl Fn() -> bool) -> bool {
    let end = clock::micros() + PATIENCE;
    while clock::micros() < end {
        if ready() {
            return true;
        }
        runtime::cpu::pause();
    }
    ready()
}

fn reset(model: Model, registers: &Mmio) -> Result<(), &'static str> {
    model.disable_interrupts(registers);
    registers.write32(RCTL, 0);
    registers.write32(TCTL, 0);
    registers.write32(CTRL, registers.read32(CTRL) | RESET);
    clock::spin_micros(2_000);
    if !wait(|| registers.read32(CTRL) & RESET == 0) {
        return Err("it does not come out of reset");
    }
    model.disable_interrupts(registers);
    registers.write32(CTRL, registers.read32(CTRL) | SET_LINK_UP);
    // The 82576 does not negotiate by itself after this reset.
    if model == Model::Igb {
        registers.write32(MDIC, NEGOTIATE);
        let _ = wait(|| registers.read32(MDIC) & MDI_READY != 0);
    }
    Ok(())
}

/// The hardware address that the adapter loaded from its EEPROM.
fn read_mac(registers: &Mmio) -> Result<[u8; 6], &'static str> {
    const VALID: u32 = 1 << 31;
    if !wait(|| registers.read32(RAH0) & VALID != 0) {
        return Err("it has no hardware address");
    }
    let low = registers.read32(RAL0).to_le_bytes();
    let high = registers.read32(RAH0).to_le_bytes();
    Ok([low[0], low[1], low[2], low[3], high[0], high[1]])
}
