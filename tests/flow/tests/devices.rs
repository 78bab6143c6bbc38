//! Devices on the whole kernel: who has them, what they may raise, and what happens when the hardware fails.

use abi::device::{Attach, DeviceName, Named};
use abi::interrupt::{MapInterrupt, MappedInterrupt, Retarget, Target};
use abi::memory::map_flags;
use abi::message::kind;
use abi::vendor::{Fault, Index, InterruptInfo, fault_kind};
use abi::{Call, Status};
use address::DeviceId;
use flow::lab::*;
use flow::{A, FAR};
use kernel::vp::VpSlot;
use model::{Behaviour, Refused, Unit};

const WINDOW: u64 = 0x40;
const MMIO: u32 = map_flags::READ | map_flags::WRITE | map_flags::NOT_CACHED;

fn named(partition: u64, device: DeviceId) -> Named {
    Named {
        partition,
        device: DeviceName::Pci(device).encode(),
    }
}

fn attach(lab: &Lab, partition: u64, device: DeviceId) -> Answer {
    let input = Attach {
        partition,
        device: DeviceName::Pci(device).encode(),
        ..Attach::default()
    };
    lab.call(Call::AttachDevice, &input)
}

fn give(lab: &Lab, partition: u64, device: DeviceId) {
    lab.call(Call::VendorDeclareReset, &named(partition, device))
        .good();
    attach(lab, partition, device).good();
}

fn interrupt(lab: &Lab, partition: u64, device: DeviceId, vector: u32) -> MappedInterrupt {
    let input = MapInterrupt {
        partition,
        device: DeviceName::Pci(device).encode(),
        vector_count: 1,
        target: Target {
            vector,
            flags: 0,
            mask: 1,
        },
        ..MapInterrupt::default()
    };
    lab.call(Call::MapDeviceInterrupt, &input).good().get()
}

/// A device raises an interrupt; the vector of the LP that takes it.
fn raise(lab: &Lab, device: DeviceId, mapped: &MappedInterrupt) -> Result<(u16, u8), Refused> {
    let (address, data) = (mapped.entry.value as u32, (mapped.entry.value >> 32) as u32);
    let got = lab.bus.interrupt(device, u64::from(address), data)?;
    Ok(((got.apic - 0x1000) as u16, got.vector))
}

/// Switches a guest's local APIC and its interrupts on.
fn listen(lab: &Lab, slot: VpSlot) {
    lab.with_vp(slot, |vp| {
        vp.apic.write_memory(0xf0, 0x1ff, 0);
        vp.vcpu.set_interrupts(true);
    });
}

/// Makes the root's first VP listen for messages, without taking the vector itself.
fn hear(lab: &Lab) -> u64 {
    lab.with_vp(VpSlot(0), |vp| {
        let page = vp.frames.last().expect("a page").as_u64();
        vp.synic.write(abi::msr::SIMP, page | 1).expect("the page");
        vp.synic.write(abi::msr::SCONTROL, 1).expect("on");
        vp.synic.write(abi::msr::SINT0, 0x40).expect("a vector");
        page
    })
}

/// Takes the message in slot 0, and says so.
fn message(lab: &Lab, page: u64) -> Option<abi::message::Message> {
    let mut bytes = [0; 256];
    get(&lab.memory, page, &mut bytes);
    let message: abi::message::Message = zerocopy::FromBytes::read_from_bytes(&bytes).expect("256");
    put(&lab.memory, page, &[0; 4]);
    if message.flags & 1 != 0 {
        lab.write_msr(lab.root_on(0), abi::msr::EOM, 0);
    }
    (message.message_type != 0).then_some(message)
}

#[test]
fn rst_11_a_device_has_one_owner_at_a_time() {
    let lab = Lab::new();
    let (one, _) = lab.guest(0x2100, 60, 1);
    let (two, _) = lab.guest(0x2180, 60, 1);
    assert_eq!(
        attach(&lab, one, A).status,
        Status::INVALID_DEVICE_STATE,
        "it was not reset"
    );
    give(&lab, one, A);
    for again in [one, two, 1] {
        let before = lab.snapshot();
        assert_ne!(attach(&lab, again, A).status, Status::SUCCESS);
        assert_eq!(lab.snapshot(), before);
    }
    assert_eq!(
        lab.call(Call::DetachDevice, &named(two, A)).status,
        Status::ACCESS_DENIED
    );
    lab.call(Call::DetachDevice, &named(one, A)).good();
    assert_eq!(
        attach(&lab, two, A).status,
        Status::INVALID_DEVICE_STATE,
        "not reset again"
    );
    give(&lab, two, A);
    lab.on(Call::FinalizePartition, two).good();
    lab.call(Call::VendorDeclareReset, &named(1, A)).good();
    assert_eq!(
        attach(&lab, two, A).status,
        Status::INVALID_PARTITION_STATE,
        "a dying one"
    );
    attach(&lab, one, A).good();
}

