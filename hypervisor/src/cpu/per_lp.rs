//! Data of each LP. GS base points to the LP's own.

use alloc::boxed::Box;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use address::{ApicId, LpIndex};
use guest::tags::LastUsers;
use spin::RwLock;
use x86_64::VirtAddr;
use x86_64::registers::model_specific::GsBase;
use x86_64::structures::tss::TaskStateSegment;

use super::{gdt, stack};

/// Most LPs that are started; the kernel's tables have a place for each.
pub const MOST: usize = 64;

const STACK_BYTES: usize = 128 << 10;

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
    /// NMIs taken.
    pub nmis: AtomicU64,
    /// When its timer is due, in TSC ticks: for what runs guests with a timer of its own.
    pub deadline: AtomicU64,
    /// Which VP used each tag of translations last.
    pub users: LastUsers,
}

static LPS: [RwLock<Option<&'static Lp>>; MOST] = [const { RwLock::new(None) }; MOST];
/// What GS points to before an LP has its data.
static NOBODY: AtomicU64 = AtomicU64::new(0);
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
        nmis: AtomicU64::new(0),
        deadline: AtomicU64::new(u64::MAX),
        users: LastUsers::default(),
    }));
    lp.itself.store(&raw const *lp as u64, Ordering::Relaxed);
    lp
}

/// Says that the LP that runs here has no data yet, whatever firmware left in GS.
pub fn set_none() {
    GsBase::write(VirtAddr::new_truncate(&raw const NOBODY as u64));
}

/// Makes this the data of the LP that runs here.
pub fn set_current(lp: &'static Lp) {
    GsBase::write(VirtAddr::new_truncate(core::ptr::from_ref(lp) as u64));
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

/// All LPs that run, in order.
pub fn all() -> impl Iterator<Item = &'static Lp> {
    LPS.iter().map_while(|place| *place.read())
}

/// LPs that run.
pub fn count() -> u32 {
    COUNT.load(Ordering::Acquire)
}

/// The LP that this runs on; `None` before it has its data.
pub fn current() -> Option<&'static Lp> {
    let lp: *const Lp;
    // SAFETY: GS base is the address of `NOBODY` or of leaked data: only this file writes it, and a VP's base is exchanged
    // for it before any other code of the hypervisor runs. Both begin with a pointer, null or valid for ever.
    unsafe {
        core::arch::asm!("mov {}, gs:[0]", out(reg) lp, options(nostack, readonly, preserves_flags, pure));
        lp.as_ref()
    }
}

/// Index of the LP that this runs on; 0 before it has its data.
#[inline]
pub fn current_index() -> LpIndex {
    current().map_or(LpIndex(0), |lp| lp.index)
}

impl Lp {
    /// Says that this LP has its tables and its local APIC.
    pub fn check_in(&self) {
        self.checked_in.store(true, Ordering::Release);
    }
}
