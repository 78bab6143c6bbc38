//! Which commands there are, and how each is written.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::arguments::Arguments;
use crate::failure::Failure;
use crate::protocol::reply::{Reply, Row};
use crate::protocol::words::Word;

/// A command.
pub struct Spec {
    /// Its first word.
    pub name: &'static str,
    /// Words that it takes: at least, at most.
    pub words: (usize, usize),
    /// `key=value` pairs that it takes.
    pub keys: &'static [&'static str],
    /// How its arguments are written.
    pub usage: &'static str,
    /// What it does.
    pub help: &'static str,
}

const fn spec(
    name: &'static str,
    words: (usize, usize),
    keys: &'static [&'static str],
    usage: &'static str,
    help: &'static str,
) -> Spec {
    Spec {
        name,
        words,
        keys,
        usage,
        help,
    }
}

/// Every command, in the order of `help`.
pub const COMMANDS: &[Spec] = &[
    spec(
        "help",
        (0, 1),
        &[],
        "[COMMAND]",
        "lists the commands, or explains one",
    ),
    spec("lps", (0, 0), &[], "", "lists the logical processors"),
    spec(
        "memory",
        (0, 0),
        &[],
        "",
        "shows what memory there is and whose it is",
    ),
    spec("iommus", (0, 0), &[], "", "lists the IOMMUs"),
    spec(
        "devices",
        (0, 0),
        &[],
        "",
        "lists the PCI devices with owner and state",
    ),
    spec(
        "whynot",
        (1, 1),
        &[],
        "DEVICE",
        "says why a device cannot be assigned",
    ),
    spec("partitions", (0, 0), &[], "", "lists the partitions"),
    spec(
        "create",
        (1, 2),
        &["memory", "vps", "lps", "image"],
        "NAME [without-x2apic] [memory=64M] [vps=1] [lps=0,1..] [image=IMAGE]",
        "makes a partition, if the image can be loaded into it; VPs go to the listed LPs in turn, with xAPIC mode alone if you say so",
    ),
    spec(
        "load",
        (2, 2),
        &["cmdline", "module"],
        "NAME IMAGE [cmdline=\"…\"] [module=FILE]…",
        "loads an ELF64 or Multiboot1 image from the boot volume",
    ),
    spec(
        "assign",
        (2, 3),
        &[],
        "NAME DEVICE [without-reset]",
        "gives a device to a partition, after a reset",
    ),
    spec(
        "unassign",
        (2, 2),
        &[],
        "NAME DEVICE",
        "takes a device back",
    ),
    spec(
        "start",
        (1, 1),
        &[],
        "NAME",
        "starts a partition, or lets it go on",
    ),
    spec(
        "stop",
        (1, 1),
        &[],
        "NAME",
        "holds a partition; start lets it go on",
    ),
    spec(
        "delete",
        (1, 1),
        &[],
        "NAME",
        "removes a partition and takes all back",
    ),
    spec("show", (1, 1), &[], "NAME", "shows a partition"),
    spec("domains", (0, 1), &[], "[NAME]", "lists the device domains"),
    spec(
        "domain",
        (3, 4),
        &["iova", "page", "pages", "write"],
        "create|delete|flush NAME ID | attach NAME ID DEVICE | block NAME DEVICE | \
         map NAME ID iova=N page=N [pages=1] [write=1] | unmap|query NAME ID iova=N [pages=1]",
        "changes a device domain, or asks what it maps",
    ),
    spec("interrupts", (0, 0), &[], "", "lists the device interrupts"),
    spec(
        "retarget",
        (3, 3),
        &["vp", "vector"],
        "NAME DEVICE MESSAGE vp=N vector=N",
        "moves a message of a device to another VP or vector",
    ),
    spec("faults", (0, 0), &[], "", "lists the faults of devices"),
    spec(
        "counters",
        (0, 2),
        &[],
        "[NAME | lp N]",
        "shows counters of a partition or an LP",
    ),
    spec(
        "console",
        (1, 1),
        &[],
        "NAME|detach",
        "shows a partition's console here, or none",
    ),
    spec(
        "input",
        (2, 2),
        &[],
        "NAME \"TEXT\"",
        "types on a partition's console",
    ),
    spec(
        "hypercall",
        (1, 65),
        &["reps", "results"],
        "CODE [WORD…] [reps=N] [results=N]",
        "makes a call with these 8-byte words and shows the status and N result words",
    ),
    spec(
        "overwrite",
        (3, 3),
        &["unmap"],
        "NAME ADDRESS VALUE [unmap=1]",
        "writes eight bytes of a partition's memory, after taking the page out of its map where that is asked",
    ),
    spec("log", (0, 0), &[], "", "shows the hypervisor's log"),
    spec(
        "wait",
        (1, 1),
        &[],
        "NAME",
        "waits until a partition has stopped",
    ),
    spec(
        "bench",
        (0, 0),
        &[],
        "",
        "measures what mapping pages costs",
    ),
    spec(
        "exit",
        (1, 1),
        &[],
        "N",
        "ends the emulator that this machine runs in",
    ),
    spec("reset", (0, 0), &[], "", "resets the machine"),
    spec("power-off", (0, 0), &[], "", "powers the machine off"),
];

