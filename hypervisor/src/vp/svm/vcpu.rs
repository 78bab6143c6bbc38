//! A VP's processor state in SVM's form.

use core::ptr::NonNull;

use abi::register as name;
use address::Spa;
use guest::msr::index;
use guest::svm::control::tlb;
use guest::svm::{Features, Setup, Step, Vmcb, decode, exit_code};
use guest::{Event, Exit, Gpr, Reset, Vcpu};

use super::entry::{self, Registers};
use super::host;
use crate::vp::extended::Extended;
use crate::vp::{begins_anew, cpuid};

/// Where no instruction stands: the address is not canonical.
const NOWHERE: u64 = 1 << 63;

/// A guest's NMI: the processor does not know by itself when the handler of an injected one has ended.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Nmi {
    /// None in service.
    Open,
    /// Its handler runs until the next IRET.
    InService,
    /// The same, and another one waits.
    Waiting,
    /// None in service; one waits for the next exit, after the IRET of the last handler, which stands here, has run.
    Due(u64),
}

/// A VP.
pub struct Svm {
    registers: Registers,
    block: NonNull<Vmcb>,
    block_address: Spa,
    tag: u16,
    /// SPA of the VMSAVE area of the LP that this VP was unparked on.
    host_area: u64,
    features: Features,
    extended: Extended,
    nmi: Nmi,
    /// A write of CR8 is being stepped over.
    step: Option<Step>,
    /// A sibling ran here since, under the same tag.
    flush: bool,
    /// What drops this VP's translations from the TLB here.
    flush_command: u8,
}

// SAFETY: the frames behind the pointers are this VP's alone, and no LP's own state is kept in it but `host_area`, which
// every `unpark` renews.
unsafe impl Send for Svm {}

impl Svm {
    #[inline]
    fn block(&self) -> &Vmcb {
        // SAFETY: the frame is this VP's alone, and only the processor inside `entry::run`, which borrows all of it, writes it
        // behind our back.
        unsafe { self.block.as_ref() }
    }

    #[inline]
    fn block_mut(&mut self) -> &mut Vmcb {
        // SAFETY: as above.
        unsafe { self.block.as_mut() }
    }

    #[inline(always)]
    fn before_entry(&mut self, flush: bool) {
        self.block_mut().control.tlb_control = tlb::NOTHING;
        if self.flush || flush {
            self.flush_at_entry();
        }
    }

    #[cold]
    fn flush_at_entry(&mut self) {
        self.flush = false;
        self.block_mut().control.tlb_control = self.flush_command;
    }

    fn host_exit(&mut self, code: u64) {
        match code {
            exit_code::INTR => entry::take_interrupt(),
            exit_code::IRET => {
                self.block_mut().request_iret(false);
                self.nmi = self.after_handler();
            }
            // An NMI was taken when GIF was set again; the others run on.
            _ => {}
        }
    }

    /// The guest is about to end an NMI's handler.
    fn after_handler(&mut self) -> Nmi {
        if self.nmi != Nmi::Waiting {
            return Nmi::Open;
        }
        // SAFETY: as in `block_mut`, which cannot be used beside `step`.
        let block = unsafe { self.block.as_mut() };
        block.step_over_iret(&mut self.step);
        Nmi::Due(block.save.rip)
    }

    /// An exception goes before a late NMI, whose place it takes.
    #[cold]
    fn inject_exception(&mut self, event: Event) {
        if self.block().gives_nmi() {
            self.block_mut().request_iret(false);
            self.nmi = Nmi::Due(NOWHERE);
        }
        self.block_mut().inject(event);
    }

    fn inject_nmi(&mut self) {
        let busy = self.block().control.event_injection.valid();
        self.nmi = match self.nmi {
            Nmi::Open if busy => Nmi::Due(NOWHERE),
            Nmi::Open => {
                self.block_mut().inject(Event::Nmi);
                self.block_mut().request_iret(true);
                Nmi::InService
            }
            Nmi::InService => Nmi::Waiting,
            waits => waits,
        };
    }
}

