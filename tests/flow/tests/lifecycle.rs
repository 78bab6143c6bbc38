//! Partitions and VPs from their first call to their last, on the whole kernel.

use abi::{Call, Status};
use flow::lab::*;

#[test]
fn mem_03_a_whole_life_leaves_nothing_behind() {
    let lab = Lab::new();
    // The first deposit splits a large page of the root's map, for good.
    lab.end(lab.partition(0x2100, 32));
    let before = lab.snapshot();
    for _ in 0..3 {
        let (id, child) = lab.guest(0x2100, 32, 0);
        lab.script(
            child.slot,
            &[Act::Touch {
                gpa: 0x1_0123,
                write: true,
            }],
        );
        lab.turn(0);
        lab.turn(0);
        assert_eq!(lab.touched(), [Some(child.spa.0 + 0x123)]);
        assert_ne!(lab.snapshot(), before);
        lab.end(id);
        assert_eq!(lab.snapshot(), before);
    }
}

#[test]
fn a_partition_is_used_only_in_its_order() {
    let lab = Lab::new();
    let id = lab.create();
    assert_eq!(
        lab.create_vp(id, 0, 0).status,
        Status::INVALID_PARTITION_STATE
    );
    assert_eq!(
        lab.map(id, 0, &[0x2100], RAM).status,
        Status::INVALID_PARTITION_STATE
    );
    assert_eq!(
        lab.on(Call::DeletePartition, id).status,
        Status::INVALID_PARTITION_STATE
    );
    assert_eq!(
        lab.on(Call::InitializePartition, id).status,
        Status::INSUFFICIENT_MEMORY
    );
    lab.deposit(id, &(0x2100..0x2120).collect::<Vec<_>>())
        .good();
    lab.on(Call::InitializePartition, id).good();
    assert_eq!(
        lab.on(Call::InitializePartition, id).status,
        Status::INVALID_PARTITION_STATE
    );
    lab.create_vp(id, 0, 0).good();
    assert_eq!(lab.create_vp(id, 0, 0).status, Status::INVALID_VP_INDEX);
    lab.on(Call::FinalizePartition, id).good();
    assert_eq!(
        lab.on(Call::DeletePartition, id).status,
        Status::OBJECT_IN_USE,
        "deposits"
    );
    assert_eq!(
        lab.on(Call::FinalizePartition, id).status,
        Status::INVALID_PARTITION_STATE
    );
}
