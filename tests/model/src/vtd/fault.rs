//! Fault recording (chapter 7, "Primary fault logging").

use super::{State, Vtd};

const OVERFLOW: u32 = 1;
const PENDING: u32 = 2;

impl Vtd {
    /// Records a fault, where there is room and no overflow stands.
    pub(super) fn record(&self, requester: u16, information: u64, reason: u8, read: bool) {
        let mut state = self.state.borrow_mut();
        let values = &mut state.values;
        if values.fault_status & OVERFLOW != 0 {
            return;
        }
        let at = values.next_record;
        let Some(record) = values.records.get_mut(at) else {
            return;
        };
        if record.1 >> 63 != 0 {
            values.fault_status |= OVERFLOW;
            return;
        }
        let high = 1 << 63 | u64::from(read) << 62 | u64::from(reason) << 32 | u64::from(requester);
        *record = (information, high);
        values.next_record = (at + 1) % values.records.len();
    }

    /// Pending bit, and the index of the oldest record.
    pub(super) fn pending(&self, state: &State) -> u32 {
        let records = &state.values.records;
        let count = records.len();
        let order = (0..count).map(|step| (state.values.next_record + step) % count);
        let mut full = order.filter(|&at| records[at].1 >> 63 != 0);
        full.next().map_or(0, |at| PENDING | (at as u32) << 8)
    }
}
