//! Local APICs in memory on the whole kernel: captured instructions, commands to other VPs, and what is no MOV.

use abi::message::{MemoryIntercept, Message, kind};
use abi::vp::{Context, Segment};
use abi::{Call, Status};
use address::Gpa;
use flow::lab::{Act, Caller, Lab, RAM, get, put};
use guest::apic::LogicalName;
use guest::{Access, Exit, Gpr, MemoryAccess, Vcpu};
use kernel::vp::{Activity, VpSlot};
use zerocopy::FromBytes;

const PAGE: u64 = 0xfee0_0000;
/// mov eax, [ebx]
const LOAD: [u8; 2] = [0x8b, 0x03];
/// mov [ebx], eax
const STORE: [u8; 2] = [0x89, 0x03];

/// A partition with VPs 0 and 1 in 32-bit code without paging, both on LP 1.
fn pair(lab: &Lab) -> (u64, Caller, VpSlot) {
    let (id, first) = lab.guest(0x2100, 60, 1);
    lab.create_vp(id, 1, 1).good();
    let second = lab.slot(id, 1);
    for slot in [first.slot, second] {
        lab.go(slot);
        lab.with_vp(slot, |vp| {
            vp.vcpu.go(&flat());
            vp.vcpu.set_interrupts(true);
            vp.apic.write_memory(0xf0, 0x1ff, 0);
        });
    }
    (id, first, second)
}

fn flat() -> Context {
    let mut context = Context {
        rip: 0x1_0000,
        rflags: 2,
        cr0: 0x11,
        ..Context::default()
    };
    context.segments[0] = Segment {
        limit: u32::MAX,
        selector: 8,
        attributes: 0xc09b,
        ..Segment::default()
    };
    context
}

fn access(at: u64, access: Access) -> Act {
    Act::Exit(Exit::Memory(MemoryAccess {
        gpa: Gpa::new(PAGE + at),
        access,
        table_walk: false,
    }))
}

/// The guest stands at these bytes, and its access leaves it. Returns by how much the instruction pointer moved.
fn step(lab: &Lab, child: Caller, bytes: &[u8], act: Act) -> u64 {
    put(&lab.memory, child.spa.0, &[0x90; 16]);
    put(&lab.memory, child.spa.0, bytes);
    lab.with_vp(child.slot, |vp| vp.vcpu.go(&flat()));
    lab.script(child.slot, &[act]);
    (0..4).for_each(|_| lab.turn(child.lp));
    lab.with_vp(child.slot, |vp| vp.vcpu.rip()) - flat().rip
}

fn load(lab: &Lab, child: Caller, at: u64) -> u64 {
    lab.with_vp(child.slot, |vp| vp.vcpu.set_gpr(Gpr::Rax, u64::MAX));
    assert_eq!(step(lab, child, &LOAD, access(at, Access::Read)), 2);
    lab.with_vp(child.slot, |vp| vp.vcpu.gpr(Gpr::Rax))
}

fn store(lab: &Lab, child: Caller, at: u64, value: u64) {
    lab.with_vp(child.slot, |vp| vp.vcpu.set_gpr(Gpr::Rax, value));
    assert_eq!(step(lab, child, &STORE, access(at, Access::Write)), 2);
}

/// The message that waits for the root.
fn waits(lab: &Lab, slot: VpSlot) -> Option<Message> {
    lab.with_vp(slot, |vp| vp.message)
}

#[test]
fn registers_in_memory_are_read_and_written() {
    let lab = Lab::new();
    let (_, child, _) = pair(&lab);
    assert_eq!(load(&lab, child, 0x20), 0);
    assert_eq!(load(&lab, child, 0x30), 0x5_0014);
    store(&lab, child, 0x80, 0xffff_ff57);
    assert_eq!(load(&lab, child, 0x80), 0x57);
    assert_eq!(lab.with_vp(child.slot, |vp| vp.vcpu.task_priority()), 5);
    // mov dword ptr [ebx], 0x123
    let value = [0xc7, 0x03, 0x23, 0x01, 0, 0];
    assert_eq!(step(&lab, child, &value, access(0xf0, Access::Write)), 6);
    assert_eq!(load(&lab, child, 0xf0), 0x123);
}

