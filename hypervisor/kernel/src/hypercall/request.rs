//! A decoded call: who calls, and with which parameters.

use abi::{CallInput, Status};
use address::{PartitionId, VpIndex};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::WORDS;
use super::removed::RemovedList;
use crate::memory::Holder;
use crate::vp::VpSlot;

/// Who calls.
#[derive(Clone, Copy, Debug)]
pub struct Caller {
    /// Its partition.
    pub partition: PartitionId,
    /// Slot of its partition.
    pub holder: Holder,
    /// The VP.
    pub vp: VpIndex,
    /// Slot of the VP.
    pub slot: VpSlot,
    /// What its partition may do.
    pub privileges: u64,
}

impl Caller {
    /// The partition that an argument names: SELF is the caller's.
    #[must_use]
    pub const fn resolve(&self, id: u64) -> PartitionId {
        if id == PartitionId::SELF.0 {
            self.partition
        } else {
            PartitionId(id)
        }
    }

    /// Whether the caller has all of these privileges.
    ///
    /// # Errors
    /// ACCESS_DENIED where it has not.
    pub const fn needs(&self, privileges: u64) -> Result<(), Status> {
        if self.privileges & privileges == privileges {
            Ok(())
        } else {
            Err(Status::ACCESS_DENIED)
        }
    }
}

/// A decoded call with its parameters.
#[derive(Debug)]
pub struct Request<'a> {
    /// The caller.
    pub caller: Caller,
    /// The input value.
    pub control: CallInput,
    pub(super) input: &'a [u8],
    pub(super) header: usize,
    pub(super) output: &'a mut [u64; WORDS],
    pub(super) removed: &'a mut RemovedList,
}

impl Request<'_> {
    /// The fixed parameters.
    ///
    /// # Errors
    /// INVALID_HYPERCALL_INPUT where the call has fewer; that would be a mistake in the table of calls.
    pub fn parameters<T: FromBytes + KnownLayout + Immutable>(&self) -> Result<T, Status> {
        let (parameters, _) =
            T::read_from_prefix(self.input).map_err(|_| Status::INVALID_HYPERCALL_INPUT)?;
        Ok(parameters)
    }

    /// The list behind the header: one element per repetition.
    ///
    /// # Errors
    /// As [`Request::parameters`].
    pub fn list<T: FromBytes + KnownLayout + Immutable>(&self) -> Result<&[T], Status> {
        let bytes = self
            .input
            .get(self.header..)
            .ok_or(Status::INVALID_HYPERCALL_INPUT)?;
        <[T]>::ref_from_bytes(bytes).map_err(|_| Status::INVALID_HYPERCALL_INPUT)
    }

    /// The part of the list that is still to do.
    ///
    /// # Errors
    /// As [`Request::parameters`].
    pub fn rest<T: FromBytes + KnownLayout + Immutable>(&self) -> Result<&[T], Status> {
        self.list()?
            .get(usize::from(self.control.start())..)
            .ok_or(Status::INVALID_HYPERCALL_INPUT)
    }

    /// Repetitions still to do.
    #[must_use]
    pub const fn left(&self) -> u16 {
        self.control.count() - self.control.start()
    }

    /// Puts the result, or one element of the result list at its index.
    pub fn answer<T: IntoBytes + Immutable>(&mut self, index: usize, value: &T) {
        let bytes = value.as_bytes();
        let at = index * bytes.len();
        if let Some(to) = self.output.as_mut_bytes().get_mut(at..at + bytes.len()) {
            to.copy_from_slice(bytes);
        }
    }
}
