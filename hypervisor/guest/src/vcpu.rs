//! What the kernel asks of a virtual processor, whichever dialect runs it.

use address::Spa;

use crate::Exit;
use crate::apic::{LocalApic, Posted};

/// A general-purpose register, numbered as instructions encode it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum Gpr {
    Rax = 0,
    Rcx = 1,
    Rdx = 2,
    Rbx = 3,
    Rsp = 4,
    Rbp = 5,
    Rsi = 6,
    Rdi = 7,
    R8 = 8,
    R9 = 9,
    R10 = 10,
    R11 = 11,
    R12 = 12,
    R13 = 13,
    R14 = 14,
    R15 = 15,
}

impl Gpr {
    /// The register with this number, modulo 16.
    #[must_use]
    pub const fn from_number(number: u8) -> Self {
        const ALL: [Gpr; 16] = [
            Gpr::Rax,
            Gpr::Rcx,
            Gpr::Rdx,
            Gpr::Rbx,
            Gpr::Rsp,
            Gpr::Rbp,
            Gpr::Rsi,
            Gpr::Rdi,
            Gpr::R8,
            Gpr::R9,
            Gpr::R10,
            Gpr::R11,
            Gpr::R12,
            Gpr::R13,
            Gpr::R14,
            Gpr::R15,
        ];
        ALL[(number & 15) as usize]
    }
}

/// Something to deliver to the guest at its next entry.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Event {
    /// An external interrupt.
    Interrupt(u8),
    /// A non-maskable interrupt.
    Nmi,
    /// An exception, with its error code where the vector has one.
    Exception {
        /// 0 to 31.
        vector: u8,
        /// Error code.
        error_code: Option<u32>,
    },
}

impl Event {
    /// #UD, invalid opcode.
    pub const INVALID_OPCODE: Self = Self::Exception {
        vector: 6,
        error_code: None,
    };
    /// #GP(0), general protection.
    pub const GENERAL_PROTECTION: Self = Self::Exception {
        vector: 13,
        error_code: Some(0),
    };
}

/// A processor state to start from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reset {
    /// The state after INIT: real mode at the reset vector (AMD APM volume 2, "Processor Initialization State").
    Init,
    /// The state after a start-up IPI: real mode at `vector << 12`.
    Startup(u8),
}

/// The processor state of one VP.
///
/// A dialect keeps general-purpose registers in memory while the VP is out of the guest. Floating-point and vector
/// registers stay in the processor until [`Vcpu::park`], so that an exit which returns to the same VP does not touch
/// them.
pub trait Vcpu {
    /// Frames that [`Vcpu::new`] takes from the partition's deposits.
    const FRAMES: usize;

    /// A VP in the state after INIT, its control structures in these zeroed frames (`FRAMES` of them). `tag` is the
    /// name of the partition's SLAT in the processor's TLBs (ASID or VPID), never 0.
    fn new(frames: &[Spa], slat_root: Spa, tag: u16) -> Self;

    /// Runs the guest on this LP until an exit. `flush`: drop every translation of this SLAT from this LP's TLB first.
    fn enter(&mut self, flush: bool);

    /// Why the guest was left; called once after each [`Vcpu::enter`]. What concerns the dialect or the LP alone is done then:
    /// an interrupted delivery is put back, an interrupt of the host's is taken.
    fn exit(&mut self) -> Exit;

    /// Makes this LP ready for this VP after another one ran here: loads floating-point and vector state, XCR0 and the
    /// MSRs that the dialect does not switch by itself.
    fn unpark(&mut self);

    /// Takes out of the LP what [`Vcpu::unpark`] put there.
    fn park(&mut self);

    /// A general-purpose register.
    fn gpr(&self, register: Gpr) -> u64;
    /// Writes a general-purpose register.
    fn set_gpr(&mut self, register: Gpr, value: u64);
    /// Instruction pointer.
    fn rip(&self) -> u64;
    /// Steps over the instruction that caused the last exit, whose length the dialect knows or finds out; the
    /// one-instruction interrupt shadow ends.
    fn advance(&mut self);
    /// The same where the caller knows the instruction, `plain` bytes long without prefixes: that is the length where the
    /// processor does not tell another.
    fn advance_over(&mut self, plain: u8) {
        let _ = plain;
        self.advance();
    }
    /// The same over an instruction that was decoded from its bytes, 1 to 15 of them.
    fn advance_by(&mut self, length: u8);
    /// RFLAGS.
    fn rflags(&self) -> u64;
    /// Current privilege level, 0 to 3.
    fn cpl(&self) -> u8;
    /// Whether CR0.PE is set.
    fn protected_mode(&self) -> bool;
    /// Whether the guest runs 64-bit code.
    fn long_mode(&self) -> bool;

