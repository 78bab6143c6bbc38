//! State of the kernel as text, to be compared.

use std::collections::hash_map::DefaultHasher;
use std::fmt::Write;
use std::hash::{Hash, Hasher};

use super::{END_OF_RAM, Lab, walk};

pub(super) fn take(lab: &Lab) -> String {
    let mut text = String::new();
    let kernel = &lab.kernel;
    for slot in 0..kernel::MAX_PARTITIONS {
        let cell = kernel.partitions.cell(slot).expect("a slot");
        let body = cell.body.lock();
        let root = body.slat.live().map(|slat| slat.root().as_u64());
        if body.id.0 == 0 {
            continue;
        }
        let vps: Vec<_> = body.vp_slots().collect();
        let _ = writeln!(
            text,
            "{:?} {:?} {:?} {:x} free {} used {} mapped {} os {:x} call {:x} map {:x}",
            body.id,
            body.state,
            vps,
            cell.privileges.load(std::sync::atomic::Ordering::Relaxed),
            body.pool.free(),
            body.pool.in_use(),
            body.mapped_pages,
            body.guest_os_id,
            body.hypercall_msr,
            root.map_or(0, |root| map_hash(lab, root)),
        );
    }
    describe_vps(lab, &mut text);
    describe_devices(lab, &mut text);
    let mut hasher = DefaultHasher::new();
    format!("{:?}", kernel.frames.lock()).hash(&mut hasher);
    let _ = writeln!(text, "frames {:x}", hasher.finish());
    text
}

/// What pages of a GPA map lead to: all of the first ones, where tests map, and a sample of the others.
fn map_hash(lab: &Lab, root: u64) -> u64 {
    let mut hasher = DefaultHasher::new();
    for page in (0..0x80).chain((0x80..END_OF_RAM).step_by(61)) {
        walk(&lab.memory, root, page << 12, true).hash(&mut hasher);
    }
    hasher.finish()
}

fn describe_vps(lab: &Lab, text: &mut String) {
    for (slot, cell) in lab.kernel.vps.iter().enumerate() {
        let body = cell.body.lock();
        let Some(vp) = body.as_ref() else {
            continue;
        };
        let _ = writeln!(
            text,
            "vp {slot} of {:?} {:?} on {:?}: {:?} {} {} {} nmi {} event {}",
            vp.partition,
            vp.index,
            vp.lp,
            vp.activity,
            vp.explicit_suspend,
            vp.intercept_suspend,
            vp.message.is_some(),
            vp.nmi,
            guest::Vcpu::has_pending_event(&vp.vcpu),
        );
    }
}

fn describe_devices(lab: &Lab, text: &mut String) {
    let devices = lab.kernel.devices.lock();
    for index in 0.. {
        let Some(mut info) = devices.device_at(index) else {
            break;
        };
        // Faults that devices caused meanwhile are no state that a call changes.
        info.counters.faults = 0;
        let _ = writeln!(text, "{info:?}");
    }
    let mut from = 0;
    while let Some((info, next)) = devices.domain_from(from) {
        from = next;
        let _ = writeln!(text, "{info:?}");
    }
    from = 0;
    while let Some((info, next)) = devices.interrupt_from(from) {
        from = next;
        let _ = writeln!(text, "{info:?}");
    }
}
