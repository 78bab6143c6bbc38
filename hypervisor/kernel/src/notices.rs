//! What the root is told without a VP that waits for its answer: a device that was blocked, a unit that failed.

use core::sync::atomic::{AtomicBool, Ordering};

use abi::message::{Message, kind};
use abi::vendor::{Fault, fault_kind};
use address::{LpIndex, PartitionId};
use arrayvec::ArrayVec;
use spin::Mutex;
use zerocopy::IntoBytes;

use crate::Kernel;
use crate::seams::Machine;
use crate::vp::inbox::Request;

/// One for each partition that can fail, and as many for devices.
const KEPT: usize = 2 * crate::MAX_PARTITIONS;

/// Notices that the root has not been given yet, oldest first.
#[derive(Debug, Default)]
pub struct Notices {
    kept: Mutex<(ArrayVec<Fault, KEPT>, u64)>,
    waiting: AtomicBool,
}

impl Notices {
    /// Keeps a notice; where there is no room, the next one says how many there were.
    pub fn push(&self, notice: Fault) {
        let (kept, lost) = &mut *self.kept.lock();
        if kept.try_push(notice).is_err() {
            *lost += 1;
        }
        self.waiting.store(true, Ordering::Release);
    }

    /// Takes the oldest one.
    pub fn pop(&self) -> Option<Fault> {
        let (kept, lost) = &mut *self.kept.lock();
        let mut notice = kept.pop_at(0)?;
        notice.lost = core::mem::take(lost);
        self.waiting.store(!kept.is_empty(), Ordering::Release);
        Some(notice)
    }

    /// Whether any waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.waiting.load(Ordering::Acquire)
    }
}

/// A notice as a message.
#[must_use]
pub fn message(notice: &Fault) -> Message {
    let bytes = notice.as_bytes();
    let mut message = Message {
        message_type: kind::DEVICE_FAULT,
        payload_size: bytes.len() as u8,
        sender: notice.partition,
        ..Message::default()
    };
    for (to, from) in message.payload.iter_mut().zip(bytes) {
        *to = *from;
    }
    message
}

impl<M: Machine> Kernel<M> {
    /// Leaves a notice for the root's first VP.
    pub(crate) fn tell_root(&self, notice: Fault) {
        self.notices.push(notice);
        if let Some(root) = self.root_vp(LpIndex(0)) {
            self.notify(root, Request::Message);
        }
    }

    /// Draws the consequences of units that failed (invariant 9): the VPs of the partitions whose devices were behind them leave
    /// their guests, and the root is told. The caller holds no lock.
    #[cold]
    pub(crate) fn stop_failed(&self) {
        loop {
            // One lock at a time: the partition's comes before the devices'.
            let Some(id) = self.devices.lock().take_partition_to_stop() else {
                return;
            };
            self.suspend_all(id);
            self.tell_root(Fault {
                partition: id.0,
                kind: fault_kind::UNIT_FAILED,
                ..Fault::default()
            });
        }
    }

    fn suspend_all(&self, id: PartitionId) {
        let Some(cell) = self.partitions.get(id) else {
            return;
        };
        let vps = cell.body.lock().vps;
        for slot in vps.into_iter().flatten() {
            self.notify(slot, Request::Suspend);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_room_is_counted() {
        let notices = Notices::default();
        assert!(notices.is_empty());
        for address in 0..KEPT as u64 + 2 {
            notices.push(Fault {
                address,
                ..Fault::default()
            });
        }
        let first = notices.pop().unwrap();
        assert_eq!((first.address, first.lost), (0, 2));
        let rest = core::iter::from_fn(|| notices.pop()).count();
        assert_eq!((rest, notices.is_empty()), (KEPT - 1, true));
    }
}
