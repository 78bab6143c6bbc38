//! The way of a hypercall: who may call, which control words and pages are taken, and that a refusal changes nothing.

use abi::partition::privilege;
use abi::{Call, CallInput, Status};
use address::PartitionId;
use flow::lab::*;
use guest::{Exit, Gpr, Vcpu};
use proptest::prelude::*;
use std::sync::atomic::Ordering;

/// Calls that a partition may make about itself whatever its rights.
const OWN: [Call; 1] = [Call::RetargetDeviceInterrupt];

fn control(call: Call) -> u64 {
    match call.signature().form {
        abi::call::Form::Rep { .. } => CallInput::rep(call as u16, 1, 0).0,
        _ => CallInput::simple(call as u16).0,
    }
}

fn set_privileges(lab: &Lab, partition: u64, mask: u64) {
    let cell = lab
        .kernel
        .partitions
        .get(PartitionId(partition))
        .expect("a partition");
    cell.privileges.store(mask, Ordering::Relaxed);
}

/// HC-16: every call of a child about the root, another child, and the device nouns.
#[test]
fn hc_16_a_child_is_refused_every_call_that_manages() {
    let lab = Lab::new();
    let (id, child) = lab.guest(0x2100, 40, 0);
    let (other, _) = lab.guest(0x2180, 40, 0);
    for &call in Call::ALL {
        for target in [1, id, other, u64::MAX] {
            let mut input = vec![0u8; 4096];
            input[..8].copy_from_slice(&target.to_le_bytes());
            let before = lab.snapshot();
            let answer = lab.raw(child, control(call), &input);
            assert_eq!(lab.snapshot(), before, "{call:?} of {target}");
            let own_counters = call == Call::VendorCounters && [id, u64::MAX].contains(&target);
            if own_counters {
                assert_eq!(answer.status, Status::SUCCESS);
                continue;
            }
            let refused = [
                Status::ACCESS_DENIED,
                Status::INVALID_HYPERCALL_CODE,
                Status::INVALID_PARAMETER,
            ];
            let own = OWN.contains(&call) && [id, u64::MAX].contains(&target);
            assert!(
                own || refused.contains(&answer.status),
                "{call:?} of {target}: {:?}",
                answer.status
            );
            assert_ne!(answer.status, Status::SUCCESS, "{call:?}");
        }
    }
}

/// Which right each call needs.
const RIGHTS: [(u64, &[Call]); 6] = [
    (
        privilege::CREATE_PARTITIONS,
        &[
            Call::CreatePartition,
            Call::InitializePartition,
            Call::FinalizePartition,
            Call::DeletePartition,
            Call::GetPartitionProperty,
            Call::SetPartitionProperty,
            Call::GetNextChildPartition,
            Call::MapGpaPages,
            Call::UnmapGpaPages,
            Call::CreateVp,
            Call::DeleteVp,
            Call::GetVpRegisters,
            Call::SetVpRegisters,
            Call::TranslateVirtualAddress,
            Call::AssertVirtualInterrupt,
        ],
    ),
    (privilege::ACCESS_PARTITION_ID, &[Call::GetPartitionId]),
    (
        privilege::ACCESS_MEMORY_POOL,
        &[
            Call::DepositMemory,
            Call::WithdrawMemory,
            Call::GetMemoryBalance,
        ],
    ),
    (privilege::ACCESS_STATS, &[Call::VendorCounters]),
    (
        privilege::START_VIRTUAL_PROCESSOR,
        &[Call::StartVirtualProcessor],
    ),
    (
        privilege::CPU_MANAGEMENT,
        &[
            Call::MapDeviceInterrupt,
            Call::UnmapDeviceInterrupt,
            Call::RetargetDeviceInterrupt,
            Call::AttachDevice,
            Call::DetachDevice,
            Call::CreateDeviceDomain,
            Call::AttachDeviceDomain,
            Call::MapDeviceGpaPages,
            Call::UnmapDeviceGpaPages,
            Call::DetachDeviceDomain,
            Call::DeleteDeviceDomain,
            Call::QueryDeviceDomain,
            Call::FlushDeviceDomain,
            Call::VendorReadLog,
            Call::VendorSystemInfo,
            Call::VendorWriteConfig,
            Call::VendorDeclareReset,
            Call::VendorDeviceInfo,
            Call::VendorIommuInfo,
            Call::VendorTakeFault,
            Call::VendorPower,
            Call::VendorDomainInfo,
            Call::VendorInterruptInfo,
            Call::VendorWhyNot,
        ],
    ),
];

