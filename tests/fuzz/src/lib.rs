//! Fuzz targets: one `fn run(&[u8])` each, which may do anything but panic, hang or break what it asserts.
//!
//! `cargo test -p fuzz` replays the corpus (`corpus/TARGET/`) and a bounded number of mutations with a fixed seed. A binary for
//! libFuzzer needs nothing but a call of the same function. A new target is a module here and a line in [`TARGETS`].

#![forbid(unsafe_code)]

pub mod config;
pub mod dmar;
pub mod guard;
pub mod hypercall;
pub mod ivrs;
pub mod machine;
pub mod madt;
pub mod mcfg;
pub mod mov;
pub mod mutate;
mod sealed;

/// One target.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name and that of its corpus folder.
    pub name: &'static str,
    /// What takes the bytes.
    pub run: fn(&[u8]),
    /// Mutations per corpus file that the replay tries.
    pub mutations: u32,
}

/// All targets.
pub const TARGETS: [Target; 8] = [
    Target {
        name: "hypercall",
        run: hypercall::run,
        mutations: 40,
    },
    Target {
        name: "mov",
        run: mov::run,
        mutations: 20_000,
    },
    Target {
        name: "madt",
        run: madt::run,
        mutations: 2000,
    },
    Target {
        name: "mcfg",
        run: mcfg::run,
        mutations: 2000,
    },
    Target {
        name: "dmar",
        run: dmar::run,
        mutations: 1000,
    },
    Target {
        name: "ivrs",
        run: ivrs::run,
        mutations: 1000,
    },
    Target {
        name: "config",
        run: config::run,
        mutations: 500,
    },
    Target {
        name: "guard",
        run: guard::run,
        mutations: 1000,
    },
];
