//! A VP's processor state in VMX's form.
//!
//! While the VP is parked its registers stand in [`SaveArea`] and its control structure is active nowhere, so that any LP may
//! read, write or free it. Between unpark and park they stand in the processor and in the structure, which is the LP's current
//! one.

use abi::register as name;
use address::Spa;
use guest::apic::{LocalApic, Posted};
use guest::msr::index;
use guest::vmx::control_register::CR0_PE;
use guest::vmx::save::segment;
use guest::vmx::segment::LONG;
use guest::vmx::{Delivery, EptPointer, Features, Field, Limits, SaveArea, Window, decode, window};
use guest::{Event, Exit, Gpr, Reset, Vcpu};

use super::entry::{self, Registers};
use super::host;
use super::instruction::{self, Scope, vmread};
use super::structure::Setup;
use super::virtual_apic::VirtualApic;
use crate::vp::extended::Extended;
use crate::vp::{begins_anew, cpuid};

const RFLAGS_TF: u64 = 1 << 8;
const SINGLE_STEP: u64 = 1 << 14;
/// The interface has no DR4 and DR5: DR6 follows DR3.
const DR4: u32 = name::DR0 + 4;

/// A VP.
pub struct Vmx {
    pub(super) registers: Registers,
    pub(super) area: SaveArea,
    pub(super) structure: Spa,
    pub(super) apic_page: VirtualApic,
    /// Where interrupts for it are left: in the kernel's cells, which stand as long as the machine does.
    pub(super) posted: Spa,
    pub(super) setup: Setup,
    pub(super) features: Features,
    pub(super) limits: Limits,
    pub(super) extended: Extended,
    /// To be delivered at the next entry.
    pub(super) pending: Delivery,
    pub(super) window: Window,
    /// What of `window` the structure has.
    pub(super) loaded: Window,
    /// Its structure is this LP's current one.
    pub(super) live: bool,
    /// It has been entered since then.
    pub(super) launched: bool,
    /// Its structure has no controls yet.
    pub(super) fresh: bool,
    /// `area` was written since the structure was.
    pub(super) changed: bool,
    /// Its registers violate an entry's checks, or the processor refused them.
    pub(super) refused: bool,
    /// Drop the partition's translations before the next entry.
    pub(super) flush: bool,
}

// SAFETY: the frames behind the pointers are this VP's alone, and no LP's own state is kept in it while it is parked.
unsafe impl Send for Vmx {}

impl Vcpu for Vmx {
    const FRAMES: usize = 3;

    fn new(frames: &[Spa], slat_root: Spa, tag: u16) -> Self {
        let &[structure, area, apic_page] = frames else {
            panic!("a VP is made from {} frames", Self::FRAMES);
        };
        let features = host::features();
        // The frame is the VP's and inside the direct map, as all RAM is.
        let _ = crate::memory::copy_out(structure, &features.revision.to_le_bytes());
        let mut vp = Self {
            registers: [0; 16],
            area: SaveArea::default(),
            structure,
            apic_page: VirtualApic::new(apic_page),
            posted: Spa::new(0),
            setup: Setup {
                apic_page,
                tables: EptPointer::to_table(slat_root),
                tag,
            },
            features,
            limits: Limits {
                cr4_allowed: features.cr4_allowed,
                physical_bits: cpuid(0x8000_0008, 0)[0] as u8,
            },
            extended: Extended::new(area),
            pending: Delivery::default(),
            window: Window::default(),
            loaded: Window::default(),
            live: false,
            launched: false,
            fresh: true,
            changed: true,
            refused: false,
            flush: true,
        };
        vp.reset(Reset::Init);
        vp
    }

    #[inline]
    fn enter(&mut self, flush: bool) {
        if self.refused {
            self.flush |= flush;
            return;
        }
        self.before_entry(flush);
        let registers = &raw mut self.registers;
        // SAFETY: `unpark` made the structure current and gave it this LP's state; interrupts are off in the hypervisor.
        if unsafe { entry::run(registers, self.launched) } != 0 {
            let error = vmread(Field::INSTRUCTION_ERROR);
            log::error!("a VP cannot be entered: instruction error {error}");
            self.refused = true;
        }
    }

