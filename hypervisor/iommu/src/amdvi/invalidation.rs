//! The command buffer: making the unit forget, and knowing that it did.

use address::Spa;
use arrayvec::ArrayVec;
use paging::FlushRange;

use super::command::Command;
use super::status::Status;
use super::{Amdvi, registers};
use crate::cover::cover;
use crate::wait::wait;
use crate::{DomainName, Error, Hardware};

/// Commands in the buffer: one frame of them.
const SLOTS: u16 = 256;

/// The buffer. It is empty whenever no verb is under way, because each verb waits for its own commands.
#[derive(Debug)]
pub(crate) struct Queue {
    base: Spa,
    /// Frame of the word that completion waits write to.
    status: Spa,
    tail: u16,
    /// What the last completion wait wrote.
    sequence: u64,
}

impl Default for Queue {
    fn default() -> Self {
        Self::new(Spa::new(0), Spa::new(0))
    }
}

impl Queue {
    pub(crate) const fn new(base: Spa, status: Spa) -> Self {
        Self {
            base,
            status,
            tail: 0,
            sequence: 0,
        }
    }

    /// Frame of the buffer.
    pub(crate) const fn base(&self) -> Spa {
        self.base
    }
}

impl<H: Hardware> Amdvi<H> {
    pub(crate) fn flush_domain(
        &mut self,
        name: DomainName,
        range: FlushRange,
    ) -> Result<(), Error> {
        self.require_enabled()?;
        Self::check_name(name)?;
        let FlushRange::Pages {
            first,
            count,
            tables,
        } = range
        else {
            return self.submit(&[Command::domain(name)]);
        };
        if count == 0 && !tables {
            return Ok(());
        }
        let blocks = cover(first, count);
        if blocks.is_empty() {
            return self.submit(&[Command::domain(name)]);
        }
        // A unit that caches what is absent may have cached an absent table, too.
        let tables = tables || self.caches_absent;
        let commands: ArrayVec<Command, 2> = blocks
            .iter()
            .map(|&block| Command::pages(name, block, tables))
            .collect();
        self.submit(&commands)
    }

    pub(super) const fn check_name(name: DomainName) -> Result<(), Error> {
        if name.0 == 0 {
            return Err(Error::DomainName);
        }
        Ok(())
    }

    /// Hands commands (a few) to the unit, and waits until it confirms that they are done. All stores to tables made before
    /// count before the first of them does.
    pub(super) fn submit(&mut self, commands: &[Command]) -> Result<(), Error> {
        for &command in commands {
            self.push(command);
        }
        self.queue.sequence = self.queue.sequence.wrapping_add(1);
        let (status, sequence) = (self.queue.status, self.queue.sequence);
        self.push(Command::wait(status, sequence));
        let hardware = &self.hardware;
        hardware.write64(registers::COMMAND_TAIL, u64::from(self.queue.tail) << 4);
        let answer = wait(hardware, || {
            if hardware.read(status, 0) == sequence {
                return Some(true);
            }
            // An error of a command stops the buffer. All ones, of a unit that is gone, are no answer either.
            let now = hardware.read32(registers::STATUS);
            let stopped = now == u32::MAX || !Status::from_bits(now).commands_run();
            stopped.then_some(false)
        });
        match answer {
            Ok(true) => Ok(()),
            _ => Err(self.fail()),
        }
    }

    fn push(&mut self, command: Command) {
        let word = usize::from(self.queue.tail) * 2;
        self.hardware.write(self.queue.base, word, command.low);
        self.hardware.write(self.queue.base, word + 1, command.high);
        self.queue.tail = (self.queue.tail + 1) % SLOTS;
    }
}