#[test]
fn int_22_logical_and_physical_commands_reach_who_is_meant() {
    let lab = Lab::new();
    let (_, child, other) = pair(&lab);
    lab.with_vp(other, |vp| vp.apic.write_memory(0xd0, 2 << 24, 0));
    let mut reached = 0;
    let mut send = |high: u64, low, expected: bool| {
        store(&lab, child, 0x310, high << 24);
        store(&lab, child, 0x300, low);
        (0..4).for_each(|_| lab.turn(1));
        let delivered = lab.delivered(other).len();
        assert_eq!(
            delivered - reached,
            usize::from(expected),
            "{high:x} {low:x}"
        );
        reached = delivered;
        lab.with_vp(other, |vp| vp.apic.end_of_interrupt());
    };
    send(1, 0x4060, true);
    send(2, 0x4060, false);
    send(0xff, 0x4060, true);
    send(0, 0xc_4060, true);
    // The name that was written past the kernel is not known yet.
    send(2, 0x4860, false);
    let cell = lab.kernel.vp_cell(other);
    let name = LogicalName::Flat(2).to_bits();
    cell.logical_name
        .store(name, std::sync::atomic::Ordering::Relaxed);
    send(2, 0x4860, true);
    send(5, 0x4860, false);
    send(1, 0x4400, true);
}

#[test]
fn int_22_a_logical_name_is_known_to_senders_as_soon_as_it_is_written() {
    let lab = Lab::new();
    let (_, child, _) = pair(&lab);
    let name = |slot| {
        let bits = lab
            .kernel
            .vp_cell(slot)
            .logical_name
            .load(std::sync::atomic::Ordering::Relaxed);
        LogicalName::from_bits(bits)
    };
    assert_eq!(name(child.slot), LogicalName::Flat(0));
    store(&lab, child, 0xd0, 8 << 24);
    assert_eq!(name(child.slot), LogicalName::Flat(8));
    store(&lab, child, 0xe0, 0);
    assert_eq!(name(child.slot), LogicalName::Cluster(8));
    lab.write_msr(child, 0x1b, 0xfee0_0d00);
    assert_eq!(name(child.slot), LogicalName::FromId);
    assert_eq!(name(VpSlot(0)), LogicalName::FromId, "the root");
}

#[test]
fn cpu_11_init_and_a_start_up_ipi_by_memory_start_a_vp() {
    let lab = Lab::new();
    let (_, child, other) = pair(&lab);
    store(&lab, child, 0x310, 1 << 24);
    store(&lab, child, 0x300, 0xc500);
    (0..4).for_each(|_| lab.turn(1));
    let activity = || lab.with_vp(other, |vp| vp.activity);
    assert_eq!(activity(), Activity::WaitForStartup);
    store(&lab, child, 0x300, 0x8500);
    store(&lab, child, 0x300, 0x4607);
    (0..4).for_each(|_| lab.turn(1));
    assert_eq!(activity(), Activity::Running);
    assert_eq!(
        lab.with_vp(other, |vp| vp.vcpu.register(abi::register::CS).unwrap()
            as u64),
        0x7000
    );
}

/// The bytes that are there now say something else than what the access was: nothing happens, and the guest runs into them.
#[test]
fn cpu_12_an_instruction_that_was_rewritten_does_nothing() {
    let lab = Lab::new();
    let (_, child, _) = pair(&lab);
    lab.with_vp(child.slot, |vp| vp.vcpu.set_gpr(Gpr::Rax, 0x60));
    assert_eq!(step(&lab, child, &STORE, access(0x80, Access::Read)), 0);
    assert_eq!(step(&lab, child, &LOAD, access(0x80, Access::Write)), 0);
    let rax = lab.with_vp(child.slot, |vp| vp.vcpu.gpr(Gpr::Rax));
    assert_eq!((rax, load(&lab, child, 0x80)), (0x60, 0));
    assert_eq!(waits(&lab, child.slot), None);
    // The control: the same bytes with the access that they make.
    store(&lab, child, 0x80, 0x60);
    assert_eq!(load(&lab, child, 0x80), 0x60);
}

