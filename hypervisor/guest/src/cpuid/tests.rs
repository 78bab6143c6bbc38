use abi::partition::privilege;

use super::*;

const ALL: [u32; 4] = [u32::MAX; 4];

fn child() -> Facts {
    Facts {
        root: false,
        privileges: u64::MAX,
        apic_id: 2,
        apic: true,
        x2apic: true,
        vp_count: 3,
        osxsave: false,
        xstate: Xstate {
            offered: 7,
            switched: 7,
            bytes: 832,
        },
        physical_bits: 40,
        max_vps: 64,
        lps: 4,
        interrupt_entries: 0,
        device_width: 0,
    }
}

#[test]
fn cpu_06_nested_virtualisation_and_waiting_instructions_are_hidden() {
    let [.., ecx, _] = answer(1, 0, ALL, &child());
    for (name, bit) in [("MONITOR", 3), ("VMX", 5), ("SMX", 6), ("PDCM", 15)] {
        assert_eq!(ecx >> bit & 1, 0, "{name}");
    }
    let [_, _, ecx, edx] = answer(0x8000_0001, 0, ALL, &child());
    for (name, bit) in [
        ("SVM", 2),
        ("SKINIT", 12),
        ("MONITORX", 29),
        ("PERFCTR", 23),
        ("IBS", 10),
        ("WDT", 13),
    ] {
        assert_eq!(ecx >> bit & 1, 0, "{name}");
    }
    assert_eq!(edx >> 29 & 1, 1, "long mode is shown");
    for leaf in [
        3,
        5,
        9,
        0xa,
        0xf,
        0x12,
        0x14,
        0x1f,
        0x8000_000a,
        0x8000_001b,
        0x8000_001f,
        0x8000_0022,
    ] {
        assert_eq!(answer(leaf, 0, ALL, &child()), [0; 4], "{leaf:#x}");
    }
}

#[test]
fn cpu_06_what_the_local_apic_emulates_is_shown() {
    let [_, ebx, ecx, edx] = answer(1, 0, [0; 4], &child());
    assert_eq!(ecx, 1 << 21 | 1 << 24 | 1 << 31);
    assert_eq!((edx >> 9 & 1, edx >> 28 & 1), (1, 1));
    assert_eq!((ebx >> 24, ebx >> 16 & 0xff), (2, 3));
    assert_eq!(
        answer(
            1,
            0,
            [0; 4],
            &Facts {
                osxsave: true,
                ..child()
            }
        )[2] >> 27
            & 1,
        1
    );
}

#[test]
fn cpu_06_topology_leaves_agree_with_the_vp_count() {
    for (vp_count, bits) in [(1, 0), (2, 1), (3, 2), (4, 2), (5, 3), (64, 6)] {
        let facts = Facts {
            vp_count,
            ..child()
        };
        assert_eq!(answer(0xb, 0, ALL, &facts), [0, 1, 0x100, 2]);
        assert_eq!(answer(0xb, 1, ALL, &facts), [bits, vp_count, 0x201, 2]);
        assert_eq!(answer(0xb, 2, ALL, &facts), [0, 0, 2, 2]);
        assert_eq!(
            answer(0x8000_0008, 0, ALL, &facts)[2],
            bits << 12 | (vp_count - 1)
        );
    }
    assert_eq!(answer(4, 0, ALL, &child())[0], 0x3fff);
    assert_eq!(answer(0x8000_001e, 0, ALL, &child()), [2, 2, 0, 0]);
    assert_eq!(
        answer(0x8000_0008, 0, [0x3030, 0, 0, 0], &child())[0],
        0x3028
    );
}

