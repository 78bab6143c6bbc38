//! Register sets of the root's choice: what no processor takes is refused by the call that would let the VP go on, before the
//! processor sees it; what is taken enters the guest.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::bare;
use crate::bochs::Processor;
use crate::machine::Machine;
use crate::scenario::Scenario;

/// Registers of the hypercall interface (TLFS, "Register names").
mod name {
    pub const EXPLICIT_SUSPEND: u32 = 0;
    pub const INTERCEPT_SUSPEND: u32 = 1;
    pub const ACTIVITY: u32 = 4;
    pub const RIP: u32 = 0x20010;
    pub const RFLAGS: u32 = 0x20011;
    pub const CR0: u32 = 0x40000;
    pub const CR3: u32 = 0x40002;
    pub const CR4: u32 = 0x40003;
    pub const DR7: u32 = 0x50005;
    pub const ES: u32 = 0x60000;
    pub const CS: u32 = 0x60001;
    pub const LDTR: u32 = 0x60006;
    pub const TR: u32 = 0x60007;
    pub const IDTR: u32 = 0x70000;
    pub const GDTR: u32 = 0x70001;
    pub const EFER: u32 = 0x80001;
    pub const PAT: u32 = 0x80004;
}

const SET_REGISTERS: u32 = 0x51;
const ROUNDS: u32 = 32;
/// For a VP to leave the guest that it was let into: at the latest at the end of its slice.
const ENTRY_TIME: Duration = Duration::from_secs(10);

pub fn scenarios() -> Vec<Scenario> {
    let scenario = |name, run| Scenario::new(name, bare(), run).anywhere();
    vec![
        scenario("cpu_16_random_register_sets", random_sets),
        scenario("cpu_16_control_sound_register_sets", sound_sets)
            .control_of("cpu_16_random_register_sets"),
    ]
}

type Value = (u32, [u64; 2]);

/// A register set: every mode's own, before anything is changed.
#[derive(Clone)]
struct Set(Vec<Value>);

fn segment(selector: u64, base: u64, limit: u64, attributes: u64) -> [u64; 2] {
    [base, limit | selector << 32 | attributes << 48]
}

impl Set {
    /// Real mode, 32 bits, 64 bits, or virtual-8086 mode.
    fn of(mode: u32) -> Self {
        let (cr0, cr4, efer, rflags) = match mode {
            0 => (0x10, 0, 0, 2),
            1 => (0x11, 0, 0, 2),
            2 => (0x8000_0011, 0x20, 0xd00, 2),
            _ => (0x11, 0, 0, 0x2_0002),
        };
        let code = match mode {
            0 => segment(0, 0, 0xffff, 0x9b),
            1 => segment(8, 0, 0xffff_ffff, 0xc09b),
            2 => segment(8, 0, 0xffff_ffff, 0xa09b),
            _ => segment(0, 0, 0xffff, 0xf3),
        };
        let data = match mode {
            0 => segment(0, 0, 0xffff, 0x93),
            1 | 2 => segment(16, 0, 0xffff_ffff, 0xc093),
            _ => segment(0, 0, 0xffff, 0xf3),
        };
        let mut values = vec![(name::CS, code)];
        let others = (name::ES..name::LDTR).filter(|&it| it != name::CS);
        values.extend(others.map(|it| (it, data)));
        values.extend([
            (name::LDTR, segment(0, 0, 0xffff, 0x82)),
            (name::TR, segment(0, 0, 0xffff, 0x8b)),
            (name::IDTR, [0xffff << 48, 0]),
            (name::GDTR, [0xffff << 48, 0]),
        ]);
        let words = [
            (name::CR0, cr0),
            (name::CR3, 0x10_0000),
            (name::CR4, cr4),
            (name::EFER, efer),
            (name::DR7, 0x400),
            (name::RIP, 0x1000),
            (name::RFLAGS, rflags),
            (name::PAT, 0x0007_0406_0007_0406),
        ];
        values.extend(words.map(|(name, value)| (name, [value, 0])));
        Self(values)
    }

    /// Changes one register: a bit of it, or all but its upper part.
    fn disturb(&mut self, random: &mut Random) {
        let count = self.0.len() as u64;
        let (pick, half) = (random.next() % count, random.next() & 1);
        let wide = |name: u32| (name::ES..=name::GDTR).contains(&name);
        let (name, value) = &mut self.0[pick as usize];
        let half = if wide(*name) { half as usize } else { 0 };
        let shift = random.next() % 64;
        let word = &mut value[half];
        *word = match random.next() % 4 {
            0 | 1 => *word ^ 1 << shift,
            2 => *word ^ 1 << (shift % 24),
            _ => random.next() >> shift,
        };
    }
}

/// A sequence of numbers without a pattern (xorshift).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

/// A child with memory and no program, whose VP gets its registers by the root's hypercalls alone.
struct Bare<'m> {
    machine: &'m Machine,
    name: String,
    id: u64,
}

impl<'m> Bare<'m> {
    fn new(machine: &'m Machine) -> Result<Self> {
        let name = machine.name("bare");
        machine.command(&format!("create {name} memory=16M lps=0"))?;
        let rows = machine.command("partitions")?.data;
        let row = rows.iter().find(|row| row.get("name") == Some(&name));
        let id = row.and_then(|row| row.number("id"));
        Ok(Self {
            machine,
            id: id.with_context(|| format!("{name} is no partition"))?,
            name,
        })
    }