#[test]
fn cpu_13_what_is_no_mov_of_32_bits_is_for_the_root() {
    for (bytes, at) in [
        (&[0x09, 0x03][..], 0x80),
        (&[0x88, 0x03], 0x80),
        (&[0x66, 0x89, 0x03], 0x80),
        (&[0xff, 0x03], 0x80),
        (&[0x89, 0xc3], 0x80),
        (&[0x66; 15], 0x80),
        (&STORE, 0x1000),
    ] {
        let lab = Lab::new();
        let (_, child, _) = pair(&lab);
        assert_eq!(step(&lab, child, bytes, access(at, Access::Write)), 0);
        let message = waits(&lab, child.slot).expect("a message");
        assert_eq!(message.message_type, kind::UNMAPPED_GPA);
        let (said, _) = MemoryIntercept::read_from_prefix(&message.payload).expect("whole");
        assert_eq!(said.gpa, PAGE + at);
        assert!(said.instruction.starts_with(bytes), "{bytes:x?}");
        let after = lab.with_vp(child.slot, |vp| vp.apic.read_memory(0x80, 0, 0));
        assert_eq!(after, 0, "nothing has changed");
    }
}

#[test]
fn cpu_13_an_instruction_whose_end_is_gone_raises_its_own_page_fault() {
    let lab = Lab::new();
    let (id, child, _) = pair(&lab);
    // The last page below 4 MiB, mapped by a large page of the guest's; the directory's next entry is empty.
    lab.map(id, 0x3ff, &[0x2180], RAM).good();
    put(&lab.memory, child.spa.1, &0x83u32.to_le_bytes());
    put(&lab.memory, child.spa.1 + 4, &[0; 8]);
    let end = (0x2180 << 12) + 0xffd;
    let mut context = flat();
    (context.cr0, context.cr4, context.cr3) = (0x8000_0011, 0x10, child.gpa.1);
    context.rip = 0x3f_fffd;
    let run = |bytes: &[u8; 3]| {
        put(&lab.memory, end, bytes);
        lab.with_vp(child.slot, |vp| vp.vcpu.go(&context));
        lab.script(child.slot, &[access(0xf0, Access::Write)]);
        (0..4).for_each(|_| lab.turn(1));
        lab.with_vp(child.slot, |vp| vp.vcpu.rip())
    };
    // The control: an instruction that ends there.
    assert_eq!(run(&[0x3e, 0x89, 0x03]), 0x40_0000);
    assert_eq!(lab.delivered(child.slot), []);
    // mov [ebx + disp32], eax, and nothing of its displacement.
    assert_eq!(run(&[0x3e, 0x89, 0x83]), 0x3f_fffd);
    (0..2).for_each(|_| lab.turn(1));
    let fault = 0x10 << 32 | 1u64 << 31 | 1 << 11 | 3 << 8 | 14;
    assert_eq!(lab.delivered(child.slot), [fault]);
    let cr2 = lab.with_vp(child.slot, |vp| vp.vcpu.register(abi::register::CR2));
    assert_eq!(cr2, Some(0x40_0000));
    assert_eq!(waits(&lab, child.slot), None);
}

#[test]
fn mem_06_nothing_is_mapped_where_the_registers_are() {
    let lab = Lab::new();
    let (id, child, _) = pair(&lab);
    let map = |at, pages: &[u64]| lab.map(id, at, pages, RAM).status;
    assert_eq!(map(0xf_ee00, &[0x2190]), Status::INVALID_PARAMETER);
    let across = map(0xf_edff, &[0x2190, 0x2191]);
    assert_eq!(across, Status::INVALID_PARAMETER);
    let large = abi::memory::map_flags::LARGE_PAGE | RAM;
    assert_eq!(
        lab.map(id, 0xf_ee00, &[0x2200], large).status,
        Status::INVALID_PARAMETER
    );
    assert_eq!(map(0xf_edff, &[0x2190]), Status::SUCCESS);
    assert_eq!(map(0xf_ef00, &[0x2191]), Status::SUCCESS);
    // Nor does the hypercall page come there.
    lab.write_msr(child, abi::msr::GUEST_OS_ID, 1);
    lab.write_msr(child, abi::msr::HYPERCALL, PAGE | 1);
    assert_eq!(lab.read_msr(child, abi::msr::HYPERCALL), 0);
    lab.write_msr(child, abi::msr::HYPERCALL, 0x20_0001);
    assert_eq!(lab.read_msr(child, abi::msr::HYPERCALL), 0x20_0001);
}

