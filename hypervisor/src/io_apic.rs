//! I/O APICs (Intel 82093AA data sheet, section 3), and the old interrupt controllers, which stay silent.

use address::Spa;
use alloc::vec::Vec;
use firmware::madt::Madt;
use handoff::Extent;
use spin::{Mutex, Once};
use x86_64::instructions::port::Port;

use crate::facts::Facts;
use crate::mmio::Registers;

const SELECT: u64 = 0x00;
const WINDOW: u64 = 0x10;
const BLOCK_BYTES: u64 = 4096;
const VERSION: u32 = 0x01;
const FIRST_ENTRY: u32 = 0x10;
const MASKED: u64 = 1 << 16;
const PIC_MASKS: [u16; 2] = [0x21, 0xa1];

/// One I/O APIC, all pins masked at boot.
pub struct IoApic {
    /// Its id, as MADT and the IOMMU's tables call it.
    pub id: u8,
    /// First byte of its registers.
    pub address: Spa,
    /// Global system interrupt of pin 0.
    pub gsi_base: u32,
    /// Number of pins.
    pub pins: u32,
    /// Select and window are one pair for all LPs.
    registers: Mutex<Registers>,
}

static IO_APICS: Once<Vec<IoApic>> = Once::new();

/// Takes all I/O APICs and silences every source of interrupts that firmware left.
pub fn start(facts: &Facts, madt: Option<&[u8]>) {
    for mask in PIC_MASKS {
        // SAFETY: masks the lines of an interrupt controller that nobody here uses.
        unsafe { Port::<u8>::new(mask).write(0xff) };
    }
    let madt = madt.and_then(|bytes| Madt::parse(bytes).ok());
    let found = madt
        .into_iter()
        .flat_map(|madt| madt.io_apics())
        .filter_map(Result::ok);
    let list: Vec<IoApic> = found
        .filter_map(|entry| IoApic::take(facts, &entry))
        .collect();
    IO_APICS.call_once(|| list);
}

/// All I/O APICs.
pub fn all() -> &'static [IoApic] {
    IO_APICS.get().map_or(&[], Vec::as_slice)
}

/// The I/O APIC with this id.
pub fn find(id: u8) -> Option<&'static IoApic> {
    all().iter().find(|io_apic| io_apic.id == id)
}

/// I/O APIC and pin of a global system interrupt.
pub fn pin_of(gsi: u32) -> Option<(u8, u8)> {
    all().iter().find_map(|io_apic| {
        let pin = gsi
            .checked_sub(io_apic.gsi_base)
            .filter(|&pin| pin < io_apic.pins)?;
        Some((io_apic.id, pin as u8))
    })
}

impl IoApic {
    fn take(facts: &Facts, entry: &firmware::madt::IoApic) -> Option<Self> {
        let block = Extent::new(entry.address.as_u64(), BLOCK_BYTES);
        let in_ram = facts
            .ranges
            .iter()
            .any(|range| range.kind().is_ram() && range.extent().overlaps(block));
        let registers = Registers::new(entry.address, BLOCK_BYTES).filter(|_| !in_ram)?;
        let mut io_apic = Self {
            id: entry.id,
            address: entry.address,
            gsi_base: entry.gsi_base,
            pins: 0,
            registers: Mutex::new(registers),
        };
        let version = io_apic.read(VERSION);
        if version == u32::MAX {
            log::warn!("I/O APIC {} does not answer", entry.id);
            return None;
        }
        io_apic.pins = (version >> 16 & 0xff) + 1;
        for pin in 0..io_apic.pins {
            io_apic.set(pin as u8, MASKED);
        }
        Some(io_apic)
    }

    fn read(&self, register: u32) -> u32 {
        let registers = self.registers.lock();
        registers.write_32(SELECT, register);
        registers.read_32(WINDOW)
    }

    /// The redirection entry of a pin; masked where there is no such pin.
    pub fn get(&self, pin: u8) -> u64 {
        if u32::from(pin) >= self.pins {
            return MASKED;
        }
        let low = FIRST_ENTRY + u32::from(pin) * 2;
        u64::from(self.read(low + 1)) << 32 | u64::from(self.read(low))
    }

    /// Masks a pin.
    pub fn mask(&self, pin: u8) {
        self.set(pin, self.get(pin) | MASKED);
    }

    /// Writes the redirection entry of a pin: masked first, so that no half-written entry ever counts.
    pub fn set(&self, pin: u8, entry: u64) {
        if u32::from(pin) >= self.pins {
            return;
        }
        let low = FIRST_ENTRY + u32::from(pin) * 2;
        let registers = self.registers.lock();
        for (register, value) in [
            (low, MASKED as u32),
            (low + 1, (entry >> 32) as u32),
            (low, entry as u32),
        ] {
            registers.write_32(SELECT, register);
            registers.write_32(WINDOW, value);
        }
    }
}