/// The command that a word names.
pub fn find(word: &Word) -> Result<&'static Spec, Failure> {
    let name = word.text.as_str();
    let found = COMMANDS.iter().find(|spec| spec.name == name);
    found.filter(|_| word.key.is_none()).ok_or_else(|| {
        Failure::usage(format!(
            "a command was expected, found \"{name}\": help lists them"
        ))
    })
}

/// Answers `help`.
pub fn help(arguments: &Arguments) -> Result<Reply, Failure> {
    let Some(name) = arguments.optional_word(0) else {
        let row = |spec: &Spec| {
            Row::new()
                .with("command", spec.name)
                .with("what", spec.help)
        };
        let mut reply = Reply::of(COMMANDS.iter().map(row));
        reply.result = Row::new().with("more", "help COMMAND says how it is written");
        return Ok(reply);
    };
    let found = COMMANDS.iter().find(|spec| spec.name == name);
    let spec =
        found.ok_or_else(|| Failure::not_found(format!("there is no command \"{name}\"")))?;
    let usage = format!("{} {}", spec.name, spec.usage);
    Ok(Reply::result(
        Row::new()
            .with("usage", usage.trim_end())
            .with("what", spec.help),
    ))
}

/// Words that may stand at the end of what was typed, for completion. Names of devices have colons, those of files
/// dots, those of partitions neither.
#[must_use]
pub fn candidates(before: &str, names: &[String]) -> Vec<String> {
    let mut words = before.split_whitespace();
    let command = words.next().filter(|_| before.trim_start().contains(' '));
    let Some(command) = command else {
        return COMMANDS.iter().map(|spec| spec.name.to_string()).collect();
    };
    let Some(spec) = COMMANDS.iter().find(|spec| spec.name == command) else {
        return Vec::new();
    };
    if spec.name == "help" {
        return COMMANDS.iter().map(|spec| spec.name.to_string()).collect();
    }
    let place = before.split_whitespace().count() - usize::from(!before.ends_with(' '));
    let wanted = spec.usage.split(' ').nth(place.saturating_sub(1));
    let fits = |name: &&String| match wanted.unwrap_or("").trim_matches(['[', ']']) {
        "NAME" | "NAME|detach" => !name.contains([':', '.']),
        "DEVICE" => name.contains(':'),
        "IMAGE" => name.contains('.') && !name.contains(':'),
        _ => true,
    };
    let keys = spec.keys.iter().filter(|_| place > spec.words.0);
    let keys = keys.map(|key| format!("{key}="));
    keys.chain(names.iter().filter(fits).cloned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_completed_by_what_may_stand_there() {
        let names: Vec<String> = ["net", "net.elf", "0000:00:04.0"].map(Into::into).into();
        assert_eq!(candidates("assign ", &names), ["net"]);
        assert_eq!(candidates("assign n", &names), ["net"]);
        assert_eq!(candidates("assign net ", &names), ["0000:00:04.0"]);
        assert_eq!(candidates("load net n", &names), ["net.elf"]);
        assert_eq!(
            candidates("load net net.elf ", &names)[..2],
            ["cmdline=", "module="]
        );
        assert!(candidates("cre", &names).contains(&"create".to_string()));
    }
}
