//! Intel Virtualization Technology for Directed I/O, legacy mode: root and context tables, second-stage translation, queued
//! invalidation, interrupt remapping in extended mode. Scalable mode, pass-through and device caches are not used.
//!
//! One file per hardware structure, which holds no behaviour; and one per verb: `enable`, `attach`, `invalidation`, `interrupt`,
//! `fault`.

mod attach;
mod capability;
mod context_entry;
mod descriptor;
mod enable;
mod extended_capability;
mod fault;
mod fault_record;
mod fault_status;
mod global_command;
mod interrupt;
mod invalidation;
mod irte;
mod message;
mod posted_irte;
mod registers;
mod root_entry;
#[cfg(test)]
mod tests;

use address::{PageSize, Spa};

use crate::wait::wait;
use crate::{Error, Feature, Geometry, Hardware, Levels, ProbeError, Registers, UnitMemory};
use capability::Capability;
use descriptor::Drain;
use extended_capability::ExtendedCapability;
use global_command::GlobalCommand;
use invalidation::Queue;

pub(crate) use enable::MEMORY_FRAMES;

/// Whether the unit may be used.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    /// Still as firmware left it.
    Probed,
    /// Ours.
    Enabled,
    /// Never again.
    Failed,
}

/// A unit.
#[derive(Debug)]
pub(crate) struct Vtd<H> {
    hardware: H,
    capability: Capability,
    extended: ExtendedCapability,
    host_bits: u8,
    state: State,
    /// Root table; meaningful once enabled.
    root: Spa,
    queue: Queue,
    /// Interrupt entries, where interrupts are remapped.
    interrupts: Option<UnitMemory>,
    fault_overflows: u64,
}

/// As [`crate::register_bytes`].
pub(crate) fn register_bytes<R: Registers>(registers: &R) -> Result<usize, ProbeError> {
    let (capability, extended) = read_capabilities(registers)?;
    let faults =
        16 * (usize::from(capability.fault_offset()) + usize::from(capability.fault_records()) + 1);
    let invalidation = 16 * (usize::from(extended.invalidation_offset()) + 1);
    Ok(faults.max(invalidation).next_multiple_of(4096))
}

fn read_capabilities<R: Registers>(
    registers: &R,
) -> Result<(Capability, ExtendedCapability), ProbeError> {
    let version = registers.read32(registers::VERSION);
    let capability = registers.read64(registers::CAPABILITY);
    let extended = registers.read64(registers::EXTENDED_CAPABILITY);
    if version == u32::MAX || capability == u64::MAX || extended == u64::MAX || capability == 0 {
        return Err(ProbeError::Absent);
    }
    let capability = Capability::from_bits(capability);
    if usize::from(capability.fault_offset()) * 16 < registers::FIXED_END {
        return Err(ProbeError::Registers);
    }
    Ok((capability, ExtendedCapability::from_bits(extended)))
}

impl<H: Hardware> Vtd<H> {
    pub(crate) fn probe(host_bits: u8, hardware: H) -> Result<Self, ProbeError> {
        let (capability, extended) = read_capabilities(&hardware)?;
        if !extended.queued_invalidation() {
            return Err(ProbeError::Lacks(Feature::InvalidationQueue));
        }
        let unit = Self {
            hardware,
            capability,
            extended,
            host_bits,
            state: State::Probed,
            root: Spa::new(0),
            queue: Queue::default(),
            interrupts: None,
            fault_overflows: 0,
        };
        if unit.geometry().levels.is_empty() {
            return Err(ProbeError::Lacks(Feature::TableDepth));
        }
        Ok(unit)
    }

    pub(crate) fn geometry(&self) -> Geometry {
        let levels = [(1, 3), (2, 4), (3, 5)]
            .into_iter()
            .filter(|(bit, _)| self.capability.depths() >> bit & 1 != 0)
            .fold(Levels::NONE, |set, (_, levels)| set.with(levels));
        let largest = match self.capability.large_pages() & 3 {
            3 => PageSize::Size1G,
            1 => PageSize::Size2M,
            _ => PageSize::Size4K,
        };
        Geometry {
            levels,
            input_bits: self.capability.address_width() + 1,
            output_bits: self.host_bits,
            largest,
            coherent: self.extended.coherent(),
            snoop: self.extended.snoop_control(),
            caches_absent: self.capability.caching_mode(),
        }
    }

