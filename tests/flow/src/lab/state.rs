//! What the modelled processors share on one thread: time, timers, kicks, TLBs, scripts.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::rc::Rc;
use std::sync::atomic::Ordering;

use address::{DeviceId, LpIndex, Spa, Vector};
use guest::apic::Posted;
use guest::tags::LastUsers;
use guest::{Access, Exit, MemoryAccess};
use kernel::Kernel;
use kernel::hypercall::Scratch;
use kernel::vp::VpSlot;
use model::vtd::Vtd;
use model::{Bus, Delivered, Memory, Refused};

use super::serving::Serving;
use super::{HostMachine, LPS, walk};

/// What a guest does next.
#[derive(Clone, Copy, Debug)]
pub enum Act {
    /// Leaves for this reason.
    Exit(Exit),
    /// Executes a hypercall until it is done: that is, until the instruction pointer has moved.
    Hypercall,
    /// Touches memory: a translation is taken from the TLB where it is there.
    Touch {
        /// Guest-physical address.
        gpa: u64,
        /// It writes.
        write: bool,
    },
    /// The same through the guest's own page tables, by which a linear address means this guest-physical one.
    TouchLinear {
        /// Linear address.
        linear: u64,
        /// Guest-physical address.
        gpa: u64,
    },
    /// Meanwhile another LP has a turn.
    Turn(u16),
    /// A device interrupt arrives at this LP.
    Interrupt(u8),
    /// A device sends a message: address and data.
    Message(DeviceId, u64, u32),
    /// Leaves for this reason; the message comes before the hypervisor has done anything about it.
    Leave(DeviceId, (u64, u32), Exit),
    /// Time passes, in ticks; the timer fires where it is due.
    Pass(u64),
}

/// What an access came to: the address that it reached, or none.
pub type Touched = Option<u64>;

/// A TLB entry's key: tag, linear page, write.
type Tagged = (u16, u64, bool);
/// The same of guest-physical translations: root of the SLAT, guest-physical page, write.
type Rooted = (u64, u64, bool);

struct Processor {
    deadline: Cell<u64>,
    kicked: Cell<bool>,
    /// Vectors that its local APIC has, and that it has not taken.
    pending: RefCell<BTreeSet<u8>>,
    tlb: RefCell<HashMap<Tagged, u64>>,
    /// What it remembers of the SLAT alone, by the table's root: forgetting a tag does not touch it.
    guest_physical: RefCell<HashMap<Rooted, u64>>,
    last: Cell<VpSlot>,
    users: LastUsers,
    scratch: RefCell<Option<Box<Scratch>>>,
}

/// State of one lab.
pub(super) struct State {
    pub(super) memory: Rc<Memory>,
    bus: Rc<Bus<Vtd>>,
    pub(super) tags: u32,
    /// Processors take posted interrupts.
    pub(super) posts: bool,
    now: Cell<u64>,
    current: Cell<u16>,
    processors: Vec<Processor>,
    scripts: RefCell<HashMap<u64, VecDeque<Act>>>,
    touched: RefCell<Vec<Touched>>,
    kernel: RefCell<Option<Rc<Kernel<HostMachine>>>>,
    breaths: Cell<u32>,
    pub(super) kicks: Cell<u32>,
    pub(super) sent: Cell<u32>,
    pub(super) rests: Cell<u32>,
    /// The message that a device sends whenever the hypervisor has done something.
    pub(super) storm: Cell<Option<(DeviceId, (u64, u32))>>,
    pub(super) flushes: Cell<u32>,
}

thread_local! {
    static STATE: RefCell<Option<Rc<State>>> = const { RefCell::new(None) };
}

pub(super) fn get() -> Rc<State> {
    STATE
        .with(|state| state.borrow().clone())
        .expect("a lab on this thread")
}

