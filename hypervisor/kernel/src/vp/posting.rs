//! Device interrupts that remapping hardware leaves in a VP's inbox by itself, and tells the VP's LP of, once until somebody
//! looks: hardware knows neither the requests beside its descriptor nor the LP's ready set.
//!
//! While the VP runs, the vector that tells is the one by which its processor takes what was posted. Else it is one that leaves
//! whatever guest runs there: with the first, another VP's processor would take it for its own.

use core::sync::atomic::Ordering;

use address::Spa;

use super::run::Running;
use super::{VpCell, VpSlot};
use crate::Kernel;
use crate::lp::{Lp, chore};
use crate::seams::Machine;

impl<M: Machine> Kernel<M> {
    /// Where device interrupts for a VP may be posted; `None` where they come through its LP. Nobody else chooses.
    pub(crate) fn post_to(&self, slot: VpSlot) -> Option<Spa> {
        if !self.posts {
            return None;
        }
        let cell = self.vp_cell(slot);
        let posting = self.machine.posting(cell.inbox.posted())?;
        // From now on its LP looks there: before the first is posted.
        self.lps.get(usize::from(cell.lp().0))?.posted.insert(slot);
        Some(posting.descriptor)
    }

    /// Has hardware tell the VP's LP in the way that goes with what the VP does from now on.
    #[cold]
    pub(crate) fn aim(&self, lp: &Lp, cell: &VpCell<M>, runs: bool) {
        let posted = cell.inbox.posted();
        if let Some(posting) = self.machine.posting(posted) {
            let vector = if runs {
                posting.running
            } else {
                posting.waiting
            };
            posted.aim(vector, lp.apic_id);
        }
    }

    /// Begins the turn of a VP that hardware posts to; whether its guest is entered. Where it is not, the vector stays the one that
    /// no guest takes: what is posted meanwhile need not be looked for, and the LP comes to rest however much that is.
    #[cold]
    pub(super) fn begin_posted(&self, running: &mut Running<'_, M>) -> bool {
        running.cell.inbox.collect();
        let requests = running.cell.inbox.take();
        self.take_requests(running, requests);
        let runs = running.vp.is_runnable();
        if runs {
            self.aim(running.lp, running.cell, true);
        }
        runs
    }

    /// Interrupt handlers call this: hardware, or another LP, says that something was posted to a VP of this LP.
    pub fn on_posted(&self, lp: address::LpIndex) {
        if let Some(lp) = self.lps.get(usize::from(lp.0)) {
            lp.chores.fetch_or(chore::POSTED, Ordering::Relaxed);
        }
    }

    /// Finds out to whom. The one that runs takes it before its entry. Another one has its turn to come, and hardware stays silent
    /// about it until then: so a storm costs the others one interrupt for each turn of the VP that it is for (INT-12).
    #[cold]
    pub(crate) fn find_posted(&self, lp: &Lp) {
        for slot in lp.posted.iter() {
            let inbox = &self.vp_cell(slot).inbox;
            if lp.running.load(Ordering::Relaxed) == slot.0 {
                inbox.collect();
            } else if inbox.posted().is_outstanding() {
                self.wake(slot);
            }
        }
    }
}