    /// Whether an interrupt could be injected at the next entry: IF set, no interrupt shadow, no event waiting.
    fn can_take_interrupt(&self) -> bool;
    /// Asks for [`Exit::InterruptWindow`] as soon as the guest can take an interrupt, whatever its task priority.
    fn request_window(&mut self, wanted: bool);
    /// Asks for [`Exit::InterruptWindow`] as soon as the guest can take an interrupt of this priority class (0 to 15):
    /// also when it is its task priority, which it changes without an exit, that stands in the way.
    fn request_window_for(&mut self, class: u8) {
        let _ = class;
        self.request_window(true);
    }
    /// Injects an event at the next entry.
    fn inject(&mut self, event: Event);
    /// Whether an event waits for the next entry (one that an exit interrupted is put back by the dialect).
    fn has_pending_event(&self) -> bool;
    /// Task priority register, CR8: 0 to 15.
    fn task_priority(&self) -> u8;
    /// Writes the task priority register, 0 to 15.
    fn set_task_priority(&mut self, class: u8);

    /// Whether the processor serves the VP's interrupts by itself: it delivers what it was handed as soon as the guest can
    /// take it, and ends services, all without an exit. Neither [`Vcpu::inject`] nor windows are for interrupts then.
    fn serves_interrupts(&self) -> bool {
        false
    }
    /// Has the processor serve interrupts where it can and `apic` allows it, or stop doing so: to be called after what may
    /// have changed `apic`'s mind.
    fn serve(&mut self, apic: &mut LocalApic) {
        let _ = apic;
    }
    /// Hands all of `apic`'s requests and services to the processor that serves them.
    fn hand_over(&mut self, apic: &mut LocalApic) {
        let _ = apic;
    }
    /// Takes them back, so that `apic` may be asked about them; they are handed over again before the next entry.
    fn take_back(&mut self, apic: &mut LocalApic) {
        let _ = apic;
    }
    /// Where interrupts for this VP are left: a processor that serves them may take them from there by itself, as long as the
    /// VP lives.
    fn post_to(&mut self, posted: &Posted) {
        let _ = posted;
    }
    /// Whether an interrupt that was handed over waits only for the guest to take interrupts.
    fn holds_interrupt(&self) -> bool {
        false
    }

    /// Sets the state after INIT or a start-up IPI.
    fn reset(&mut self, to: Reset);
    /// Reads a register by its number in the hypercall interface (`abi::register`); `None` where there is no such
    /// register here.
    fn register(&self, name: u32) -> Option<u128>;
    /// Writes a register by its number in the hypercall interface. `Err(true)`: no such register; `Err(false)`: the
    /// register does not take this value. Nothing has changed then.
    fn set_register(&mut self, name: u32, value: u128) -> Result<(), bool>;

    /// Whether an entry would take the registers as they stand together: every check that the processor makes then.
    fn can_enter(&self) -> bool;

    /// Length of the exiting instruction where the processor tells it (0 = not told), at most 15.
    fn instruction_length(&self) -> u8;
    /// Bytes of the exiting instruction where the processor captured them (decode assists); the count may be 0.
    fn instruction_bytes(&self) -> ([u8; 15], u8);

    /// Answers a guest's read of an MSR that the dialect keeps in its control structures or switches itself (EFER,
    /// STAR, FS_BASE, PAT, SYSENTER...). `None`: not one of them.
    fn read_msr(&self, index: u32) -> Option<u64>;
    /// The same for a write. `None`: not one of them; `Some(false)`: #GP is due.
    fn write_msr(&mut self, index: u32, value: u64) -> Option<bool>;
    /// Performs XSETBV for the guest; `false`: #GP is due.
    fn set_xcr(&mut self, index: u32, value: u64) -> bool;
    /// The answer of the real processor to CPUID, to be filtered by the policy.
    fn host_cpuid(leaf: u32, subleaf: u32) -> [u32; 4];
    /// CR4 and XCR0 as far as CPUID shows them (OSXSAVE).
    fn osxsave(&self) -> bool;
}