/// Bytes that the processor captured count, whatever is in memory by now; too few of them do not.
#[test]
fn cpu_12_captured_bytes_are_the_instruction_where_they_are_enough() {
    let lab = Lab::new();
    let (_, child, _) = pair(&lab);
    let captured = |bytes: &[u8]| lab.with_vp(child.slot, |vp| vp.vcpu.captured = bytes.to_vec());
    lab.with_vp(child.slot, |vp| vp.vcpu.set_gpr(Gpr::Rax, 0x60));
    captured(&STORE[..1]);
    assert_eq!(step(&lab, child, &STORE, access(0x80, Access::Write)), 2);
    let mut whole = [0x90; 15];
    whole[..2].copy_from_slice(&LOAD);
    captured(&whole);
    assert_eq!(step(&lab, child, &STORE, access(0x80, Access::Read)), 2);
    assert_eq!(lab.with_vp(child.slot, |vp| vp.vcpu.gpr(Gpr::Rax)), 0x60);
}

/// In x2APIC mode, and with the APIC off, the page is as empty as any other.
#[test]
fn cpu_05_in_other_modes_the_page_is_empty() {
    for modes in [&[0xfee0_0d00u64][..], &[0xfee0_0100]] {
        let lab = Lab::new();
        let (_, child, _) = pair(&lab);
        modes
            .iter()
            .for_each(|&mode| lab.write_msr(child, 0x1b, mode));
        assert_eq!(step(&lab, child, &LOAD, access(0x30, Access::Read)), 0);
        let message = waits(&lab, child.slot).expect("a message");
        assert_eq!(message.message_type, kind::UNMAPPED_GPA);
    }
    // What the delivery of an event reaches, a fetch, and a walk of tables, is no instruction's access either.
    let lab = Lab::new();
    let (_, child, _) = pair(&lab);
    assert_eq!(step(&lab, child, &LOAD, access(0x30, Access::Execute)), 0);
    assert!(waits(&lab, child.slot).is_some());
    let mut bytes = [0; 2];
    get(&lab.memory, child.spa.0, &mut bytes);
    assert_eq!(bytes, LOAD);
}

/// A partition that was made without x2APIC mode has none, and CPUID says so; it also says when the local APIC is off.
#[test]
fn cpu_05_x2apic_mode_is_there_where_the_partition_has_it() {
    for (flags, has) in [(0, false), (abi::partition::flags::X2APIC_CAPABLE, true)] {
        let lab = Lab::new();
        let id = lab.create_with(flags);
        let pages: Vec<u64> = (0x2100..0x2140).collect();
        lab.deposit(id, &pages).good();
        lab.on(Call::InitializePartition, id).good();
        lab.create_vp(id, 0, 1).good();
        let slot = lab.slot(id, 0);
        lab.go(slot);
        let child = Caller {
            slot,
            ..lab.root_on(1)
        };
        let features = || {
            lab.with_vp(slot, |vp| vp.vcpu.set_gpr(Gpr::Rax, 1));
            lab.script(slot, &[Act::Exit(Exit::Cpuid)]);
            (0..3).for_each(|_| lab.turn(1));
            let bit =
                |register, bit: u32| lab.with_vp(slot, |vp| vp.vcpu.gpr(register)) >> bit & 1 != 0;
            (bit(Gpr::Rcx, 21), bit(Gpr::Rdx, 9))
        };
        assert_eq!(features(), (has, true));
        lab.write_msr(child, 0x1b, 0xfee0_0d00);
        assert_eq!(lab.delivered(slot).len(), usize::from(!has), "#GP");
        lab.write_msr(child, 0x1b, 0xfee0_0100);
        assert_eq!(features(), (has, false));
    }
}