    /// SetVpRegisters; the status.
    fn set(&self, values: &[Value]) -> Result<String> {
        let mut line = format!("hypercall {SET_REGISTERS:#x} {:#x} 0", self.id);
        for (name, [low, high]) in values {
            line.push_str(&format!(" {name:#x} 0 {low:#x} {high:#x}"));
        }
        line.push_str(&format!(" reps={}", values.len()));
        let reply = self.machine.command(&line)?.result;
        let status = reply.get("status").context("a call without a status")?;
        Ok(status.to_string())
    }

    /// Exits so far: all, and those because the processor, or who stands before it, does not take the state.
    fn exits(&self) -> Result<(u64, u64)> {
        let counters = self.machine.command(&format!("counters {}", self.name))?;
        let of = |key: &str| counters.result.number(key).unwrap_or(0);
        let kinds = [
            "host",
            "window",
            "cpuid",
            "hypercall",
            "halt",
            "memory",
            "exception",
            "shutdown",
            "other",
            "port",
            "no-such-instruction",
            "pause",
        ];
        let all = kinds.map(|kind| of(&format!("exit-{kind}")));
        Ok((all.iter().sum(), of("exit-other")))
    }

    /// Tries to run a set; whether it was let in.
    fn try_set(&self, set: &Set) -> Result<bool> {
        let held = self.set(&[(name::EXPLICIT_SUSPEND, [1, 0])])?;
        ensure!(held == "SUCCESS", "the VP cannot be held: {held}");
        let before = self.exits()?;
        for part in set.0.chunks(12) {
            if !taken(&self.set(part)?)? {
                return Ok(false);
            }
        }
        let go = [
            (name::ACTIVITY, [0, 0]),
            (name::INTERCEPT_SUSPEND, [0, 0]),
            (name::EXPLICIT_SUSPEND, [0, 0]),
        ];
        if !taken(&self.set(&go)?)? {
            let after = self.exits()?;
            ensure!(after == before, "refused, and yet {before:?} {after:?}");
            return Ok(false);
        }
        self.entered(before)?;
        Ok(true)
    }

    /// Waits until the VP has left the guest again, for a reason that only who was inside has.
    fn entered(&self, before: (u64, u64)) -> Result<()> {
        let begin = Instant::now();
        loop {
            let now = self.exits()?;
            ensure!(now.1 == before.1, "taken, and then not entered");
            if now.0 > before.0 {
                return Ok(());
            }
            ensure!(begin.elapsed() < ENTRY_TIME, "taken, and never entered");
        }
    }
}

/// How many of the modes of [`Set::of`] there are. Bochs's VMRUN loads RFLAGS while it is still in the host's long mode, where it
/// drops the VM bit: no SVM guest begins in virtual-8086 mode there.
fn modes(machine: &Machine) -> u32 {
    match machine.bochs() {
        Some(Processor::Svm) => 3,
        _ => 4,
    }
}

fn taken(status: &str) -> Result<bool> {
    match status {
        "SUCCESS" => Ok(true),
        "INVALID_REGISTER_VALUE" => Ok(false),
        other => anyhow::bail!("SetVpRegisters gave {other}"),
    }
}

impl Drop for Bare<'_> {
    fn drop(&mut self) {
        // The scenario has its verdict; a machine that answers no more is found by the next command.
        let _ = self.machine.command(&format!("delete {}", self.name));
    }
}

fn random_sets(machine: &mut Machine) -> Result<()> {
    let bare = Bare::new(machine)?;
    let mut random = Random(0x5eed_0000_0016);
    let mut entered = 0;
    for round in 0..ROUNDS {
        let mut set = Set::of(round % modes(machine));
        for _ in 0..1 + random.next() % 2 {
            set.disturb(&mut random);
        }
        let inside = bare.try_set(&set).with_context(|| {
            let values: Vec<String> = set.0.iter().map(|it| format!("{it:x?}")).collect();
            format!("round {round}: {}", values.join(" "))
        })?;
        entered += u32::from(inside);
    }
    ensure!(
        entered > ROUNDS / 5 && entered < ROUNDS,
        "{entered} of {ROUNDS} sets entered"
    );
    Ok(())
}

/// The sets that the random ones are made from, and nonsense that must be found.
fn sound_sets(machine: &mut Machine) -> Result<()> {
    let bare = Bare::new(machine)?;
    for mode in 0..modes(machine) {
        ensure!(bare.try_set(&Set::of(mode))?, "mode {mode} was refused");
    }
    // Long mode whose tables are those of another mode; a CS that is 32 and 64 bits wide.
    for (register, value) in [
        (name::CR4, [0, 0]),
        (name::CS, segment(8, 0, 0xffff_ffff, 0xe09b)),
    ] {
        let mut set = Set::of(2);
        set.0.retain(|&(other, _)| other != register);
        set.0.push((register, value));
        ensure!(!bare.try_set(&set)?, "{register:#x} was taken");
    }
    ensure!(bare.try_set(&Set::of(0))?, "afterwards none enters");
    Ok(())
}
