//! Taking a unit over.

use address::{RequesterId, Spa};
use paging::FrameSource;

use super::command::Command;
use super::control::Control;
use super::device_entry::{Domain, Interrupts, PER_FRAME, Translation, WORDS};
use super::invalidation::Queue;
use super::status::Status;
use super::{Amdvi, State, registers};
use crate::wait::wait;
use crate::{DomainName, Error, Hardware, UnitMemory, unit};

/// Frames of the device table: an entry of 32 bytes for each of the 65,536 requester ids.
pub(crate) const MEMORY_FRAMES: u16 = 512;

impl<H: Hardware> Amdvi<H> {
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
        if !memory.is_sound() || memory.frames != MEMORY_FRAMES {
            return Err(Error::Target);
        }
        let [commands, events, status] = unit::take(pool)?;
        for frame in [commands, events, status] {
            self.hardware.zero(frame);
        }
        self.devices = memory.base;
        self.queue = Queue::new(commands, status);
        self.events = events;
        self.block_all();
        self.quiesce()?;
        self.point();
        self.start()?;
        self.forget_all()?;
        self.state = State::Enabled;
        Ok(())
    }

    /// Writes a blocking entry for every id there is.
    fn block_all(&self) {
        for frame in 0..u64::from(MEMORY_FRAMES) {
            let Some(frame) = Spa::from_page(self.devices.page() + frame) else {
                return;
            };
            self.hardware.zero(frame);
            for word in (0..PER_FRAME).map(|entry| entry * WORDS) {
                let (translation, domain) = (Translation::BLOCKED, Domain::NONE);
                self.hardware
                    .write_wide(frame, word, translation.into_bits(), domain.into_bits());
                self.hardware
                    .write(frame, word + 2, Interrupts::BLOCKED.into_bits());
            }
        }
    }

    /// Ends what firmware, or whoever ran before, had the unit do. The tables cannot be switched under a running unit: for the
    /// moment that it is off, requests are stopped by bus mastering alone, which is off everywhere while units are taken over.
    fn quiesce(&mut self) -> Result<(), Error> {
        let control = self.hardware.read64(registers::CONTROL);
        if control == u64::MAX {
            return Err(self.fail());
        }
        let control = Control::from_bits(control);
        if self.status()?.commands_run() {
            self.await_empty_buffer();
        }
        let quiet = control
            .with_command_buffer(false)
            .with_event_log(false)
            .with_event_interrupt(false)
            .with_wait_interrupt(false)
            .with_page_requests(0);
        self.command(quiet, |status| {
            !status.commands_run() && !status.event_log_runs()
        })?;
        self.hardware.write64(registers::CONTROL, 0);
        Ok(())
    }

    /// Gives commands of firmware's time to be taken. Where they are stuck the buffer is switched off all the same.
    fn await_empty_buffer(&self) {
        let hardware = &self.hardware;
        let _stuck = wait(hardware, || {
            let head = hardware.read64(registers::COMMAND_HEAD);
            let tail = hardware.read64(registers::COMMAND_TAIL);
            (head == tail).then_some(())
        });
    }

    /// Points the unit at its tables. Nothing is excluded.
    fn point(&self) {
        let hardware = &self.hardware;
        for (offset, value) in [
            (registers::EXCLUSION_BASE, 0),
            (registers::EXCLUSION_LIMIT, 0),
            (
                registers::DEVICE_TABLE,
                self.devices.as_u64() | registers::DEVICE_TABLE_SIZE,
            ),
            (
                registers::COMMAND_BASE,
                self.queue.base().as_u64() | registers::ONE_FRAME,
            ),
            (registers::COMMAND_HEAD, 0),
            (registers::COMMAND_TAIL, 0),
        ] {
            hardware.write64(offset, value);
        }
        hardware.write32(registers::STATUS, Status::CLEAR.into_bits());
        for (offset, value) in [
            (
                registers::EVENT_BASE,
                self.events.as_u64() | registers::ONE_FRAME,
            ),
            (registers::EVENT_HEAD, 0),
            (registers::EVENT_TAIL, 0),
        ] {
            hardware.write64(offset, value);
        }
    }

    /// What the unit does from now on.
    fn start(&mut self) -> Result<(), Error> {
        let wide = self.remaps_interrupts();
        // The format of interrupt entries cannot change once the unit is on.
        let before = Control::new()
            .with_coherent(true)
            .with_wide_interrupts(wide)
            .with_x2apic(wide);
        self.hardware
            .write64(registers::CONTROL, before.into_bits());
        let control = before
            .with_event_log(true)
            .with_command_buffer(true)
            .with_enabled(true);
        self.command(control, |status| {
            status.commands_run() && status.event_log_runs()
        })?;
        let taken = Control::from_bits(self.hardware.read64(registers::CONTROL));
        let sound = taken.enabled() && taken.wide_interrupts() == wide && taken.x2apic() == wide;
        if sound { Ok(()) } else { Err(self.fail()) }
    }

    /// Nothing of what was cached before remains.
    fn forget_all(&mut self) -> Result<(), Error> {
        if self.feature.invalidate_all() {
            return self.submit(&[Command::all()]);
        }
        for id in 0..=u16::MAX {
            let requester = RequesterId(id);
            self.submit(&[
                Command::device_entry(requester),
                Command::interrupt_table(requester),
                Command::domain(DomainName(id)),
            ])?;
        }
        Ok(())
    }
}
