//! Start scripts with variables: `$NONCE`, `$DEVICE` and the like are replaced before the script reaches the
//! boot volume.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use qemu_suite::protocol::quote;

/// Values by variable name.
pub type Variables = BTreeMap<&'static str, String>;

/// Replaces every `$NAME` (capital letters, digits, underscores) of `text`; `$$` stands for a dollar sign.
///
/// Lines that begin with `#` stay as they are.
pub fn substitute(text: &str, variables: &Variables) -> Result<String> {
    let mut out = String::with_capacity(text.len());
    for (index, line) in text.lines().enumerate() {
        if line.trim_start().starts_with('#') {
            out.push_str(line);
        } else {
            out.push_str(substitute_line(line, index + 1, variables)?.trim_end());
        }
        out.push('\n');
    }
    Ok(out)
}

fn substitute_line(line: &str, number: usize, variables: &Variables) -> Result<String> {
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        if let Some(after) = after.strip_prefix('$') {
            out.push('$');
            rest = after;
            continue;
        }
        let is_name = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
        let end = after.find(|c| !is_name(c)).unwrap_or(after.len());
        let (name, behind) = after.split_at(end);
        let Some(value) = variables.get(name) else {
            let known: Vec<&str> = variables.keys().copied().collect();
            bail!(
                "line {number} of the script: there is no variable ${name}; there are {}, and $$ for a dollar sign",
                known
                    .iter()
                    .map(|name| format!("${name}"))
                    .collect::<Vec<_>>()
                    .join(", ")
            );
        };
        out.push_str(value);
        rest = behind;
    }
    out.push_str(rest);
    Ok(out)
}

/// The guest of `cargo xtask run --guest`.
#[derive(Clone, Debug, Default)]
pub struct Guest {
    /// The image's name on the boot volume.
    pub image: String,
    /// Its command line.
    pub command_line: String,
    /// Names of its modules on the boot volume.
    pub modules: Vec<String>,
    /// RAM in MiB.
    pub memory: u32,
    /// Virtual processors.
    pub vps: u32,
    /// Whether their local APICs have xAPIC mode alone.
    pub xapic: bool,
    /// Device ids, each with whether the device can reset itself.
    pub devices: Vec<(String, bool)>,
    /// Whether a person sits at the console.
    pub attached: bool,
}

/// The script that boots one guest.
pub fn for_guest(guest: &Guest) -> String {
    let mut lines = vec![format!(
        "create guest{} memory={}M vps={} image={}",
        if guest.xapic { " without-x2apic" } else { "" },
        guest.memory,
        guest.vps,
        quote(&guest.image)
    )];
    let mut load = format!(
        "load guest {} cmdline={}",
        quote(&guest.image),
        quote(&guest.command_line)
    );
    for module in &guest.modules {
        load.push_str(&format!(" module={}", quote(module)));
    }
    lines.push(load);
    for (device, resets) in &guest.devices {
        lines.push(format!(
            "assign guest {device}{}",
            if *resets { "" } else { " without-reset" }
        ));
    }
    lines.push("start guest".into());
    if guest.attached {
        lines.push("console guest".into());
    }
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables() -> Variables {
        Variables::from([("NONCE", "abc".to_string()), ("RESET", String::new())])
    }

    #[test]
    fn variables_are_replaced() {
        let text =
            "# $ANYTHING\nload net net.elf cmdline=\"nonce=$NONCE price=$$5\"\nassign net $RESET\n";
        let expected = "# $ANYTHING\nload net net.elf cmdline=\"nonce=abc price=$5\"\nassign net\n";
        assert_eq!(substitute(text, &variables()).unwrap(), expected);
    }

    #[test]
    fn an_unknown_variable_is_named_with_its_line() {
        let error = substitute("help\nload $NONSENSE\n", &variables())
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("line 2 of the script: there is no variable $NONSENSE"),
            "{error}"
        );
        assert!(error.contains("$NONCE, $RESET"), "{error}");
    }

    #[test]
    fn the_demonstration_uses_only_what_there_is() {
        let names = ["NONCE", "DEVICE", "RESET", "IMAGE"];
        let variables = names
            .into_iter()
            .map(|name| (name, name.to_lowercase()))
            .collect();
        let text = substitute(include_str!("../scripts/demonstration.cfg"), &variables).unwrap();
        assert!(
            text.contains("nonce=nonce") && text.contains("assign net device reset"),
            "{text}"
        );
    }

    #[test]
    fn a_guest_becomes_a_script() {
        let guest = Guest {
            image: "my guest.elf".into(),
            command_line: "a \"b\"".into(),
            modules: vec!["init.img".into()],
            memory: 256,
            vps: 2,
            xapic: false,
            devices: vec![
                ("0000:00:10.0".into(), true),
                ("0000:00:11.0".into(), false),
            ],
            attached: true,
        };
        let expected = "create guest memory=256M vps=2 image=\"my guest.elf\"\n\
            load guest \"my guest.elf\" cmdline=\"a \\\"b\\\"\" module=init.img\n\
            assign guest 0000:00:10.0\nassign guest 0000:00:11.0 without-reset\nstart guest\nconsole guest\n";
        assert_eq!(for_guest(&guest), expected);
        let old = for_guest(&Guest {
            xapic: true,
            ..guest
        });
        assert!(old.starts_with("create guest without-x2apic memory=256M "));
    }
}