    #[inline]
    fn exit(&mut self) -> Exit {
        if self.refused {
            return Exit::InvalidState;
        }
        self.after_exit()
    }

    fn unpark(&mut self) {
        let new = self.fresh;
        self.take_structure();
        self.live = true;
        self.launched = false;
        if self.window.served {
            self.put_status();
        }
        let mut area = self.area;
        if self.changed {
            self.load(area);
        } else {
            self.load_processor(&mut area);
        }
        if begins_anew(self.setup.tag, self.structure, new) {
            let scope = if self.features.invvpid_single {
                Scope::Single
            } else {
                Scope::All
            };
            instruction::invvpid(scope, self.setup.tag);
        }
        self.extended.load();
    }

    fn park(&mut self) {
        self.extended.save();
        self.area = self.snapshot();
        self.live = false;
        // SAFETY: the structure is this VP's; from here on it is active nowhere.
        unsafe { instruction::vmclear(self.structure) };
    }

    #[inline]
    fn gpr(&self, register: Gpr) -> u64 {
        match register {
            Gpr::Rsp => self.field(Field::GUEST_RSP, self.area.rsp),
            other => self.registers[other as usize & 15],
        }
    }

    #[inline]
    fn set_gpr(&mut self, register: Gpr, value: u64) {
        match register {
            Gpr::Rsp if self.live => self.put(Field::GUEST_RSP, value),
            Gpr::Rsp => {
                self.area.rsp = value;
                self.changed = true;
            }
            other => self.registers[other as usize & 15] = value,
        }
    }

    #[inline]
    fn rip(&self) -> u64 {
        self.field(Field::GUEST_RIP, self.area.rip)
    }

    #[inline]
    fn advance(&mut self) {
        if !self.live {
            return;
        }
        self.advance_by(vmread(Field::EXIT_INSTRUCTION_LENGTH) as u8 & 15);
    }

    #[inline(always)]
    fn advance_by(&mut self, length: u8) {
        if !self.live {
            return;
        }
        let length = u64::from(length);
        let next = decode::next_rip(vmread(Field::GUEST_RIP), length, self.long_mode());
        self.put(Field::GUEST_RIP, next);
        let state = vmread(Field::GUEST_INTERRUPTIBILITY);
        if state & window::SHADOW != 0 {
            self.put(Field::GUEST_INTERRUPTIBILITY, state & !window::SHADOW);
        }
        if vmread(Field::GUEST_RFLAGS) & RFLAGS_TF != 0 {
            let pending = vmread(Field::GUEST_PENDING_DEBUG) | SINGLE_STEP;
            self.put(Field::GUEST_PENDING_DEBUG, pending);
        }
    }

    #[inline]
    fn rflags(&self) -> u64 {
        self.field(Field::GUEST_RFLAGS, self.area.rflags)
    }

    #[inline]
    fn cpl(&self) -> u8 {
        let parked = self.area.segments[segment::SS].access_rights;
        let field = Field::GUEST_ACCESS_RIGHTS.of_segment(segment::SS as u32);
        (self.field(field, parked.into()) >> 5) as u8 & 3
    }

    #[inline]
    fn protected_mode(&self) -> bool {
        self.field(Field::GUEST_CR0, self.area.cr0) & CR0_PE != 0
    }

    #[inline]
    fn long_mode(&self) -> bool {
        const EFER_LMA: u64 = 1 << 10;
        self.efer() & EFER_LMA != 0 && self.code_rights() & u64::from(LONG) != 0
    }

    #[inline]
    fn can_take_interrupt(&self) -> bool {
        !self.pending.info.valid()
            && window::takes_interrupt(self.rflags(), self.interruptibility())
    }

    #[inline]
    fn request_window(&mut self, wanted: bool) {
        self.window.request(wanted);
    }

    fn request_window_for(&mut self, class: u8) {
        let task_priority = self.task_priority();
        self.window.request_for(class, task_priority);
    }

    fn inject(&mut self, event: Event) {
        match event {
            Event::Nmi => self.inject_nmi(),
            other => self.pending = Delivery::of(other, self.protected_mode()),
        }
    }