/// RST-05, DMA-22: a device reaches what its partition has, while it has it.
#[test]
fn rst_05_a_device_reaches_what_its_partition_has_and_nothing_after_it() {
    let lab = Lab::new();
    lab.end(lab.partition(0x2100, 60));
    let before = lab.snapshot();
    let (id, child) = lab.guest(0x2100, 60, 1);
    give(&lab, id, A);
    lab.map(id, WINDOW, &[0x2200], RAM).good();
    lab.map(id, WINDOW + 1, &[0x2201], map_flags::READ).good();
    lab.map(id, 0x80, &[BAR_PAGE], MMIO).good();
    let reached = |page: u64, write| lab.bus.dma(A, page << 12, write).map(address::Spa::page);
    assert_eq!(reached(WINDOW, true), Ok(0x2200));
    assert_eq!(reached(WINDOW + 1, false), Ok(0x2201));
    assert!(reached(WINDOW + 1, true).is_err(), "read only");
    assert!(
        reached(0x80, true).is_err(),
        "DMA-08: registers are no memory"
    );
    assert!(reached(0x2100, true).is_err(), "its own tables");
    assert_eq!(
        lab.map(id, 0x90, &[BAR_PAGE + 4], MMIO).status,
        Status::ACCESS_DENIED,
        "its interrupt table"
    );
    assert_eq!(
        lab.call(Call::DetachDevice, &named(id, A)).status,
        Status::OBJECT_IN_USE,
        "its registers are mapped"
    );
    let entry = interrupt(&lab, id, A, 0x50);
    assert!(raise(&lab, A, &entry).is_ok());
    lab.script(
        child.slot,
        &[Act::Touch {
            gpa: WINDOW << 12,
            write: true,
        }],
    );
    lab.turn(1);
    lab.end(id);
    assert!(reached(WINDOW, true).is_err());
    assert!(raise(&lab, A, &entry).is_err());
    assert_eq!(lab.snapshot(), before);
}

/// INT-20: the slot of a VP that ends is nobody's while an interrupt still leads there.
#[test]
fn int_20_an_interrupt_never_finds_another_partitions_vp() {
    let lab = Lab::new();
    let (id, _) = lab.guest(0x2100, 60, 1);
    let (other, _) = lab.guest(0x2180, 60, 1);
    give(&lab, id, A);
    let entry = interrupt(&lab, id, A, 0x50);
    let slot = lab.slot(id, 0);
    let (lp, vector) = raise(&lab, A, &entry).expect("it is mapped");
    assert_eq!(lp, 1);
    // The first slices of the end: its VP is gone, its device is not.
    lab.begin(lab.root_on(0), Call::FinalizePartition, id);
    lab.turn(0);
    let gone = lab.kernel.vp_cell(slot).body.lock().is_none();
    if gone && lab.kernel.devices.lock().in_use().1 > 0 {
        lab.create_vp_on(lab.root_on(1), other, 1, 1).good();
        assert_ne!(
            lab.slot(other, 1),
            slot,
            "the slot is still named by an interrupt"
        );
        lab.kernel.on_device_interrupt(address::LpIndex(1), vector);
    }
    assert_eq!(
        lab.call(
            Call::DeleteVp,
            &abi::vp::DeleteVp {
                partition: other,
                vp: 0,
                reserved: 0
            }
        )
        .status,
        Status::SUCCESS
    );
}

/// Invariant 9: a unit that does not answer stops the partitions behind it, and the root is told.
#[test]
fn a_unit_that_fails_stops_its_partitions_and_tells_the_root() {
    let lab = Lab::new();
    let page = hear(&lab);
    let (id, child) = lab.guest(0x2100, 60, 1);
    let (other, bystander) = lab.guest(0x2180, 60, 1);
    give(&lab, id, A);
    give(&lab, other, FAR);
    lab.map(id, WINDOW, &[0x2200], RAM).good();
    lab.units[0].behave(Behaviour::Silent);
    assert_eq!(lab.unmap(id, WINDOW, 1).status, Status::OPERATION_FAILED);
    for _ in 0..4 {
        lab.turn(1);
    }
    assert!(lab.with_vp(child.slot, |vp| vp.explicit_suspend));
    assert!(!lab.with_vp(bystander.slot, |vp| vp.explicit_suspend));
    assert!(
        lab.bus.dma(A, WINDOW << 12, true).is_err(),
        "its bus mastering is off"
    );
    lab.turn(0);
    let told = message(&lab, page).expect("a message");
    let fault: Fault = zerocopy::FromBytes::read_from_prefix(&told.payload)
        .expect("a fault")
        .0;
    assert_eq!((told.message_type, told.sender), (kind::DEVICE_FAULT, id));
    assert_eq!((fault.kind, fault.partition), (fault_kind::UNIT_FAILED, id));
    // Its frames never come back; everything else does.
    lab.on(Call::FinalizePartition, id).good();
    assert_ne!(lab.deposit(other, &[0x2200]).status, Status::SUCCESS);
    lab.end(other);
}