impl Vcpu for Svm {
    const FRAMES: usize = 2;

    fn new(frames: &[Spa], slat_root: Spa, tag: u16) -> Self {
        let &[block_address, area] = frames else {
            panic!("a VP is made from {} frames", Self::FRAMES);
        };
        let features = host::features();
        let start = crate::memory::virtual_of(block_address.as_u64()).cast();
        let mut vp = Self {
            registers: [0; 16],
            block: NonNull::new(start).unwrap_or(NonNull::dangling()),
            block_address,
            tag,
            host_area: 0,
            features,
            extended: Extended::new(area),
            nmi: Nmi::Open,
            step: None,
            flush: true,
            flush_command: if features.flush_by_asid {
                tlb::THIS_GUEST
            } else {
                tlb::EVERYTHING
            },
        };
        let setup = Setup {
            io_permissions: host::io_permissions(),
            msr_permissions: host::msr_permissions(),
            slat_root,
            asid: tag,
        };
        vp.block_mut().prepare(&setup, features);
        vp.reset(Reset::Init);
        vp
    }

    #[inline(always)]
    fn enter(&mut self, flush: bool) {
        self.before_entry(flush);
        let registers = &raw mut self.registers;
        // SAFETY: the block was made by `new`; `unpark` took the area from this LP; interrupts are off in the hypervisor.
        unsafe { entry::run(self.block_address.as_u64(), registers, self.host_area) };
    }

    #[inline(always)]
    fn exit(&mut self) -> Exit {
        // SAFETY: as in `block_mut`, which cannot be used beside `nmi` and `step`.
        let block = unsafe { self.block.as_mut() };
        if let Nmi::Due(iret) = self.nmi
            && block.give_late_nmi(iret)
        {
            self.nmi = Nmi::InService;
        }
        let exit = block.settle(&mut self.step);
        if matches!(exit, Exit::Host) {
            self.host_exit(self.block().control.exit_code);
        }
        exit
    }

    fn unpark(&mut self) {
        self.host_area = host::refresh_area();
        self.extended.load();
        // A new one flushes anyway.
        self.flush |= begins_anew(self.tag, self.block_address, false);
    }

    fn park(&mut self) {
        self.extended.save();
    }

    #[inline(always)]
    fn gpr(&self, register: Gpr) -> u64 {
        match register {
            Gpr::Rax => self.block().save.rax,
            Gpr::Rsp => self.block().save.rsp,
            other => self.registers[other as usize & 15],
        }
    }

    #[inline(always)]
    fn set_gpr(&mut self, register: Gpr, value: u64) {
        match register {
            Gpr::Rax => self.block_mut().save.rax = value,
            Gpr::Rsp => self.block_mut().save.rsp = value,
            other => self.registers[other as usize & 15] = value,
        }
    }

    #[inline]
    fn rip(&self) -> u64 {
        self.block().save.rip
    }

    fn advance(&mut self) {
        let features = self.features;
        let block = self.block_mut();
        block.save.rip = decode::next_rip(block, features);
        block.control.interrupt_shadow = 0;
        block.trap_behind();
    }

    #[inline(always)]
    fn advance_over(&mut self, plain: u8) {
        if self.features.next_rip {
            self.advance();
        } else {
            self.advance_by(plain);
        }
    }

    fn advance_by(&mut self, length: u8) {
        let block = self.block_mut();
        block.advance_by(length);
        block.trap_behind();
    }

    #[inline]
    fn rflags(&self) -> u64 {
        self.block().save.rflags
    }

    #[inline(always)]
    fn cpl(&self) -> u8 {
        self.block().save.cpl
    }

    #[inline(always)]
    fn protected_mode(&self) -> bool {
        self.block().save.cr0 & 1 != 0
    }

    #[inline(always)]
    fn long_mode(&self) -> bool {
        self.block().in_64_bit_code()
    }

    #[inline]
    fn can_take_interrupt(&self) -> bool {
        self.block().can_take_interrupt()
    }

