//! Data of each LP. GS base points to the LP's own.

use alloc::boxed::Box;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use address::{ApicId, LpIndex, Vector};
use spin::RwLock;
use x86_64::VirtAddr;
use x86_64::registers::model_specific::GsBase;
use x86_64::structures::tss::TaskStateSegment;

use super::{gdt, stack};

/// Most LPs that are started; the kernel's tables have a place for each.
pub const MOST: usize = 64;

const STACK_BYTES: usize = 64 << 10;

/// One LP. The first field is the structure's own address, read through GS.
#[repr(C)]
pub struct Lp {
    itself: AtomicU64,
    /// Index, counted from 0; the boot processor's is 0.
    pub index: LpIndex,
    /// Its local APIC's id.
    pub apic_id: ApicId,
    /// Upper end of its stack.
    pub stack: VirtAddr,
    /// Its descriptor tables.
    pub tables: gdt::Tables,
    /// Whether it runs.
    pub checked_in: AtomicBool,
    /// Vectors that have arrived and that nobody has looked at yet, one bit each.
    pub pending: [AtomicU64; 4],
    /// NMIs taken.
    pub nmis: AtomicU64,
    /// Interrupts taken.
    pub interrupts: AtomicU64,
}

static LPS: [RwLock<Option<&'static Lp>>; MOST] = [const { RwLock::new(None) }; MOST];
static COUNT: AtomicU32 = AtomicU32::new(0);

/// Makes the data of the next LP. Its index is final once [`confirm`] has been called.
pub fn create(apic_id: ApicId) -> &'static Lp {
    let state: &'static TaskStateSegment = Box::leak(Box::new(gdt::task_state()));
    let lp = Box::leak(Box::new(Lp {
        itself: AtomicU64::new(0),
        index: LpIndex(COUNT.load(Ordering::Relaxed) as u16),
        apic_id,
        stack: stack::allocate(STACK_BYTES),
        tables: gdt::Tables::new(state),
        checked_in: AtomicBool::new(false),
        pending: [const { AtomicU64::new(0) }; 4],
        nmis: AtomicU64::new(0),
        interrupts: AtomicU64::new(0),
    }));
    lp.itself.store(&raw const *lp as u64, Ordering::Relaxed);
    lp
}

/// Says that the LP that runs here has no data yet, whatever firmware left in GS.
pub fn set_none() {
    GsBase::write(VirtAddr::zero());
}

/// Makes this the data of the LP that runs here.
pub fn set_current(lp: &'static Lp) {
    GsBase::write(VirtAddr::from_ptr(lp));
}

/// Counts an LP that runs.
pub fn confirm(lp: &'static Lp) {
    if let Some(place) = LPS.get(usize::from(lp.index.0)) {
        *place.write() = Some(lp);
        COUNT.fetch_add(1, Ordering::Release);
    }
}

/// The LP with this index.
pub fn get(index: LpIndex) -> Option<&'static Lp> {
    *LPS.get(usize::from(index.0))?.read()
}

/// LPs that run.
pub fn count() -> u32 {
    COUNT.load(Ordering::Acquire)
}

/// The LP that this runs on; `None` before it has its data.
pub fn current() -> Option<&'static Lp> {
    let base = GsBase::read();
    // SAFETY: GS base is 0 or the address of leaked data: only `set_current` writes it, and a VP's base is exchanged for it
    // before any other code of the hypervisor runs.
    (base.as_u64() >> 47 != 0).then(|| unsafe { &*base.as_ptr::<Lp>() })
}

impl Lp {
    /// Says that this LP has its tables and its local APIC.
    pub fn check_in(&self) {
        self.checked_in.store(true, Ordering::Release);
    }

    /// Notes that a vector has arrived.
    pub fn note(&self, vector: Vector) {
        let word = usize::from(vector.0 >> 6);
        self.pending[word & 3].fetch_or(1 << (vector.0 & 63), Ordering::Release);
    }

    /// Takes the highest vector that has arrived.
    pub fn take_pending(&self) -> Option<Vector> {
        for (index, word) in self.pending.iter().enumerate().rev() {
            let bits = word.load(Ordering::Acquire);
            if bits != 0 {
                let bit = 63 - bits.leading_zeros();
                word.fetch_and(!(1 << bit), Ordering::AcqRel);
                return Some(Vector((index as u32 * 64 + bit) as u8));
            }
        }
        None
    }
}