/// A device over its fault budget is blocked, its owner stays, and the root is told once.
#[test]
fn a_device_that_faults_too_often_is_blocked_and_the_root_is_told() {
    let lab = Lab::new();
    let page = hear(&lab);
    let (id, _) = lab.guest(0x2100, 60, 1);
    give(&lab, id, A);
    let mut told = Vec::new();
    for _ in 0..400 {
        let _ = lab.bus.dma(A, 0x7000_0000, true);
        lab.kernel.on_fault(address::LpIndex(0));
        lab.turn(0);
        told.extend(message(&lab, page));
    }
    assert_eq!(told.len(), 1);
    let fault: Fault = zerocopy::FromBytes::read_from_prefix(&told[0].payload)
        .expect("a fault")
        .0;
    assert_eq!((fault.kind, fault.partition), (fault_kind::BLOCKED, id));
    assert_eq!(fault.device, DeviceName::Pci(A).encode());
    let owner = lab.kernel.devices.lock().owner(A);
    assert_eq!(owner, Ok(address::PartitionId(id)));
}

/// INT-12: a storm is held back until the next period, and one interrupt comes after it.
#[test]
fn int_12_a_storm_is_held_back_for_the_rest_of_its_period() {
    let lab = Lab::new();
    let (id, child) = lab.guest(0x2100, 60, 1);
    listen(&lab, child.slot);
    give(&lab, id, A);
    let entry = interrupt(&lab, id, A, 0x50);
    let (lp, vector) = raise(&lab, A, &entry).expect("it is mapped");
    // A slow device is never held back: more than the budget, over many periods.
    for _ in 0..3 * kernel::INTERRUPT_BUDGET {
        lab.script(child.slot, &[Act::Interrupt(vector), Act::Pass(100_000)]);
    }
    turns(&lab, lp, 400);
    assert!(raise(&lab, A, &entry).is_ok());
    let mut passed = 0;
    for _ in 0..4 * kernel::INTERRUPT_BUDGET {
        if raise(&lab, A, &entry).is_err() {
            break;
        }
        passed += 1;
        lab.kernel.on_device_interrupt(address::LpIndex(lp), vector);
        if passed % 600 == 0 {
            lab.turn(lp);
        }
    }
    // One budget of the period that the slow one left behind, one of its own, and what came before anybody looked.
    assert!(passed <= 3 * kernel::INTERRUPT_BUDGET, "{passed}");
    assert!(raise(&lab, A, &entry).is_err(), "held");
    // A retarget leaves it held.
    let retarget = Retarget {
        partition: id,
        device: DeviceName::Pci(A).encode(),
        entry: entry.entry,
        reserved: 0,
        target: Target {
            vector: 0x51,
            flags: 0,
            mask: 1,
        },
    };
    lab.call(Call::RetargetDeviceInterrupt, &retarget).good();
    assert!(raise(&lab, A, &entry).is_err(), "still held");
    let before = lab.delivered(child.slot).len();
    turns(&lab, lp, 12);
    assert!(raise(&lab, A, &entry).is_ok(), "a new period");
    lab.with_vp(child.slot, |vp| vp.apic.end_of_interrupt());
    turns(&lab, lp, 4);
    let delivered = lab.delivered(child.slot);
    assert!(
        delivered[before..].contains(&(1 << 31 | 0x51)),
        "one for what was swallowed: {delivered:x?}"
    );
}

/// What the root is told of interrupts, domains and units is of each, and moves with what it tells of.
#[test]
fn counts_are_each_ones_own() {
    let lab = Lab::new();
    let (id, _) = lab.guest(0x2100, 60, 1);
    give(&lab, id, A);
    let entries = [0x50, 0x51].map(|vector| interrupt(&lab, id, A, vector));
    for (entry, times) in entries.iter().zip([1, 3]) {
        for _ in 0..times {
            let (lp, vector) = raise(&lab, A, entry).expect("it is mapped");
            lab.kernel.on_device_interrupt(address::LpIndex(lp), vector);
        }
    }
    let told = |index: u32| -> InterruptInfo {
        let index = Index {
            index: index.into(),
        };
        lab.call(Call::VendorInterruptInfo, &index).good().get()
    };
    let mut counts = [told(0), told(1)].map(|info| (info.vector, info.count));
    counts.sort_unstable();
    assert_eq!(counts, [(0x50, 1), (0x51, 3)]);
    let domain = {
        let devices = lab.kernel.devices.lock();
        devices.domain_info(device::DomainName::identity(address::PartitionId(id)))
    };
    assert!(domain.is_some_and(|it| (3..=5).contains(&it.levels)));
    let flushes = || {
        lab.kernel
            .devices
            .lock()
            .unit_info(0)
            .map(|unit| unit.flushes)
    };
    lab.map(id, WINDOW, &[0x2200], RAM).good();
    let before = flushes();
    lab.unmap(id, WINDOW, 1).good();
    assert!(flushes() > before, "an unmapping is flushed");
}

fn turns(lab: &Lab, lp: u16, count: usize) {
    for _ in 0..count {
        lab.turn(lp);
    }
}