#[test]
fn cpu_06_features_go_with_the_state_that_xcr0_offers() {
    let sse = Facts {
        xstate: Xstate {
            offered: 3,
            switched: 3,
            bytes: 576,
        },
        ..child()
    };
    assert_eq!(answer(1, 0, ALL, &sse)[2] >> 28 & 1, 0, "AVX");
    assert_eq!(
        answer(7, 0, ALL, &sse)[1] & (1 << 5 | 1 << 16),
        0,
        "AVX2, AVX-512"
    );
    assert_eq!(answer(7, 0, ALL, &child())[1] & (1 << 5 | 1 << 16), 1 << 5);
    assert_eq!(
        answer(0xd, 0, [0x602e7, 576, 11008, 0], &child()),
        [7, 576, 832, 0]
    );
    assert_eq!(answer(0xd, 1, ALL, &child())[0], 7, "no XSAVES");
    assert_eq!(answer(0xd, 2, [256, 576, 0, 0], &child()), [256, 576, 0, 0]);
    assert_eq!(answer(0xd, 18, ALL, &child()), [0; 4]);
    assert_eq!(answer(0xd, u32::MAX, ALL, &child()), [0; 4]);
}

#[test]
fn cpu_06_a_child_sees_the_interface_but_no_privilege_of_a_parent() {
    let vendor = answer(0x4000_0000, 0, ALL, &child());
    assert!(vendor[0] >= 0x4000_0005);
    assert_eq!(vendor[1..], [0x7263_694d, 0x666f_736f, 0x7648_2074]);
    assert_eq!(answer(0x4000_0001, 0, ALL, &child())[0], 0x3123_7648);
    let [low, high, ..] = answer(0x4000_0003, 0, ALL, &child());
    let mask = u64::from(high) << 32 | u64::from(low);
    let parents = [
        privilege::CREATE_PARTITIONS,
        privilege::ACCESS_PARTITION_ID,
        privilege::ACCESS_MEMORY_POOL,
    ];
    for bit in parents
        .into_iter()
        .chain([privilege::ACCESS_STATS, privilege::CPU_MANAGEMENT])
    {
        assert_eq!(mask & bit, 0, "{bit:#x}");
    }
    assert_ne!(mask & privilege::HYPERCALL_MSRS, 0);
    let root = Facts {
        root: true,
        device_width: 48,
        interrupt_entries: 1024,
        ..child()
    };
    assert_ne!(
        u64::from(answer(0x4000_0003, 0, ALL, &root)[1]) << 32 & privilege::CREATE_PARTITIONS,
        0
    );
    assert_eq!(answer(0x4000_0003, 0, ALL, &root)[3] >> 24 & 1, 1);
    assert_eq!(answer(0x4000_0006, 0, ALL, &root)[..2], [0xba, 48]);
}

#[test]
fn cpu_06_leaves_past_the_last_are_zero() {
    assert_eq!(answer(0, 0, [0x20, 1, 2, 3], &child()), [0xd, 1, 2, 3]);
    assert_eq!(
        answer(0x8000_0000, 0, [0x8000_0028, 1, 2, 3], &child())[0],
        0x8000_0021
    );
    for leaf in [0x4000_0009, 0x4000_ffff, 0x2000_0000, 0xc000_0000, u32::MAX] {
        assert_eq!(answer(leaf, 0, ALL, &child()), [0; 4], "{leaf:#x}");
    }
}

#[test]
fn only_leaves_that_change_show_what_changes() {
    let before = Facts {
        vp_count: 1,
        ..child()
    };
    let after = Facts {
        osxsave: true,
        vp_count: 9,
        ..before
    };
    let first = |start: u32| start..start + 0x40;
    let leaves = first(0).chain(first(0x4000_0000)).chain(first(0x8000_0000));
    for (leaf, subleaf) in leaves.flat_map(|leaf| (0..4).map(move |subleaf| (leaf, subleaf))) {
        let same = answer(leaf, subleaf, ALL, &before) == answer(leaf, subleaf, ALL, &after);
        assert!(same || changes(leaf), "{leaf:#x}, {subleaf}");
    }
    for leaf in [1, 0xb, 0x4000_0005, 0x8000_0001, 0x8000_0008] {
        let differs =
            |subleaf| answer(leaf, subleaf, ALL, &before) != answer(leaf, subleaf, ALL, &after);
        assert!(changes(leaf) && (0..4).any(differs), "{leaf:#x}");
    }
}