/// Vector by which a processor takes what was posted to its guest.
pub(super) const NOTIFY: Vector = Vector(0xf3);
/// Vector that tells of what was posted to somebody else.
pub(super) const POSTED: Vector = Vector(0xf4);
/// First page of descriptors, as hardware finds them: one a page.
const DESCRIPTORS: u64 = 0x20_0000;

/// Where hardware finds the descriptor of a VP.
pub(super) fn descriptor(slot: VpSlot) -> Spa {
    Spa::from_page(DESCRIPTORS + u64::from(slot.0)).expect("a page")
}

/// Lets hardware change a line that is a VP's descriptor.
fn change_descriptor(at: u64, change: &mut dyn FnMut(&mut [u64; 8])) -> bool {
    let slot = (at >> 12).checked_sub(DESCRIPTORS);
    let Some(slot) = slot.filter(|&slot| slot < kernel::MAX_VPS as u64) else {
        return false;
    };
    assert_eq!(at & 0xfff, 0, "no descriptor lies there");
    let kernel = get().kernel();
    let words = kernel.vp_cell(VpSlot(slot as u16)).inbox.posted().words();
    let mut line = words.each_ref().map(|word| word.load(Ordering::SeqCst));
    change(&mut line);
    for (word, value) in words.iter().zip(line) {
        word.store(value, Ordering::SeqCst);
    }
    true
}

pub(super) fn begin(memory: &Rc<Memory>, bus: &Rc<Bus<Vtd>>, tags: u32, posts: bool) {
    memory.add(change_descriptor);
    let processor = |_| Processor {
        deadline: Cell::new(u64::MAX),
        kicked: Cell::new(false),
        pending: RefCell::default(),
        tlb: RefCell::default(),
        guest_physical: RefCell::default(),
        last: Cell::new(VpSlot(0)),
        users: LastUsers::default(),
        scratch: RefCell::new(Some(Box::default())),
    };
    let state = State {
        memory: memory.clone(),
        bus: bus.clone(),
        tags,
        posts,
        now: Cell::new(1 << 32),
        current: Cell::new(0),
        processors: (0..LPS).map(processor).collect(),
        scripts: RefCell::default(),
        touched: RefCell::default(),
        kernel: RefCell::new(None),
        breaths: Cell::new(0),
        kicks: Cell::new(0),
        sent: Cell::new(0),
        rests: Cell::new(0),
        storm: Cell::new(None),
        flushes: Cell::new(0),
    };
    STATE.with(|it| *it.borrow_mut() = Some(Rc::new(state)));
}

pub(super) fn install(kernel: &Rc<Kernel<HostMachine>>) {
    *get().kernel.borrow_mut() = Some(kernel.clone());
}

pub(super) fn end() {
    let state = STATE.with(|it| it.borrow_mut().take());
    if let Some(state) = state {
        *state.kernel.borrow_mut() = None;
    }
}

pub(super) fn script(key: u64, acts: &[Act]) {
    let state = get();
    let mut scripts = state.scripts.borrow_mut();
    scripts.entry(key).or_default().extend(acts);
}

pub(super) fn take_touched() -> Vec<Touched> {
    std::mem::take(&mut *get().touched.borrow_mut())
}

/// One turn of an LP, perhaps while another one is in a guest.
pub(super) fn turn(lp: LpIndex) {
    let state = get();
    let before = state.current.replace(lp.0);
    let processor = &state.processors[usize::from(lp.0)];
    let mut scratch = processor
        .scratch
        .borrow_mut()
        .take()
        .expect("an LP has one turn at a time");
    let mut last = processor.last.get();
    state.kernel().turn(lp, &mut last, &mut scratch);
    processor.last.set(last);
    *processor.scratch.borrow_mut() = Some(scratch);
    state.current.set(before);
}

impl State {
    pub(super) fn kernel(&self) -> Rc<Kernel<HostMachine>> {
        self.kernel.borrow().clone().expect("a kernel")
    }

    fn here(&self) -> &Processor {
        &self.processors[usize::from(self.current.get())]
    }

    pub(super) fn lp(&self) -> LpIndex {
        LpIndex(self.current.get())
    }

