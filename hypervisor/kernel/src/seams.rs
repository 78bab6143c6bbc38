//! The seam between the logic and the machine: what the kernel asks of real hardware, and what a host test answers in
//! its place.

use address::{LpIndex, Spa, Vector};
use guest::Vcpu;
use guest::apic::Posted;
use paging::{SlatKind, TableMemory};

/// The machine. Every method is cheap, bounded, and callable on any LP.
pub trait Machine: Sized + Sync + 'static {
    /// Processor state of a VP.
    type Vcpu: Vcpu + Send;
    /// Where translation tables lie.
    type Tables: TableMemory;
    /// What the device nouns need of the machine.
    type Platform: device::Platform;

    /// Table memory.
    fn tables(&self) -> &Self::Tables;
    /// Dialect of the second-level tables.
    fn slat_kind(&self) -> SlatKind;
    /// Tags that the processors' TLBs tell apart, 0 included, which is the host's. A partition's slot is its tag.
    fn tags(&self) -> u32;
    /// Width of physical addresses in bits.
    fn physical_bits(&self) -> u8;

    /// What the hypercall page holds: the instruction of a hypercall, and a return.
    fn hypercall_code(&self) -> &'static [u8];
    /// Copies guest memory into the hypervisor. The range lies in RAM and in one page; somebody may write it meanwhile.
    fn read(&self, from: Spa, to: &mut [u8]);
    /// Copies bytes into guest memory. The range lies in RAM and in one page.
    fn write(&self, to: Spa, from: &[u8]);
    /// Fills a 4 KiB frame with zeros.
    fn scrub(&self, frame: Spa);

    /// The LP that calls.
    fn current_lp(&self) -> LpIndex;
    /// Makes an LP leave the guest, or wake up from [`Machine::idle`], soon.
    fn kick(&self, lp: LpIndex);
    /// Has the VP that runs on an LP take the interrupts that were left for it: without an exit where the machine knows how.
    fn notify(&self, lp: LpIndex) {
        self.kick(lp);
    }
    /// How remapping hardware that posts may reach the VP of this descriptor; `None` where no guest takes posted interrupts.
    fn posting(&self, posted: &Posted) -> Option<Posting> {
        let _ = posted;
        None
    }
    /// Waits until something happens to this LP. What happened before the call, but after the last interrupt window, counts.
    fn idle(&self);
    /// A breath in a loop that waits for another LP.
    fn relax(&self);

    /// Time stamp counter of this LP; all LPs agree on it.
    fn now(&self) -> u64;
    /// TSC ticks per second.
    fn tsc_hz(&self) -> u64;
    /// Sets the one-shot timer of this LP to a time stamp; `u64::MAX` stops it. One in the past fires at once.
    fn arm_timer(&self, deadline: u64);

    /// Reads a port, for the partition that may.
    fn input(&self, port: u16, size: u8) -> u32;
    /// Writes a port, for the partition that may.
    fn output(&self, port: u16, size: u8, value: u32);
    /// Copies log bytes from a position; returns the position after them and their count.
    fn read_log(&self, position: u64, to: &mut [u8]) -> (u64, usize);
    /// Resets the machine (`true`) or powers it off. Returns where the machine does not know how.
    fn power(&self, reset: bool);
    /// Writes the redirection entry of an IOAPIC's pin. A pin that does not exist is ignored.
    fn program_pin(&self, io_apic: u8, pin: u8, entry: u64);
    /// Masks a pin.
    fn mask_pin(&self, io_apic: u8, pin: u8);
    /// NMIs that this LP has taken so far.
    fn nmis(&self, lp: LpIndex) -> u64;
    /// Facts for VendorSystemInfo that only the machine knows.
    fn facts(&self) -> Facts;
}

/// How remapping hardware reaches a VP that it posts to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Posting {
    /// Where the descriptor lies.
    pub descriptor: Spa,
    /// Vector that tells the LP while the VP runs: as [`Machine::notify`] does.
    pub running: Vector,
    /// Vector that tells it while the VP does not, and that no guest takes.
    pub waiting: Vector,
}

/// What the machine knows about itself, fixed at boot.
#[derive(Clone, Copy, Debug, Default)]
pub struct Facts {
    /// Local APIC timer ticks per second.
    pub apic_hz: u64,
    /// Bytes of RAM.
    pub ram_bytes: u64,
    /// Bytes that the hypervisor keeps.
    pub kept_bytes: u64,
    /// Bytes of the hypervisor's text.
    pub text_bytes: u64,
    /// TSC ticks from entry to the root's first instruction, waits not counted.
    pub boot_ticks: u64,
}
