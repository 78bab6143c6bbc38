//! A VP whose guest follows a script. Its registers stand in a real control block, behind the same checks as on a processor.

use abi::register as name;
use abi::vp::Context;
use address::Spa;
use guest::apic::{LocalApic, Posted};
use guest::svm::event::EventInfo;
use guest::svm::{Features, Limits, Setup, Vmcb};
use guest::{Event, Exit, Gpr, Reset, Vcpu};
use kernel::vp::VpSlot;
use zerocopy::{FromZeros, IntoBytes};

use super::serving::Serving;
use super::state::{self, Act};

const RFLAGS_IF: u64 = 1 << 9;

/// A VP.
pub struct HostVcpu {
    key: u64,
    tag: u16,
    /// Slot of the VP.
    slot: VpSlot,
    /// It never ran.
    new: bool,
    root: u64,
    registers: [u64; 16],
    block: Box<Vmcb>,
    /// Instruction pointer of the hypercall that is under way.
    calling: Option<u64>,
    xcr0: u64,
    /// What the processor captured of the instruction that it leaves at.
    pub captured: Vec<u8>,
    /// Why the guest was left last.
    left: Option<Exit>,
    /// Events that the guest was given, in the form of the control block.
    pub delivered: Vec<u64>,
    /// Interrupts that the processor serves by itself, where it is told to.
    pub serving: Serving,
}

impl HostVcpu {
    /// Name of its script.
    #[must_use]
    pub fn key(&self) -> u64 {
        self.key
    }

    /// Loads a state, past every check.
    pub fn go(&mut self, context: &Context) {
        let save = &mut self.block.save;
        (save.cr0, save.cr3, save.cr4) = (context.cr0, context.cr3, context.cr4);
        save.efer = context.efer | 1 << 12;
        (save.rip, save.rflags, save.cpl) = (context.rip, context.rflags, 0);
        let cs = u128::from_le_bytes(context.segments[0].as_bytes().try_into().expect("16 bytes"));
        self.block
            .set_register(name::CS, cs)
            .expect("a code segment");
    }

    fn window_is_open(&self) -> bool {
        self.block.control.virtual_interrupt.pending() && self.block.can_take_interrupt()
    }

    /// Does what its script says until the guest leaves.
    fn run(&mut self, flush: bool) -> Exit {
        let state = state::get();
        if flush {
            state.flush(self.tag, self.root);
        }
        loop {
            let host = state.take_interrupt(Some((self.slot, &mut self.serving)));
            self.take_event();
            if host || state.take_kick() {
                return Exit::Host;
            }
            if self.window_is_open() {
                self.block.request_window(false);
                return Exit::InterruptWindow;
            }
            let Some(act) = state.next_act(self.key) else {
                state.wait_for_timer();
                return Exit::Host;
            };
            if matches!(act, Act::Hypercall) {
                if *self.calling.get_or_insert(self.rip()) == self.rip() {
                    return Exit::Hypercall;
                }
                self.calling = None;
            }
            state.done(self.key);
            if matches!(act, Act::Hypercall) {
                continue;
            }
            if let Some(exit) = state.perform(act, self.tag, self.root) {
                return exit;
            }
        }
    }

    fn take_event(&mut self) {
        let event = self.block.control.event_injection;
        if event.valid() {
            self.delivered.push(event.into_bits());
            self.block.control.event_injection = EventInfo::new();
        }
        let due = self.serving.due(self.task_priority());
        if let Some(vector) = due.filter(|_| self.can_take_interrupt()) {
            self.serving.begin(vector);
            self.delivered.push(1 << 31 | u64::from(vector.0));
        }
    }
}

impl Vcpu for HostVcpu {
    const FRAMES: usize = 2;

    fn new(frames: &[Spa], slat_root: Spa, tag: u16) -> Self {
        let mut vp = Self {
            key: frames[0].as_u64(),
            tag,
            slot: VpSlot(u16::MAX),
            new: true,
            root: slat_root.as_u64(),
            registers: [0; 16],
            block: Box::new(Vmcb::new_zeroed()),
            calling: None,
            xcr0: 1,
            captured: Vec::new(),
            left: None,
            delivered: Vec::new(),
            serving: Serving::default(),
        };
        let setup = Setup {
            io_permissions: Spa::new(0),
            msr_permissions: Spa::new(0),
            slat_root,
            asid: tag,
        };
        state::forget(vp.key);
        vp.block.prepare(&setup, Features::default());
        vp.reset(Reset::Init);
        vp
    }

    fn enter(&mut self, flush: bool) {
        self.left = Some(self.run(flush));
    }

    fn exit(&mut self) -> Exit {
        self.left.take().expect("an exit after each entry")
    }

    fn unpark(&mut self) {
        state::get().begin(self.tag, self.key, self.new);
        self.new = false;
    }

    fn park(&mut self) {
        state::get().storm();
    }