    /// Time; each look takes a tick.
    pub(super) fn now(&self) -> u64 {
        self.now.set(self.now.get() + 1);
        self.now.get()
    }

    pub(super) fn arm(&self, deadline: u64) {
        self.here().deadline.set(deadline);
    }

    pub(super) fn kick(&self, lp: LpIndex) {
        self.kicks.set(self.kicks.get() + 1);
        self.processors[usize::from(lp.0)].kicked.set(true);
    }

    /// The slot whose descriptor this is.
    pub(super) fn slot_of(&self, posted: &Posted) -> Option<VpSlot> {
        let kernel = self.kernel();
        let mut cells = kernel.vps.iter();
        let slot = cells.position(|cell| std::ptr::eq(cell.inbox.posted(), posted));
        slot.map(|slot| VpSlot(slot as u16))
    }

    pub(super) fn notify(&self, lp: LpIndex) {
        if self.posts {
            self.pend(usize::from(lp.0), NOTIFY.0);
        } else {
            self.kick(lp);
        }
    }

    fn pend(&self, lp: usize, vector: u8) {
        self.processors[lp].pending.borrow_mut().insert(vector);
    }

    /// The hypervisor has done something.
    pub(super) fn storm(&self) {
        if let Some((device, (address, data))) = self.storm.get() {
            let _ = self.send(device, address, data);
        }
    }

    /// Some guest of this LP's takes the notification of another's, and there is nothing behind it.
    pub(super) fn lose_notification(&self, lp: usize) {
        self.processors[lp].pending.borrow_mut().remove(&NOTIFY.0);
    }

    /// A device sends a message, and the LP that the unit tells of it has a vector more.
    pub(super) fn send(
        &self,
        device: DeviceId,
        address: u64,
        data: u32,
    ) -> Result<Delivered, Refused> {
        let sent = self.bus.interrupt(device, address, data)?;
        self.sent.set(self.sent.get() + 1);
        if sent.told {
            self.pend(sent.apic as usize - 0x1000, sent.vector);
        }
        Ok(sent)
    }

    /// The LP takes its highest vector, in the guest of a VP or (`None`) at rest; whether the hypervisor has it now. A guest
    /// that takes posted interrupts keeps the vector that tells of them (Intel SDM volume 3, "Posted-interrupt processing").
    pub(super) fn take_interrupt(&self, guest: Option<(VpSlot, &mut Serving)>) -> bool {
        let Some(vector) = self.here().pending.borrow_mut().pop_last() else {
            return false;
        };
        let kernel = self.kernel();
        match guest {
            Some((slot, serving)) if vector == NOTIFY.0 && self.posts && serving.on => {
                let words = kernel.vp_cell(slot).inbox.posted().words();
                words[4].fetch_and(!1, Ordering::SeqCst);
                for (first, word) in (0..).step_by(64).zip(&words[..4]) {
                    serving.request(first, word.swap(0, Ordering::SeqCst));
                }
                return false;
            }
            _ if vector == NOTIFY.0 || vector == POSTED.0 => kernel.on_posted(self.lp()),
            _ => {
                kernel.on_device_interrupt(self.lp(), vector);
            }
        }
        true
    }

    /// Somebody waits for other LPs: those that were kicked leave their guests now.
    pub(super) fn relax(&self) {
        self.breaths.set(self.breaths.get() + 1);
        assert!(
            self.breaths.get() < 1000,
            "an LP waits for one that nobody kicked"
        );
        let kernel = self.kernel();
        for (processor, lp) in self.processors.iter().zip(&kernel.lps) {
            if processor.kicked.get() {
                let word = lp.in_guest.load(Ordering::SeqCst);
                lp.in_guest.store(word & !0xff, Ordering::SeqCst);
                self.breaths.set(0);
            }
        }
    }

    /// Time stands until the timer fires.
    pub(super) fn wait_for_timer(&self) {
        let deadline = self.here().deadline.get();
        if deadline != u64::MAX {
            self.now.set(self.now.get().max(deadline));
        }
        self.fire_timer();
    }