/// HC-16: the root without one right at a time, and the control that with it the same call is not denied.
#[test]
fn hc_16_each_right_is_needed_singly() {
    let lab = Lab::new();
    let (id, _) = lab.guest(0x2100, 40, 0);
    let mut input = vec![0u8; 4096];
    input[..8].copy_from_slice(&id.to_le_bytes());
    for (bit, calls) in RIGHTS {
        for &call in calls {
            set_privileges(&lab, 1, privilege::ROOT & !bit);
            let before = lab.snapshot();
            let answer = lab.raw(lab.root_on(0), control(call), &input);
            assert_eq!(lab.snapshot(), before, "{call:?}");
            assert_eq!(answer.status, Status::ACCESS_DENIED, "{call:?}");
            // With that right alone it is decided by something else.
            let harmless = !matches!(
                call,
                Call::CreatePartition | Call::FinalizePartition | Call::InitializePartition
            );
            set_privileges(&lab, 1, bit | privilege::CPU_MANAGEMENT);
            if harmless {
                let answer = lab.raw(lab.root_on(0), control(call), &input);
                assert_ne!(answer.status, Status::ACCESS_DENIED, "{call:?}");
            }
            set_privileges(&lab, 1, privilege::ROOT);
        }
    }
}

/// HC-03, HC-04: addresses of the parameter pages.
#[test]
fn hc_03_bad_parameter_pages_are_refused_before_anything_is_done() {
    let lab = Lab::new();
    let (id, child) = lab.guest(0x2100, 40, 0);
    lab.map(id, 0x20, &[0x2300], abi::memory::map_flags::READ)
        .good();
    let call = CallInput::simple(Call::VendorCounters as u16).0;
    let input = abi::vendor::CountersOf {
        partition: id,
        lp: 0,
    };
    let good = child.gpa;
    let refused = [
        (good.0 + 1, good.1, Status::INVALID_ALIGNMENT),
        (good.0, good.1 + 4, Status::INVALID_ALIGNMENT),
        (good.0 + 0xff8, good.1, Status::INVALID_ALIGNMENT),
        (good.0, good.1 + 0xff8, Status::INVALID_ALIGNMENT),
        (0x50_0000, good.1, Status::INVALID_PARAMETER),
        (good.0, 0x50_0000, Status::INVALID_PARAMETER),
        (good.0, 0x2_0000, Status::INVALID_PARAMETER),
        (good.0, 0xfee0_0000, Status::INVALID_PARAMETER),
        (1 << 52, good.1, Status::INVALID_PARAMETER),
        (good.0, 1 << 52, Status::INVALID_PARAMETER),
        (!7, good.1, Status::INVALID_ALIGNMENT),
        (!0xfff, good.1, Status::INVALID_PARAMETER),
        (good.0, !0xfff, Status::INVALID_PARAMETER),
        (good.0, good.0, Status::INVALID_ALIGNMENT),
        (good.0, good.0 + 8, Status::INVALID_ALIGNMENT),
    ];
    for (from, to, status) in refused {
        put(&lab.memory, child.spa.0, input.bytes());
        put(&lab.memory, child.spa.1, &[PREFILL; 4096]);
        let before = lab.snapshot();
        lab.registers(child, call, from, to);
        assert_eq!(lab.perform(child).status(), status, "{from:#x} {to:#x}");
        assert_eq!(lab.snapshot(), before);
        let mut output = [0; 4096];
        get(&lab.memory, child.spa.1, &mut output);
        assert_eq!(output, [PREFILL; 4096]);
    }
    assert_eq!(lab.raw(child, call, input.bytes()).status, Status::SUCCESS);
}

/// HC-03: a result at the very end of the address space, of a call without parameters.
#[test]
fn hc_03_the_last_address_is_an_error_and_nothing_worse() {
    let lab = Lab::new();
    let root = lab.root_on(0);
    let call = CallInput::simple(Call::GetPartitionId as u16).0;
    lab.registers(root, call, u64::MAX, !7);
    assert_eq!(lab.perform(root).status(), Status::INVALID_PARAMETER);
    // What a call without parameters has in the register for them does not count.
    lab.registers(root, call, root.gpa.1 + 4, root.gpa.1);
    assert_eq!(lab.perform(root).status(), Status::SUCCESS);
}

/// HC-24: a call writes its result and not a byte more, and a refused one nothing.
#[test]
fn hc_24_only_results_are_written() {
    let lab = Lab::new();
    let (id, _) = lab.guest(0x2100, 40, 0);
    // What another partition's call has left in the hypervisor's own copy is of no use to the next one.
    lab.call(Call::VendorSystemInfo, &abi::vendor::Index { index: 0 })
        .good();
    for &call in Call::ALL {
        if matches!(call, Call::CreatePartition | Call::FinalizePartition) {
            continue;
        }
        let mut input = vec![0u8; 4096];
        input[..8].copy_from_slice(&id.to_le_bytes());
        let answer = lab.raw(lab.root_on(0), control(call), &input);
        let size = match call.signature().form {
            abi::call::Form::Rep { element_out, .. } => usize::from(answer.reps * element_out),
            _ if answer.status == Status::SUCCESS => usize::from(call.signature().output),
            _ => 0,
        };
        assert!(
            answer.output[size..].iter().all(|&byte| byte == PREFILL),
            "{call:?}"
        );
        let written = answer.output[..size]
            .chunks(8)
            .all(|word| word != [PREFILL; 8]);
        assert!(written, "{call:?} leaves parts of its result as they were");
    }
}