    fn gpr(&self, register: Gpr) -> u64 {
        match register {
            Gpr::Rax => self.block.save.rax,
            Gpr::Rsp => self.block.save.rsp,
            other => self.registers[other as usize],
        }
    }

    fn set_gpr(&mut self, register: Gpr, value: u64) {
        match register {
            Gpr::Rax => self.block.save.rax = value,
            Gpr::Rsp => self.block.save.rsp = value,
            other => self.registers[other as usize] = value,
        }
    }

    fn rip(&self) -> u64 {
        self.block.save.rip
    }

    fn advance(&mut self) {
        self.block.save.rip = self.block.save.rip.wrapping_add(3);
        self.block.control.interrupt_shadow = 0;
    }

    fn advance_by(&mut self, length: u8) {
        self.block.advance_by(length);
    }

    fn rflags(&self) -> u64 {
        self.block.save.rflags
    }

    fn cpl(&self) -> u8 {
        self.block.save.cpl
    }

    fn protected_mode(&self) -> bool {
        self.block.save.cr0 & 1 != 0
    }

    fn long_mode(&self) -> bool {
        self.block.in_64_bit_code()
    }

    fn can_take_interrupt(&self) -> bool {
        self.block.can_take_interrupt()
    }

    fn request_window(&mut self, wanted: bool) {
        self.block.request_window(wanted);
    }

    fn request_window_for(&mut self, class: u8) {
        self.block.request_window_for(class, None);
    }

    fn inject(&mut self, event: Event) {
        self.block.inject(event);
    }

    fn has_pending_event(&self) -> bool {
        self.block.control.event_injection.valid()
    }

    fn task_priority(&self) -> u8 {
        self.block.control.virtual_interrupt.task_priority()
    }

    fn set_task_priority(&mut self, class: u8) {
        self.block.set_task_priority(class);
    }

    fn serves_interrupts(&self) -> bool {
        self.serving.on
    }

    fn serve(&mut self, apic: &mut LocalApic) {
        self.serving.follow(apic);
    }

    fn hand_over(&mut self, apic: &mut LocalApic) {
        self.serving.hand_over(apic);
    }

    fn take_back(&mut self, apic: &mut LocalApic) {
        self.serving.take_back(apic);
    }

    fn post_to(&mut self, posted: &Posted) {
        self.slot = state::get().slot_of(posted).expect("a VP's inbox");
    }

    fn holds_interrupt(&self) -> bool {
        self.serving.due(self.task_priority()).is_some()
    }

    fn reset(&mut self, to: Reset) {
        self.block.reset(to);
        self.serving.forget();
        self.registers = [0; 16];
    }

    fn register(&self, register: u32) -> Option<u128> {
        match register {
            name::RAX..=name::R15 => Some(self.gpr(Gpr::from_number(register as u8)).into()),
            name::XFEM => Some(self.xcr0.into()),
            other => self.block.register(other),
        }
    }

    fn set_register(&mut self, register: u32, value: u128) -> Result<(), bool> {
        match register {
            name::RAX..=name::R15 => {
                let value = u64::try_from(value).map_err(|_| false)?;
                self.set_gpr(Gpr::from_number(register as u8), value);
                Ok(())
            }
            other => self.block.set_register(other, value),
        }
    }

    fn can_enter(&self) -> bool {
        let limits = Limits {
            cr4_allowed: 0x0037_07ff,
            physical_bits: 40,
        };
        self.block.violations(&limits).is_empty()
    }

    fn instruction_length(&self) -> u8 {
        3
    }

    fn instruction_bytes(&self) -> ([u8; 15], u8) {
        let mut bytes = [0; 15];
        bytes[..self.captured.len()].copy_from_slice(&self.captured);
        (bytes, self.captured.len() as u8)
    }

    fn read_msr(&self, index: u32) -> Option<u64> {
        self.block.read_msr(index)
    }

    fn write_msr(&mut self, index: u32, value: u64) -> Option<bool> {
        self.block.write_msr(index, value)
    }

    fn set_xcr(&mut self, index: u32, value: u64) -> bool {
        let good = index == 0 && guest::xstate::is_valid_xcr0(value, 7);
        self.xcr0 = if good { value } else { self.xcr0 };
        good
    }

    fn host_cpuid(_leaf: u32, _subleaf: u32) -> [u32; 4] {
        [0; 4]
    }

    fn osxsave(&self) -> bool {
        false
    }
}

/// Whether a VP's guest has interrupts on; turns them on or off.
impl HostVcpu {
    /// Real mode or protected mode, at a privilege level.
    pub fn set_mode(&mut self, real: bool, cpl: u8) {
        self.block.save.cr0 = self.block.save.cr0 & !1 | u64::from(!real);
        self.block.save.cpl = cpl;
    }

    /// Turns the guest's interrupts on or off.
    pub fn set_interrupts(&mut self, on: bool) {
        let flags = &mut self.block.save.rflags;
        *flags = if on {
            *flags | RFLAGS_IF
        } else {
            *flags & !RFLAGS_IF
        };
    }
}