    /// The timer of this LP fires where it is due.
    fn fire_timer(&self) -> bool {
        let due = self.here().deadline.get() <= self.now.get();
        if due {
            self.here().deadline.set(u64::MAX);
            self.kernel().on_timer(self.lp());
        }
        due
    }

    /// A VP begins a turn: what an LP does with its tag's translations.
    pub(super) fn begin(&self, tag: u16, vp: u64, new: bool) {
        if self.here().users.begin(tag, address::Spa::new(vp), new) {
            self.forget_tag(tag);
        }
    }

    /// Everything that comes from a SLAT goes.
    pub(super) fn flush(&self, tag: u16, root: u64) {
        self.forget_tag(tag);
        let mut known = self.here().guest_physical.borrow_mut();
        known.retain(|&(of, _, _), _| of != root);
    }

    fn forget_tag(&self, tag: u16) {
        self.flushes.set(self.flushes.get() + 1);
        let mut tlb = self.here().tlb.borrow_mut();
        tlb.retain(|&(of, _, _), _| of != tag);
    }

    /// Whether somebody wants this LP to leave its guest.
    pub(super) fn take_kick(&self) -> bool {
        self.here().kicked.replace(false)
    }

    pub(super) fn next_act(&self, key: u64) -> Option<Act> {
        let scripts = self.scripts.borrow();
        scripts.get(&key)?.front().copied()
    }

    pub(super) fn done(&self, key: u64) {
        if let Some(script) = self.scripts.borrow_mut().get_mut(&key) {
            script.pop_front();
        }
    }

    /// Does what needs no exit; `Some` where the guest leaves.
    pub(super) fn perform(&self, act: Act, tag: u16, root: u64) -> Option<Exit> {
        match act {
            Act::Exit(exit) => Some(exit),
            Act::Hypercall => Some(Exit::Hypercall),
            Act::Touch { gpa, write } => self.touch((gpa, gpa), write, tag, root),
            Act::TouchLinear { linear, gpa } => self.touch((linear, gpa), true, tag, root),
            Act::Turn(lp) => {
                turn(LpIndex(lp));
                None
            }
            Act::Interrupt(vector) => {
                self.kernel().on_device_interrupt(self.lp(), vector);
                Some(Exit::Host)
            }
            Act::Message(device, address, data) => {
                // One that is refused goes nowhere.
                let _ = self.send(device, address, data);
                None
            }
            Act::Leave(device, (address, data), exit) => {
                let _ = self.send(device, address, data);
                Some(exit)
            }
            Act::Pass(ticks) => {
                self.now.set(self.now.get() + ticks);
                self.fire_timer().then_some(Exit::Host)
            }
        }
    }

    fn touch(&self, (linear, gpa): (u64, u64), write: bool, tag: u16, root: u64) -> Option<Exit> {
        let entry = (tag, linear >> 12, write);
        let cached = self.here().tlb.borrow().get(&entry).copied();
        let rooted = (root, gpa >> 12, write);
        let known = || self.here().guest_physical.borrow().get(&rooted).copied();
        let walked = || walk(&self.memory, root, gpa & !0xfff, write);
        let found = cached.or_else(known).or_else(walked);
        self.touched
            .borrow_mut()
            .push(found.map(|page| page | gpa & 0xfff));
        let Some(found) = found else {
            return Some(Exit::Memory(MemoryAccess {
                gpa: address::Gpa::new(gpa),
                access: if write { Access::Write } else { Access::Read },
                table_walk: false,
            }));
        };
        self.here().tlb.borrow_mut().insert(entry, found);
        self.here()
            .guest_physical
            .borrow_mut()
            .insert(rooted, found);
        None
    }
}

/// A VP is made from frames of an older one: it follows no old script.
pub(super) fn forget(key: u64) {
    get().scripts.borrow_mut().remove(&key);
}