    #[inline]
    fn has_pending_event(&self) -> bool {
        self.pending.info.valid()
    }

    #[inline]
    fn task_priority(&self) -> u8 {
        self.apic_page.task_priority()
    }

    fn set_task_priority(&mut self, class: u8) {
        let class = class & 15;
        self.apic_page.set_task_priority(class);
        self.window.follow_task_priority(class);
    }

    #[inline]
    fn serves_interrupts(&self) -> bool {
        self.window.served
    }

    fn serve(&mut self, apic: &mut LocalApic) {
        self.follow(apic);
    }

    #[inline]
    fn hand_over(&mut self, apic: &mut LocalApic) {
        self.give(apic);
    }

    fn take_back(&mut self, apic: &mut LocalApic) {
        self.recall(apic);
    }

    fn post_to(&mut self, posted: &Posted) {
        self.posted = crate::memory::physical_of(&raw const *posted);
    }

    fn holds_interrupt(&self) -> bool {
        self.delivers()
    }

    fn reset(&mut self, to: Reset) {
        self.change(|area| area.reset(to));
        self.pending = Delivery::default();
        self.window = Window::default();
        self.apic_page.clear();
        self.put_status();
        self.set_task_priority(0);
        self.registers = [0; 16];
        // RDX after INIT: the processor's signature.
        self.set_gpr(Gpr::Rdx, u64::from(cpuid(1, 0)[0]));
    }

    fn register(&self, register: u32) -> Option<u128> {
        let value = match register {
            name::RAX..=name::R15 => self.gpr(Gpr::from_number(register as u8)),
            name::RIP => self.rip(),
            name::RFLAGS => self.rflags(),
            name::CR8 => self.task_priority().into(),
            name::DR0..DR4 => self.extended.debug((register - name::DR0) as usize)?,
            name::XFEM => self.extended.xcr0(),
            name::TSC_AUX => self.extended.tsc_aux()?,
            // SAFETY: reading the time-stamp counter changes nothing.
            name::TSC => unsafe { core::arch::x86_64::_rdtsc() },
            other if self.live => return self.snapshot().register(other),
            other => return self.area.register(other),
        };
        Some(value.into())
    }

    fn set_register(&mut self, register: u32, value: u128) -> Result<(), bool> {
        let narrow = || u64::try_from(value).map_err(|_| false);
        match register {
            name::RAX..=name::R15 => self.set_gpr(Gpr::from_number(register as u8), narrow()?),
            name::CR8 if value < 16 => self.set_task_priority(value as u8),
            name::CR8 => return Err(false),
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
            other => self.change(|area| area.set_register(other, value))?,
        }
        Ok(())
    }

    fn can_enter(&self) -> bool {
        self.snapshot().violations(&self.limits).is_empty()
    }

    fn instruction_length(&self) -> u8 {
        // Nothing tells it once the structure is gone; a message is made before that.
        if self.live {
            vmread(Field::EXIT_INSTRUCTION_LENGTH) as u8 & 15
        } else {
            0
        }
    }

    fn instruction_bytes(&self) -> ([u8; 15], u8) {
        ([0; 15], 0)
    }

    fn read_msr(&self, msr: u32) -> Option<u64> {
        match msr {
            index::TSC_AUX => self.extended.tsc_aux(),
            index::EFER => Some(self.efer()),
            other => self.snapshot().read_msr(other),
        }
    }

    fn write_msr(&mut self, msr: u32, value: u64) -> Option<bool> {
        if msr == index::TSC_AUX {
            return self.extended.set_tsc_aux(value);
        }
        self.change(|area| area.write_msr(msr, value))
    }

    fn set_xcr(&mut self, xcr: u32, value: u64) -> bool {
        xcr == 0 && self.extended.set_xcr0(value)
    }

    #[inline]
    fn host_cpuid(leaf: u32, subleaf: u32) -> [u32; 4] {
        cpuid(leaf, subleaf)
    }

    #[inline]
    fn osxsave(&self) -> bool {
        const CR4_OSXSAVE: u64 = 1 << 18;
        self.field(Field::GUEST_CR4, self.area.cr4) & CR4_OSXSAVE != 0
    }
}
