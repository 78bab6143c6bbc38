//! Hypercalls as guests make them: parameters in a page, registers, an exit, the result in RAX.

use abi::memory::{Deposit, Map, Withdraw, map_flags};
use abi::partition::{CreatePartition, Target, flags};
use abi::vp::{CreateVp, RegisterValue, Registers};
use abi::{Call, CallInput, CallResult, Status};
use guest::{Gpr, Vcpu};
use kernel::vp::VpSlot;
use zerocopy::{FromBytes, IntoBytes};

use super::{Act, FIRST_ROOT_PAGE, Lab, bytes};

/// Page of the root's parameters, and of its results.
pub const ROOT_PAGES: (u64, u64) = (FIRST_ROOT_PAGE + 0x10, FIRST_ROOT_PAGE + 0x11);
/// Guest page numbers of a child's parameters and results.
pub const CHILD_PAGES: (u64, u64) = (0x10, 0x11);
/// Turns that a call may take.
const PATIENCE: usize = 20_000;
/// What result pages hold before a call.
pub const PREFILL: u8 = 0xa5;
/// Reads, writes, executes.
pub const RAM: u32 = map_flags::READ | map_flags::WRITE | map_flags::KERNEL_EXECUTE;

/// A VP that calls.
#[derive(Clone, Copy, Debug)]
pub struct Caller {
    /// Its slot.
    pub slot: VpSlot,
    /// Its LP.
    pub lp: u16,
    /// Guest-physical addresses of parameters and results.
    pub gpa: (u64, u64),
    /// Where those lie.
    pub spa: (u64, u64),
}

/// What a call came to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Answer {
    /// Status.
    pub status: Status,
    /// Repetitions done.
    pub reps: u16,
    /// The result page.
    pub output: Vec<u8>,
}

impl Answer {
    /// The result as a structure.
    #[must_use]
    pub fn get<T: FromBytes>(&self) -> T {
        T::read_from_prefix(&self.output).expect("a result").0
    }

    /// Whether the call succeeded; a message where not.
    #[track_caller]
    pub fn good(self) -> Self {
        assert_eq!(self.status, Status::SUCCESS, "after {}", self.reps);
        self
    }
}

/// A header and a list, as they stand in memory.
#[must_use]
pub fn listed(header: &impl IntoBytesHere, list: &[u64]) -> Vec<u8> {
    let mut all = header.bytes().to_vec();
    all.extend(list.iter().flat_map(|word| word.to_le_bytes()));
    all
}

/// [`IntoBytes`] for structures of the interface.
pub trait IntoBytesHere {
    /// Its bytes.
    fn bytes(&self) -> &[u8];
}

