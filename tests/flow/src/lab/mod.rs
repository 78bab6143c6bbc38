//! The whole kernel on modelled hardware: a machine whose guests follow a script, one act after the other.
//!
//! Everything below the kernel's seams is real or modelled from other sources: translation tables are walked by a walker of
//! this folder's, what a processor may cache is cached until somebody flushes it, DMA goes through the modelled units. There
//! is one lab per thread, because the kernel's machine has no pointer to hold.

mod bytes;
mod caller;
mod machine;
mod serving;
mod slat;
mod state;
mod vcpu;

pub use bytes::{get, put};
pub use caller::*;
pub use machine::HostMachine;
pub use slat::walk;
pub use state::{Act, Touched};
pub use vcpu::HostVcpu;

use std::rc::Rc;

use abi::vp::{Context, Segment};
use address::{ApicId, LpIndex, PartitionId, Spa};
use device::Capacities;
use kernel::memory::Frames;
use kernel::pci::Pci;
use kernel::vp::VpSlot;
use kernel::{Boot, Kernel};
use model::{Bus, Config, Memory, Ticks};
use paging::{Access, Rights};
use topology::guard::Window;
use topology::{Bar, BarKind, Topology};

use crate::{A, ConfigSeam, Traits, VtdArm, World};

/// LPs of the machine; those of the [`World`] are more.
pub const LPS: u16 = 2;
/// First page that the hypervisor does not keep.
pub const FIRST_ROOT_PAGE: u64 = 0x2000;
/// First page past RAM.
pub const END_OF_RAM: u64 = 0x4000;
/// Frames for the root's tables.
pub const RESERVE: u64 = 64;
/// First page of device [`A`]'s only BAR.
pub const BAR_PAGE: u64 = 0xe_0000;
/// Pages of that BAR.
pub const BAR_PAGES: u64 = 8;

/// The machine with the kernel on it.
pub struct Lab {
    /// The kernel.
    pub kernel: Rc<Kernel<HostMachine>>,
    /// Physical memory.
    pub memory: Rc<Memory>,
    /// The units' time.
    pub clock: Rc<Ticks>,
    /// Configuration space.
    pub config: Rc<Config>,
    /// The units.
    pub units: [Rc<model::vtd::Vtd>; 2],
    /// The way of devices to memory.
    pub bus: Rc<Bus<model::vtd::Vtd>>,
}

impl Default for Lab {
    fn default() -> Self {
        Self::new()
    }
}

impl Lab {
    /// A machine whose root partition runs.
    #[must_use]
    pub fn new() -> Self {
        Self::with(Capacities::default(), RESERVE, 64)
    }

    /// A machine with these limits: of the device nouns, of the hypervisor's reserve, of TLB tags.
    #[must_use]
    pub fn with(capacities: Capacities, reserve: u64, tags: u32) -> Self {
        let limits = (reserve, tags);
        Self::made(
            crate::topology(),
            Traits::default(),
            capacities,
            limits,
            false,
        )
    }

    /// A machine whose units post, and whose processors take what was posted; `posts`: the hypervisor has them do so.
    #[must_use]
    pub fn posting(posts: bool) -> Self {
        let traits = Traits {
            posts: true,
            ..Traits::default()
        };
        Self::made(
            crate::topology(),
            traits,
            Capacities::default(),
            (RESERVE, 64),
            posts,
        )
    }

    /// A machine with these functions.
    #[must_use]
    pub fn of(topology: Topology) -> Self {
        let limits = (RESERVE, 64);
        Self::made(
            topology,
            Traits::default(),
            Capacities::default(),
            limits,
            false,
        )
    }

    fn made(
        topology: Topology,
        traits: Traits,
        capacities: Capacities,
        (reserve, tags): (u64, u32),
        posts: bool,
    ) -> Self {
        let World {
            memory,
            clock,
            config,
            units,
            bus,
            devices,
            ..
        } = World::<VtdArm>::of(&topology, traits, traits, capacities, 128);
        let bus = Rc::new(bus);
        state::begin(&memory, &bus, tags, traits.posts);
        let mut frames = Frames::new(&[(0, END_OF_RAM)]);
        frames.keep(0, FIRST_ROOT_PAGE);
        let kernel = Kernel::new(Boot {
            machine: HostMachine,
            lps: &[ApicId(0x1000), ApicId(0x1001)],
            frames,
            pci: pci(topology, &config),
            devices,
            posts,
            root_map: &root_map(),
            reserve: &[(spa(0x1000), reserve)],
        })
        .expect("the root partition fits");
        let kernel = Rc::new(kernel);
        state::install(&kernel);
        for lp in 0..LPS {
            kernel.make_root_vp(LpIndex(lp)).expect("a root VP");
        }
        kernel.start_root(&context(), 0).expect("a sound state");
        let lab = Self {
            kernel,
            memory,
            clock,
            config,
            units,
            bus,
        };
        for lp in 1..LPS {
            lab.go(VpSlot(lp));
        }
        lab
    }

    /// Puts a VP into 64-bit mode, running.
    pub fn go(&self, slot: VpSlot) {
        self.with_vp(slot, |vp| {
            vp.vcpu.go(&context());
            vp.activity = kernel::vp::Activity::Running;
            vp.explicit_suspend = false;
            vp.intercept_suspend = false;
        });
        self.kernel.wake(slot);
    }

