//! Parameters by memory: copied in once, and the results out.

use abi::Status;
use address::{Gpa, PAGE_SIZE, Spa};
use zerocopy::IntoBytes;

use super::convention::Registers;
use super::sizes::Sizes;
use super::{Outcome, WORDS};
use crate::Kernel;
use crate::gva::writable;
use crate::seams::Machine;
use crate::vp::run::Running;

impl<M: Machine> Kernel<M> {
    /// Copies the parameters in, once. What the guest does to them afterwards does not count (HC-02).
    pub(super) fn copy_in(
        &self,
        running: &Running<'_, M>,
        registers: &Registers,
        to: &mut [u8],
    ) -> Result<(), Status> {
        if registers.control.is_fast() {
            for (to, from) in to.chunks_mut(8).zip([registers.input, registers.output]) {
                to.copy_from_slice(&from.to_le_bytes()[..to.len()]);
            }
            return Ok(());
        }
        if to.is_empty() {
            return Ok(());
        }
        let from = list_start(registers.input, to.len())?;
        let body = running.partition.body.lock();
        let slat = body.slat.live().ok_or(Status::INVALID_PARTITION_STATE)?;
        let (spa, _) = self.ram_at(slat, from).ok_or(Status::INVALID_PARAMETER)?;
        self.machine.read(spa, to);
        Ok(())
    }

    /// Whether the result can be written, before anything is done.
    pub(super) fn check_output(
        &self,
        running: &Running<'_, M>,
        registers: &Registers,
        sizes: &Sizes,
    ) -> Result<(), Status> {
        if sizes.output == 0 {
            return Ok(());
        }
        let to = list_start(registers.output, sizes.output)?;
        let end = |start: u64, length: usize| start.saturating_add(length as u64);
        if !registers.control.is_fast()
            && sizes.input > 0
            && to.as_u64() < end(registers.input, sizes.input)
            && registers.input < end(to.as_u64(), sizes.output)
        {
            return Err(Status::INVALID_ALIGNMENT);
        }
        self.output_at(running, to).map(|_| ())
    }

    fn output_at(&self, running: &Running<'_, M>, to: Gpa) -> Result<Spa, Status> {
        let body = running.partition.body.lock();
        let slat = body.slat.live().ok_or(Status::INVALID_PARTITION_STATE)?;
        let found = self
            .ram_at(slat, to)
            .filter(|(_, access)| writable(*access));
        found.map(|(spa, _)| spa).ok_or(Status::INVALID_PARAMETER)
    }

    /// Writes what the call produced, and no byte more.
    pub(super) fn copy_out(
        &self,
        running: &Running<'_, M>,
        registers: &Registers,
        sizes: &Sizes,
        outcome: Outcome,
        output: &[u64; WORDS],
    ) -> Result<(), Status> {
        let from = usize::from(registers.control.start()) * sizes.element_out;
        let produced = match outcome {
            Outcome::Done => sizes.output,
            Outcome::Reps(done, _) | Outcome::Again(done) => {
                from + usize::from(done) * sizes.element_out
            }
            Outcome::Retry => 0,
        };
        let Some(bytes) = output
            .as_bytes()
            .get(from..produced)
            .filter(|bytes| !bytes.is_empty())
        else {
            return Ok(());
        };
        let to = self.output_at(running, list_start(registers.output, sizes.output)?)?;
        if let Some(to) = to.checked_add(from as u64) {
            self.machine.write(to, bytes);
        }
        Ok(())
    }
}

/// A parameter list's address, checked: aligned to 8 bytes, in one page.
fn list_start(gpa: u64, length: usize) -> Result<Gpa, Status> {
    if !gpa.is_multiple_of(8) || gpa % PAGE_SIZE + length as u64 > PAGE_SIZE {
        return Err(Status::INVALID_ALIGNMENT);
    }
    Ok(Gpa::new(gpa))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hc_03_parameter_lists_are_aligned_and_in_one_page() {
        assert_eq!(list_start(0x1001, 8), Err(Status::INVALID_ALIGNMENT));
        assert_eq!(list_start(0x1ff8, 16), Err(Status::INVALID_ALIGNMENT));
        assert_eq!(list_start(0x1ff8, 8), Ok(Gpa::new(0x1ff8)));
    }
}
