//! What the modelled processors share on one thread: time, timers, kicks, TLBs, scripts.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

use address::LpIndex;
use guest::tags::LastUsers;
use guest::{Access, Exit, MemoryAccess};
use kernel::Kernel;
use kernel::hypercall::Scratch;
use kernel::vp::VpSlot;
use model::Memory;

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
    pub(super) tags: u32,
    now: Cell<u64>,
    current: Cell<u16>,
    processors: Vec<Processor>,
    scripts: RefCell<HashMap<u64, VecDeque<Act>>>,
    touched: RefCell<Vec<Touched>>,
    kernel: RefCell<Option<Rc<Kernel<HostMachine>>>>,
    breaths: Cell<u32>,
    pub(super) kicks: Cell<u32>,
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

pub(super) fn begin(memory: &Rc<Memory>, tags: u32) {
    let processor = |_| Processor {
        deadline: Cell::new(u64::MAX),
        kicked: Cell::new(false),
        tlb: RefCell::default(),
        guest_physical: RefCell::default(),
        last: Cell::new(VpSlot(0)),
        users: LastUsers::default(),
        scratch: RefCell::new(Some(Box::default())),
    };
    let state = State {
        memory: memory.clone(),
        tags,
        now: Cell::new(1 << 32),
        current: Cell::new(0),
        processors: (0..LPS).map(processor).collect(),
        scripts: RefCell::default(),
        touched: RefCell::default(),
        kernel: RefCell::new(None),
        breaths: Cell::new(0),
        kicks: Cell::new(0),
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
                let word = lp.in_guest.load(std::sync::atomic::Ordering::SeqCst);
                lp.in_guest
                    .store(word & !0xff, std::sync::atomic::Ordering::SeqCst);
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
