//! Taking a unit over.

use address::Spa;
use paging::{ENTRIES, FrameSource};

use super::descriptor::Descriptor;
use super::fault_status::FaultStatus;
use super::invalidation::Queue;
use super::{State, Vtd, registers, root_entry};
use crate::wait::wait;
use crate::{Error, Hardware, UnitMemory, unit};

/// Frames of interrupt entries, 256 in each, that a unit is given.
pub(crate) const MEMORY_FRAMES: u16 = 16;
/// Frames of interrupt entries that the register can name.
const MOST_FRAMES: u16 = 256;

impl<H: Hardware> Vtd<H> {
    pub(crate) fn enable<P: FrameSource>(
        &mut self,
        pool: &mut P,
        memory: UnitMemory,
    ) -> Result<(), Error> {
        match self.state {
            State::Probed => (),
            State::Enabled => return Err(Error::State),
            State::Failed => return Err(Error::UnitFailed),
        }
        if !memory.is_sound() || memory.frames > MOST_FRAMES {
            return Err(Error::Target);
        }
        let [root, queue, status] = unit::take(pool)?;
        for frame in [root, queue, status] {
            self.blank(frame);
        }
        self.root = root;
        self.queue = Queue::new(queue, status);
        self.quiesce()?;
        self.take_translation()?;
        if self.remaps_interrupts() {
            self.take_interrupts(memory)?;
        }
        self.command(
            |now| now.with_translation(true),
            |status| status.translation(),
        )?;
        self.open_protected_memory()?;
        self.state = State::Enabled;
        Ok(())
    }

    pub(crate) fn add_bus<P: FrameSource>(&mut self, bus: u8, pool: &mut P) -> Result<(), Error> {
        self.require_enabled()?;
        if self.context_table(bus).is_some() {
            return Ok(());
        }
        let table = pool.take().ok_or(Error::OutOfFrames)?;
        self.blank(table);
        let entry = root_entry::RootEntry::to(table);
        self.publish(self.root, root_entry::word(bus), entry.into_bits());
        // A unit that caches what is not present remembers that the bus had no table.
        self.submit(&[Descriptor::all_contexts()])?;
        self.submit(&[Descriptor::all_translations(self.drain())])
    }

    /// Makes a frame an empty table.
    fn blank(&self, frame: Spa) {
        self.hardware.zero(frame);
        self.clean(frame, 0, ENTRIES);
    }

    /// Ends what firmware, or whoever ran before, had the unit do. Translation stays on where it can, so that no device gets
    /// through in between; the tables are switched under it.
    fn quiesce(&mut self) -> Result<(), Error> {
        self.hardware
            .write32(registers::FAULT_CONTROL, registers::FAULT_CONTROL_MASKED);
        let status = self.status()?;
        if status.interrupt_remapping() {
            self.command(
                |now| now.with_interrupt_remapping(false),
                |status| !status.interrupt_remapping(),
            )?;
        }
        if status.queued_invalidation() {
            self.await_empty_queue();
            self.command(
                |now| now.with_queued_invalidation(false),
                |status| !status.queued_invalidation(),
            )?;
        }
        let mode = self.hardware.read64(registers::ROOT_TABLE) & registers::ROOT_TABLE_MODE;
        if status.translation() && mode != 0 {
            // The kind of tables cannot change under a running translation.
            self.command(
                |now| now.with_translation(false),
                |status| !status.translation(),
            )?;
        }
        if status.compatibility_interrupts() {
            self.command(
                |now| now.with_compatibility_interrupts(false),
                |status| !status.compatibility_interrupts(),
            )?;
        }
        self.clear_faults();
        Ok(())
    }

    /// Gives a queue of firmware's time to run dry. Where it is stuck it is switched off all the same.
    fn await_empty_queue(&self) {
        let hardware = &self.hardware;
        let _stuck = wait(hardware, || {
            let head = hardware.read64(registers::QUEUE_HEAD);
            let tail = hardware.read64(registers::QUEUE_TAIL);
            (head == tail).then_some(())
        });
    }

    /// Clears the errors and records that were left.
    fn clear_faults(&mut self) {
        for index in 0..=self.capability.fault_records() {
            self.free_record(index);
        }
        self.hardware
            .write32(registers::FAULT_STATUS, FaultStatus::CLEAR.into_bits());
    }

    /// Root table, queue, and nothing cached from before.
    fn take_translation(&mut self) -> Result<(), Error> {
        self.flush_write_buffers()?;
        self.hardware
            .write64(registers::ROOT_TABLE, self.root.as_u64());
        self.command(
            |now| now.with_set_root_table(true),
            |status| status.set_root_table(),
        )?;
        self.hardware.write64(registers::QUEUE_TAIL, 0);
        self.hardware
            .write64(registers::QUEUE_ADDRESS, self.queue.address());
        self.command(
            |now| now.with_queued_invalidation(true),
            |status| status.queued_invalidation(),
        )?;
        self.submit(&[Descriptor::all_contexts()])?;
        self.submit(&[Descriptor::all_translations(self.drain())])
    }

    /// Interrupt entries, all unused, and compatibility-format interrupts off.
    fn take_interrupts(&mut self, table: UnitMemory) -> Result<(), Error> {
        for frame in 0..u64::from(table.frames) {
            if let Some(frame) = Spa::from_page(table.base.page() + frame) {
                self.blank(frame);
            }
        }
        self.flush_write_buffers()?;
        // The size field n means 2^(n + 1) entries; a frame holds 2^8.
        let size = 7 + u64::from(table.frames.trailing_zeros());
        self.hardware.write64(
            registers::INTERRUPT_TABLE,
            table.base.as_u64() | registers::INTERRUPT_TABLE_EXTENDED | size,
        );
        self.command(
            |now| now.with_set_interrupt_table(true),
            |status| status.set_interrupt_table(),
        )?;
        self.submit(&[Descriptor::all_interrupts()])?;
        self.command(
            |now| now.with_interrupt_remapping(true),
            |status| status.interrupt_remapping() && !status.compatibility_interrupts(),
        )?;
        self.interrupts = Some(table);
        Ok(())
    }

    /// Protected regions end only now that translation guards everything.
    fn open_protected_memory(&mut self) -> Result<(), Error> {
        if !self.capability.protected_low() && !self.capability.protected_high() {
            return Ok(());
        }
        let hardware = &self.hardware;
        let now = hardware.read32(registers::PROTECTED_MEMORY);
        if now & (registers::PROTECTED_MEMORY_ENABLE | registers::PROTECTED_MEMORY_STATUS) == 0 {
            return Ok(());
        }
        hardware.write32(registers::PROTECTED_MEMORY, 0);
        let off = wait(hardware, || {
            let status = hardware.read32(registers::PROTECTED_MEMORY);
            (status & registers::PROTECTED_MEMORY_STATUS == 0).then_some(())
        });
        off.map_err(|_| self.fail())
    }
}
