//! Who may give which page to whom: HC-14, HC-18, DMA-08, MEM-05.

use abi::memory::map_flags;
use abi::{Call, Status};
use flow::lab::*;

#[test]
fn hc_14_only_the_roots_own_unused_pages_are_deposited() {
    let lab = Lab::new();
    let id = lab.create();
    let (other, _) = lab.guest(0x2100, 32, 0);
    // The hypervisor's, its reserve's, no RAM, one that a child maps, a deposit, the page that no pool may have.
    let refused = [
        (0x100, Status::ACCESS_DENIED),
        (0x1000, Status::ACCESS_DENIED),
        (BAR_PAGE, Status::ACCESS_DENIED),
        (u64::MAX, Status::ACCESS_DENIED),
        (1 << 40, Status::ACCESS_DENIED),
        (0x2120, Status::OBJECT_IN_USE),
        (0x2100, Status::ACCESS_DENIED),
        (0, Status::INVALID_PARAMETER),
    ];
    for (page, status) in refused {
        let before = lab.snapshot();
        let answer = lab.deposit(id, &[page]);
        assert_eq!((answer.status, answer.reps), (status, 0), "{page:#x}");
        assert_eq!(lab.snapshot(), before, "{page:#x}");
    }
    let answer = lab.deposit(id, &[0x2300, 0x2301, 0x2300, 0x2302]);
    assert_eq!(
        (answer.status, answer.reps),
        (Status::ACCESS_DENIED, 2),
        "HC-08"
    );
    assert_eq!(lab.balance(id), (2, 0));
    assert_eq!(
        lab.map(other, 0x50, &[0x2300], RAM).status,
        Status::ACCESS_DENIED
    );
    lab.map(other, 0x50, &[0x2302], RAM).good();
}

#[test]
fn hc_14_the_hypervisors_reserve_is_not_withdrawn() {
    let lab = Lab::new();
    let before = lab.snapshot();
    let answer = lab.withdraw(1, 1);
    assert_eq!(answer.status, Status::OPERATION_DENIED);
    assert_eq!(lab.snapshot(), before);
    let id = lab.create();
    lab.deposit(id, &[0x2300]).good();
    let answer = lab.withdraw(id, 1);
    assert_eq!((answer.status, answer.reps), (Status::SUCCESS, 1));
    assert_eq!(answer.get::<u64>(), 0x2300);
}

#[test]
fn hc_18_a_child_gets_nothing_that_is_not_the_roots_ram() {
    let lab = Lab::new();
    let (id, _) = lab.guest(0x2100, 40, 0);
    let (other, _) = lab.guest(0x2180, 40, 0);
    lab.map(other, 0x50, &[0x2300], RAM).good();
    let root_messages = lab.with_vp(kernel::vp::VpSlot(0), |vp| {
        vp.frames.last().expect("a message page").page()
    });
    let refused = [
        (0x100, RAM, Status::ACCESS_DENIED),
        (0x1000, RAM, Status::ACCESS_DENIED),
        (0x2100, RAM, Status::ACCESS_DENIED),
        (BAR_PAGE, RAM, Status::ACCESS_DENIED),
        (0xfee00, RAM, Status::ACCESS_DENIED),
        (u64::MAX, RAM, Status::ACCESS_DENIED),
        (0x2300, RAM, Status::OBJECT_IN_USE),
        (root_messages, RAM, Status::ACCESS_DENIED),
        (
            BAR_PAGE,
            map_flags::READ | map_flags::NOT_CACHED,
            Status::ACCESS_DENIED,
        ),
        (
            0x2310,
            map_flags::READ | map_flags::NOT_CACHED,
            Status::ACCESS_DENIED,
        ),
        (0x2310, map_flags::WRITE, Status::INVALID_PARAMETER),
        (0x2310, RAM | 1 << 10, Status::INVALID_PARAMETER),
    ];
    for (page, flags, status) in refused {
        let before = lab.snapshot();
        let answer = lab.map(id, 0x60, &[page], flags);
        assert_eq!((answer.status, answer.reps), (status, 0), "{page:#x}");
        assert_eq!(lab.snapshot(), before, "{page:#x}");
    }
    lab.map(id, 0x60, &[0x2310], RAM).good();
    assert_eq!(
        lab.map(id, 0x60, &[0x2311], RAM).status,
        Status::OBJECT_IN_USE
    );
    let answer = lab.map(id, 0x61, &[0x2312, 0x2300, 0x2313], RAM);
    assert_eq!(
        (answer.status, answer.reps),
        (Status::OBJECT_IN_USE, 1),
        "HC-08"
    );
}

#[test]
fn hc_18_addresses_past_the_map_are_refused() {
    let lab = Lab::new();
    let (id, _) = lab.guest(0x2100, 40, 0);
    for gpfn in [1 << 36, 1 << 51, u64::MAX, u64::MAX >> 12] {
        let before = lab.snapshot();
        let answer = lab.map(id, gpfn, &[0x2300], RAM);
        assert_eq!(answer.status, Status::INVALID_PARAMETER, "{gpfn:#x}");
        let answer = lab.unmap(id, gpfn, 1);
        assert_eq!(answer.status, Status::INVALID_PARAMETER, "{gpfn:#x}");
        assert_eq!(lab.snapshot(), before);
    }
}

/// Every call that takes frames, with a deposit of every size that is too small: it says so, and nothing has changed but
/// what it reports.
#[test]
fn mem_05_a_call_that_runs_out_of_frames_leaves_no_trace() {
    let lab = Lab::new();
    lab.end(lab.partition(0x2100, 64));
    let mut needed = [0; 3];
    for frames in 1..40u64 {
        let id = lab.create();
        let pages: Vec<u64> = (0x2100..0x2100 + frames).collect();
        lab.deposit(id, &pages).good();
        let calls: [&dyn Fn() -> Answer; 3] = [
            &|| lab.on(Call::InitializePartition, id),
            &|| lab.create_vp(id, 0, 0),
            &|| lab.map(id, 0x1_2345, &[0x2300, 0x2301], RAM),
        ];
        for (call, needed) in calls.iter().zip(&mut needed) {
            let (free, used) = lab.balance(id);
            let answer = call();
            if answer.status == Status::SUCCESS {
                continue;
            }
            *needed = frames;
            assert_eq!(answer.status, Status::INSUFFICIENT_MEMORY);
            assert_eq!(answer.reps, 0);
            let after = lab.balance(id);
            assert_eq!(after.0 + after.1, free + used, "no frame is lost");
            break;
        }
        lab.end(id);
    }
    assert!(needed[0] > 0 && needed[1] > needed[0] && needed[2] > needed[1]);
}

/// The hypervisor's own reserve, too: a root that runs out of it is told, and loses nothing.
#[test]
fn mem_05_an_empty_reserve_is_an_error_and_no_loss() {
    for reserve in 15..24 {
        let lab = Lab::with(device::Capacities::default(), reserve, 64);
        let id = lab.create();
        let before = lab.snapshot();
        let answer = lab.deposit(id, &[0x2300]);
        if answer.status == Status::SUCCESS {
            assert!(reserve > 15);
            return;
        }
        assert_eq!(answer.status, Status::INSUFFICIENT_ROOT_MEMORY);
        // Splitting a large page may have been done: what every page leads to has not changed.
        let used = |text: &str| text.lines().skip(1).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(used(&lab.snapshot()), used(&before));
    }
    panic!("a reserve that is enough");
}