    #[inline]
    fn request_window(&mut self, wanted: bool) {
        self.block_mut().request_window(wanted);
    }

    fn request_window_for(&mut self, class: u8) {
        // SAFETY: as in `block_mut`, which cannot be used beside `step`.
        let block = unsafe { self.block.as_mut() };
        block.request_window_for(class, self.step.as_ref());
    }

    fn inject(&mut self, event: Event) {
        match event {
            Event::Nmi => self.inject_nmi(),
            Event::Exception { .. } => self.inject_exception(event),
            other => self.block_mut().inject(other),
        }
    }

    #[inline(always)]
    fn has_pending_event(&self) -> bool {
        self.block().control.event_injection.valid()
    }

    #[inline(always)]
    fn task_priority(&self) -> u8 {
        self.block().control.virtual_interrupt.task_priority()
    }

    fn set_task_priority(&mut self, class: u8) {
        self.block_mut().set_task_priority(class);
    }

    fn reset(&mut self, to: Reset) {
        self.block_mut().reset(to);
        self.nmi = Nmi::Open;
        self.step = None;
        self.registers = [0; 16];
        // RDX after INIT: the processor's signature.
        self.set_gpr(Gpr::Rdx, u64::from(cpuid(1, 0)[0]));
    }

    fn register(&self, register: u32) -> Option<u128> {
        let value = match register {
            name::RAX..=name::R15 => self.gpr(Gpr::from_number(register as u8)),
            name::DR0..DR4 => self.extended.debug((register - name::DR0) as usize)?,
            name::XFEM => self.extended.xcr0(),
            name::TSC_AUX => self.extended.tsc_aux()?,
            // SAFETY: reading the time-stamp counter changes nothing.
            name::TSC => unsafe { core::arch::x86_64::_rdtsc() },
            other => return self.block().register(other),
        };
        Some(value.into())
    }

    fn set_register(&mut self, register: u32, value: u128) -> Result<(), bool> {
        let narrow = || u64::try_from(value).map_err(|_| false);
        match register {
            name::RAX..=name::R15 => self.set_gpr(Gpr::from_number(register as u8), narrow()?),
            name::DR0..DR4 => self
                .extended
                .set_debug((register - name::DR0) as usize, narrow()?),
            name::XFEM if self.extended.set_xcr0(narrow()?) => {}
            name::XFEM => return Err(false),
            name::TSC_AUX => match self.extended.set_tsc_aux(narrow()?) {
                Some(true) => {}
                Some(false) => return Err(false),
                None => return Err(true),
            },
            other => self.block_mut().set_register(other, value)?,
        }
        Ok(())
    }

    fn can_enter(&self) -> bool {
        self.block().violations(&host::limits()).is_empty()
    }

    fn instruction_length(&self) -> u8 {
        decode::instruction_length(self.block(), self.features)
    }

    fn instruction_bytes(&self) -> ([u8; 15], u8) {
        decode::instruction_bytes(self.block(), self.features)
    }

    fn read_msr(&self, msr: u32) -> Option<u64> {
        if msr == index::TSC_AUX {
            self.extended.tsc_aux()
        } else {
            self.block().read_msr(msr)
        }
    }

    fn write_msr(&mut self, msr: u32, value: u64) -> Option<bool> {
        if msr == index::TSC_AUX {
            return self.extended.set_tsc_aux(value);
        }
        self.block_mut().write_msr(msr, value)
    }

    fn set_xcr(&mut self, xcr: u32, value: u64) -> bool {
        xcr == 0 && self.extended.set_xcr0(value)
    }

    #[inline]
    fn host_cpuid(leaf: u32, subleaf: u32) -> [u32; 4] {
        cpuid(leaf, subleaf)
    }

    #[inline(always)]
    fn osxsave(&self) -> bool {
        const CR4_OSXSAVE: u64 = 1 << 18;
        self.block().save.cr4 & CR4_OSXSAVE != 0
    }
}

/// The interface has no DR4 and DR5: DR6 follows DR3.
const DR4: u32 = name::DR0 + 4;