    /// Name 0 is the unit's own for entries that are not present, where it caches those.
    pub(crate) fn domain_names(&self) -> u16 {
        match self.capability.domains() {
            6 => u16::MAX,
            small @ 0..6 => (1 << (4 + 2 * small)) - 1,
            _ => 15,
        }
    }

    pub(crate) fn remaps_interrupts(&self) -> bool {
        self.extended.interrupt_remapping() && self.extended.extended_interrupts()
    }

    /// The descriptor names processors by their x2APIC ids, as remapped interrupts do.
    pub(crate) fn posts_interrupts(&self) -> bool {
        self.remaps_interrupts() && self.capability.posts_interrupts()
    }

    pub(crate) fn interrupt_entries(&self) -> u32 {
        self.interrupts
            .map_or(0, |table| u32::from(table.frames) * 256)
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.state == State::Failed
    }

    pub(crate) const fn fault_overflows(&self) -> u64 {
        self.fault_overflows
    }

    pub(crate) const fn hardware(&self) -> &H {
        &self.hardware
    }

    const fn drain(&self) -> Drain {
        Drain {
            reads: self.capability.drains_reads(),
            writes: self.capability.drains_writes(),
        }
    }

    fn require_enabled(&self) -> Result<(), Error> {
        match self.state {
            State::Probed => Err(Error::State),
            State::Enabled => Ok(()),
            State::Failed => Err(Error::UnitFailed),
        }
    }

    /// Declares the unit failed.
    fn fail(&mut self) -> Error {
        self.state = State::Failed;
        Error::UnitFailed
    }

    /// The state that the unit reports. One that is gone reads as all ones.
    fn status(&mut self) -> Result<GlobalCommand, Error> {
        let status = self.hardware.read32(registers::GLOBAL_STATUS);
        if status == u32::MAX {
            return Err(self.fail());
        }
        Ok(GlobalCommand::from_bits(status))
    }

    /// Asks for one change and waits until the unit reports it. All else stays as it is.
    fn command(
        &mut self,
        change: impl Fn(GlobalCommand) -> GlobalCommand,
        reached: impl Fn(GlobalCommand) -> bool,
    ) -> Result<(), Error> {
        let asked = change(self.status()?.lasting());
        let hardware = &self.hardware;
        hardware.write32(registers::GLOBAL_COMMAND, asked.into_bits());
        let answer = wait(hardware, || {
            let status = hardware.read32(registers::GLOBAL_STATUS);
            let gone = status == u32::MAX;
            (gone || reached(GlobalCommand::from_bits(status))).then_some(gone)
        });
        match answer {
            Ok(false) => Ok(()),
            _ => Err(self.fail()),
        }
    }

    /// Writes words of a table back to memory where the walker does not snoop.
    fn clean(&self, table: Spa, first: usize, count: usize) {
        if !self.extended.coherent() {
            self.hardware.clean(table, first, count);
        }
    }

    /// Writes one word of a table where a walker may see it.
    fn publish(&self, table: Spa, word: usize, value: u64) {
        self.hardware.write(table, word, value);
        self.clean(table, word, 1);
    }

    /// Writes two words of a table, the first at an even index, where a walker sees both new ones or both old ones.
    fn publish_wide(&self, table: Spa, word: usize, low: u64, high: u64) {
        self.hardware.write_wide(table, word, low, high);
        self.clean(table, word, 2);
    }

    /// Makes stores to tables count where the chipset holds them back.
    fn flush_write_buffers(&mut self) -> Result<(), Error> {
        if !self.capability.write_buffer_flush() {
            return Ok(());
        }
        self.command(
            |now| now.with_flush_write_buffers(true),
            |status| !status.flush_write_buffers(),
        )
    }
}