    /// A device sends a message; the LP that is told takes the vector when it opens its interrupts.
    ///
    /// # Errors
    /// Why it was refused.
    pub fn send(
        &self,
        device: address::DeviceId,
        (address, data): (u64, u32),
    ) -> Result<model::Delivered, model::Refused> {
        state::get().send(device, address, data)
    }

    /// Messages that passed so far.
    #[must_use]
    pub fn sent(&self) -> u32 {
        state::get().sent.get()
    }

    /// Times that an LP rested so far.
    #[must_use]
    pub fn rests(&self) -> u32 {
        state::get().rests.get()
    }

    /// From now on a device sends a message at the end of each turn of any VP.
    pub fn storm(&self, device: address::DeviceId, message: (u64, u32)) {
        state::get().storm.set(Some((device, message)));
    }

    /// What tells an LP that runs a VP of something posted is taken by another VP's guest there.
    pub fn lose_notification(&self, lp: u16) {
        state::get().lose_notification(usize::from(lp));
    }

    /// Looks at a VP.
    pub fn with_vp<T>(
        &self,
        slot: VpSlot,
        look: impl FnOnce(&mut kernel::vp::Vp<HostMachine>) -> T,
    ) -> T {
        let mut body = self.kernel.vp_cell(slot).body.lock();
        look(body.as_mut().expect("a VP"))
    }

    /// Slot of a partition's VP.
    #[must_use]
    pub fn slot(&self, partition: u64, vp: usize) -> VpSlot {
        let cell = self.kernel.partitions.get(PartitionId(partition));
        let slots = cell.expect("a partition").body.lock().vps;
        slots[vp].expect("a VP")
    }

    /// Adds to what a VP's guest will do.
    pub fn script(&self, slot: VpSlot, acts: &[Act]) {
        let key = self.with_vp(slot, |vp| vp.vcpu.key());
        state::script(key, acts);
    }

    /// One turn of an LP.
    pub fn turn(&self, lp: u16) {
        state::turn(LpIndex(lp));
    }

    /// What guests' accesses came to since the last time.
    #[must_use]
    pub fn touched(&self) -> Vec<Touched> {
        state::take_touched()
    }

    /// Flushes of tags so far.
    #[must_use]
    pub fn flushes(&self) -> u32 {
        state::get().flushes.get()
    }

    /// Kicks of LPs so far.
    #[must_use]
    pub fn kicks(&self) -> u32 {
        state::get().kicks.get()
    }

    /// Events that a VP's guest was given so far.
    #[must_use]
    pub fn delivered(&self, slot: VpSlot) -> Vec<u64> {
        self.with_vp(slot, |vp| vp.vcpu.delivered.clone())
    }

    /// Everything of the kernel's state that a refused call must not change, as text.
    #[must_use]
    pub fn snapshot(&self) -> String {
        snapshot::take(self)
    }
}

mod snapshot;

impl Drop for Lab {
    fn drop(&mut self) {
        state::end();
    }
}

/// The frame with this number.
#[must_use]
pub fn spa(page: u64) -> Spa {
    Spa::from_page(page).expect("a frame")
}

fn root_map() -> Vec<(Spa, u64, Access)> {
    let ram = END_OF_RAM - FIRST_ROOT_PAGE;
    vec![
        (spa(FIRST_ROOT_PAGE), ram, Access::ram(Rights::all())),
        (spa(BAR_PAGE), BAR_PAGES, Access::registers()),
    ]
}

fn pci(mut topology: Topology, config: &Rc<Config>) -> Pci<ConfigSeam> {
    for function in topology.functions.iter_mut().filter(|it| it.id == A) {
        function.bars[0] = Some(Bar {
            address: BAR_PAGE << 12,
            size: BAR_PAGES << 12,
            kind: BarKind::Memory {
                wide: false,
                prefetchable: false,
            },
        });
        function.msix = Some(topology::MsiX {
            offset: 0x60,
            vectors: 16,
            table_bar: 0,
            table_offset: 0x4000,
            pba_bar: 0,
            pba_offset: 0x5000,
        });
    }
    let window = Window {
        memory: true,
        first: BAR_PAGE << 12,
        last: ((BAR_PAGE + BAR_PAGES) << 12) - 1,
    };
    Pci::new(
        topology,
        vec![window],
        Vec::new(),
        ConfigSeam(config.clone()),
    )
}

/// 64-bit mode, flat, interrupts off.
fn context() -> Context {
    let segment = |selector, attributes| Segment {
        base: 0,
        limit: u32::MAX,
        selector,
        attributes,
    };
    let data = segment(16, 0xc093);
    Context {
        rip: 0x10_0000,
        rflags: 2,
        segments: [
            segment(8, 0xa09b),
            data,
            data,
            data,
            data,
            data,
            Segment {
                limit: 0x67,
                ..segment(24, 0x008b)
            },
            Segment {
                limit: 0,
                ..segment(0, 0x0082)
            },
        ],
        efer: 0xd00,
        cr0: 0x8001_0033,
        cr3: FIRST_ROOT_PAGE << 12,
        cr4: 0x620,
        pat: 0x0007_0406_0007_0406,
        ..Context::default()
    }
}