/// HC-07: a guest changes the repetition start between the parts of a call.
#[test]
fn hc_07_a_continued_call_is_checked_anew() {
    for (start, status) in [
        (0, Status::SUCCESS),
        (100, Status::SUCCESS),
        (200, Status::INVALID_HYPERCALL_INPUT),
        (4095, Status::INVALID_HYPERCALL_INPUT),
    ] {
        let lab = Lab::new();
        let id = lab.create();
        let pages: Vec<u64> = (0x2200..0x2300).collect();
        lab.deposit(id, &pages).good();
        let root = lab.root_on(0);
        let header = abi::memory::Withdraw {
            partition: id,
            proximity: 0,
        };
        put(&lab.memory, root.spa.0, header.bytes());
        let control = CallInput::rep(Call::WithdrawMemory as u16, 200, start);
        lab.registers(root, control.0, root.gpa.0, root.gpa.1);
        let result = lab.perform(root);
        assert_eq!(result.status(), status);
        let withdrawn = if start < 200 {
            200 - u64::from(start)
        } else {
            0
        };
        assert_eq!(lab.balance(id), (256 - withdrawn, 0));
    }
}

/// Only kernel mode calls: others have no such instruction.
#[test]
fn hc_15_user_mode_and_real_mode_have_no_hypercall() {
    const INVALID_OPCODE: u64 = 1 << 31 | 3 << 8 | 6;
    let lab = Lab::new();
    let (_, child) = lab.guest(0x2100, 40, 0);
    for real in [false, true] {
        let before = lab.delivered(child.slot).len();
        lab.with_vp(child.slot, |vp| {
            vp.vcpu.set_mode(real, if real { 0 } else { 3 })
        });
        lab.registers(child, u64::MAX, 0, 0);
        lab.script(child.slot, &[Act::Exit(Exit::Hypercall)]);
        for _ in 0..3 {
            lab.turn(0);
        }
        assert_eq!(lab.delivered(child.slot)[before..], [INVALID_OPCODE]);
        lab.with_vp(child.slot, |vp| assert_eq!(vp.vcpu.gpr(Gpr::Rcx), u64::MAX));
    }
}

/// HC-10: what names a partition that is gone names nothing, whoever has its slot now.
#[test]
fn hc_10_a_stale_name_finds_nothing() {
    let lab = Lab::new();
    let first = lab.partition(0x2100, 40);
    lab.end(first);
    let (second, _) = lab.guest(0x2100, 40, 0);
    assert_eq!(first % 64, second % 64);
    for &call in Call::ALL {
        // These list what there is from a name on, or take no partition.
        if matches!(
            call,
            Call::CreatePartition | Call::GetPartitionId | Call::GetNextChildPartition
        ) || call as u16 >= 0xf000
        {
            continue;
        }
        let mut input = vec![0u8; 4096];
        input[..8].copy_from_slice(&first.to_le_bytes());
        let before = lab.snapshot();
        let answer = lab.raw(lab.root_on(0), control(call), &input);
        assert_ne!(answer.status, Status::SUCCESS, "{call:?}");
        assert_eq!(lab.snapshot(), before, "{call:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// HC-01: any words from a child and from the root: an answer, every time, with a status of the list.
    #[test]
    fn hc_01_any_call_gets_an_answer(
        calls in prop::collection::vec((any::<bool>(), 0..64usize, any::<u64>(), prop::collection::vec(any::<u64>(), 1..12)), 1..24)
    ) {
        let lab = Lab::new();
        let (id, child) = lab.guest(0x2100, 40, 0);
        for (by_root, index, word, mut list) in calls {
            let call = Call::ALL.get(index).map_or(word as u16, |&call| call as u16);
            let control = u64::from(call) | match word % 4 {
                0 => 0,
                1 => 1 << 32,
                2 => (word >> 8 & 7) << 32 | (word >> 16 & 3) << 48,
                _ => word & !0xffff,
            };
            list[0] = match list[0] % 4 { 0 => 1, 1 => id, 2 => u64::MAX, _ => list[0] };
            let input: Vec<u8> = list.iter().flat_map(|word| word.to_le_bytes()).collect();
            // The caller itself must stay alive: the root does not end or suspend itself here, nor its child.
            let ends = [Call::FinalizePartition, Call::DeleteVp, Call::SetVpRegisters, Call::AssertVirtualInterrupt, Call::UnmapGpaPages];
            if by_root && ends.iter().any(|&it| it as u16 == call) {
                continue;
            }
            let caller = if by_root { lab.root_on(0) } else { child };
            let answer = lab.raw(caller, control, &input);
            prop_assert_ne!(answer.status.name(), "UNKNOWN");
        }
    }
}