impl<T: IntoBytes + zerocopy::Immutable> IntoBytesHere for T {
    fn bytes(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl Lab {
    /// The root's VP of an LP as a caller.
    #[must_use]
    pub fn root_on(&self, lp: u16) -> Caller {
        let move_on = |page: u64| (page + 2 * u64::from(lp)) << 12;
        let pages = (move_on(ROOT_PAGES.0), move_on(ROOT_PAGES.1));
        Caller {
            slot: VpSlot(lp),
            lp,
            gpa: pages,
            spa: pages,
        }
    }

    /// Makes a call with the control word's own code, whatever it is.
    pub fn raw(&self, caller: Caller, control: u64, input: &[u8]) -> Answer {
        bytes::put(&self.memory, caller.spa.0, input);
        bytes::put(&self.memory, caller.spa.1, &[PREFILL; 4096]);
        self.registers(caller, control, caller.gpa.0, caller.gpa.1);
        let mut output = vec![0; 4096];
        let result = self.perform(caller);
        bytes::get(&self.memory, caller.spa.1, &mut output);
        Answer {
            status: result.status(),
            reps: result.completed(),
            output,
        }
    }

    /// Sets what a hypercall takes from registers.
    pub fn registers(&self, caller: Caller, control: u64, input: u64, output: u64) {
        self.with_vp(caller.slot, |vp| {
            vp.vcpu.set_gpr(Gpr::Rcx, control);
            vp.vcpu.set_gpr(Gpr::Rdx, input);
            vp.vcpu.set_gpr(Gpr::R8, output);
        });
    }

    /// Executes the hypercall that the registers say, to its end.
    pub fn perform(&self, caller: Caller) -> CallResult {
        let rip = self.with_vp(caller.slot, |vp| vp.vcpu.rip());
        self.script(caller.slot, &[Act::Hypercall]);
        for _ in 0..PATIENCE {
            self.turn(caller.lp);
            let (now, rax) = self.with_vp(caller.slot, |vp| (vp.vcpu.rip(), vp.vcpu.gpr(Gpr::Rax)));
            if now != rip {
                return CallResult(rax);
            }
        }
        panic!("the call never ends");
    }

    /// Begins a call that takes a partition alone, and leaves it to the turns that follow.
    pub fn begin(&self, caller: Caller, call: Call, partition: u64) {
        bytes::put(&self.memory, caller.spa.0, Target { partition }.bytes());
        let control = CallInput::simple(call as u16).0;
        self.registers(caller, control, caller.gpa.0, caller.gpa.1);
        self.script(caller.slot, &[Act::Hypercall]);
    }

    /// A VP writes an MSR; how it ended is in its events.
    pub fn write_msr(&self, caller: Caller, msr: u32, value: u64) {
        self.with_vp(caller.slot, |vp| {
            vp.vcpu.set_gpr(Gpr::Rcx, msr.into());
            vp.vcpu.set_gpr(Gpr::Rax, value & 0xffff_ffff);
            vp.vcpu.set_gpr(Gpr::Rdx, value >> 32);
        });
        self.script(caller.slot, &[Act::Exit(guest::Exit::WriteMsr)]);
        for _ in 0..3 {
            self.turn(caller.lp);
        }
    }

    /// A VP reads an MSR.
    pub fn read_msr(&self, caller: Caller, msr: u32) -> u64 {
        self.with_vp(caller.slot, |vp| vp.vcpu.set_gpr(Gpr::Rcx, msr.into()));
        self.script(caller.slot, &[Act::Exit(guest::Exit::ReadMsr)]);
        for _ in 0..3 {
            self.turn(caller.lp);
        }
        self.with_vp(caller.slot, |vp| {
            vp.vcpu.gpr(Gpr::Rdx) << 32 | vp.vcpu.gpr(Gpr::Rax) & 0xffff_ffff
        })
    }

    /// A call of the root without repetitions.
    pub fn call(&self, call: Call, input: &impl IntoBytesHere) -> Answer {
        self.raw(
            self.root_on(0),
            CallInput::simple(call as u16).0,
            input.bytes(),
        )
    }

    /// A call of the root with repetitions.
    pub fn rep(&self, call: Call, header: &impl IntoBytesHere, list: &[u64], count: u16) -> Answer {
        let input = listed(header, list);
        self.raw(
            self.root_on(0),
            CallInput::rep(call as u16, count, 0).0,
            &input,
        )
    }

    /// Makes a partition.
    pub fn create(&self) -> u64 {
        self.create_with(flags::X2APIC_CAPABLE)
    }

    /// The same with these creation flags.
    pub fn create_with(&self, flags: u64) -> u64 {
        let input = CreatePartition {
            flags,
            ..CreatePartition::default()
        };
        let answer = self.call(Call::CreatePartition, &input);
        answer.good().get()
    }

    /// Calls that take a partition alone.
    pub fn on(&self, call: Call, partition: u64) -> Answer {
        self.call(call, &Target { partition })
    }

    /// Deposits pages.
    pub fn deposit(&self, partition: u64, pages: &[u64]) -> Answer {
        let header = Deposit { partition };
        self.rep(Call::DepositMemory, &header, pages, pages.len() as u16)
    }

    /// Withdraws this many pages.
    pub fn withdraw(&self, partition: u64, count: u16) -> Answer {
        let header = Withdraw {
            partition,
            proximity: 0,
        };
        self.rep(Call::WithdrawMemory, &header, &[], count)
    }

    /// Free frames and frames in use of a partition's deposits.
    #[must_use]
    pub fn balance(&self, partition: u64) -> (u64, u64) {
        let header = Withdraw {
            partition,
            proximity: 0,
        };
        let balance: abi::memory::Balance = self.call(Call::GetMemoryBalance, &header).good().get();
        (balance.available, balance.in_use)
    }

    /// Maps pages.
    pub fn map(&self, partition: u64, gpfn: u64, pages: &[u64], flags: u32) -> Answer {
        let header = Map {
            partition,
            gpfn,
            flags,
            reserved: 0,
        };
        self.rep(Call::MapGpaPages, &header, pages, pages.len() as u16)
    }

    /// Unmaps pages.
    pub fn unmap(&self, partition: u64, gpfn: u64, count: u16) -> Answer {
        let header = abi::memory::Unmap {
            partition,
            gpfn,
            ..Default::default()
        };
        self.rep(Call::UnmapGpaPages, &header, &[], count)
    }

    /// Makes a VP on an LP.
    pub fn create_vp(&self, partition: u64, vp: u32, lp: u16) -> Answer {
        self.create_vp_on(self.root_on(0), partition, vp, lp)
    }

    /// The same, by another VP of the root.
    pub fn create_vp_on(&self, caller: Caller, partition: u64, vp: u32, lp: u16) -> Answer {
        let input = CreateVp {
            partition,
            vp,
            flags: u64::from(lp),
            ..CreateVp::default()
        };
        let control = CallInput::simple(Call::CreateVp as u16).0;
        self.raw(caller, control, input.bytes())
    }

    /// Writes registers of a VP.
    pub fn set_registers(&self, partition: u64, vp: u32, values: &[(u32, u64)]) -> Answer {
        let header = Registers {
            partition,
            vp,
            ..Registers::default()
        };
        let list: Vec<u64> = values
            .iter()
            .flat_map(|&(name, value)| {
                let entry = RegisterValue {
                    name,
                    value: [value, 0],
                    ..RegisterValue::default()
                };
                <[u64; 4]>::read_from_bytes(entry.as_bytes()).expect("32 bytes")
            })
            .collect();
        self.rep(Call::SetVpRegisters, &header, &list, values.len() as u16)
    }

    /// A partition that is ready for memory and VPs, with deposits from these pages on.
    pub fn partition(&self, first: u64, deposits: u64) -> u64 {
        let id = self.create();
        let pages: Vec<u64> = (first..first + deposits).collect();
        self.deposit(id, &pages).good();
        self.on(Call::InitializePartition, id).good();
        id
    }

    /// A partition with a VP in 64-bit mode on an LP, and with pages for calls: its pages from `first` on are `deposits`
    /// frames of tables, then two of parameters.
    pub fn guest(&self, first: u64, deposits: u64, lp: u16) -> (u64, Caller) {
        let id = self.partition(first, deposits);
        let frames = (first + deposits, first + deposits + 1);
        self.map(id, CHILD_PAGES.0, &[frames.0, frames.1], RAM)
            .good();
        self.create_vp(id, 0, lp).good();
        let slot = self.slot(id, 0);
        self.go(slot);
        let caller = Caller {
            slot,
            lp,
            gpa: (CHILD_PAGES.0 << 12, CHILD_PAGES.1 << 12),
            spa: (frames.0 << 12, frames.1 << 12),
        };
        (id, caller)
    }

    /// Takes everything from a partition, and forgets it.
    #[track_caller]
    pub fn end(&self, partition: u64) {
        self.on(Call::FinalizePartition, partition).good();
        loop {
            let answer = self.withdraw(partition, 64);
            if answer.status == Status::NO_RESOURCES {
                break;
            }
            answer.good();
        }
        self.on(Call::DeletePartition, partition).good();
    }
}
