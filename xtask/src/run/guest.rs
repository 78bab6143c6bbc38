//! A guest of your own, as a child partition.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::Result;
use qemu_suite::config::{Config, MOST_DEVICES, Network};
use qemu_suite::machine::Kit;
use qemu_suite::protocol::Event;

use super::session::{Session, script_error, stop_reason};
use super::{Refused, Run, code, read};
use crate::progress::say;
use crate::script::{self, Guest};

/// RAM for everything but the guest, in MiB.
pub const OTHER_MEMORY: u32 = 768;
/// Names that the boot volume needs for itself.
const TAKEN: [&str; 3] = ["hypervisor.elf", "root-agent.elf", "start.cfg"];

/// What was decided before anything was started.
pub struct Plan {
    guest: Guest,
    /// (name on the boot volume, path here)
    files: Vec<(String, String)>,
}

/// Checks the options and the files.
pub fn plan(options: &Run, image: &Path) -> Result<Plan, Refused> {
    let memory = options.memory.unwrap_or(256);
    check_image(image, memory)?;
    let mut files = vec![(name_of(image)?, image.display().to_string())];
    for module in &options.modules {
        read("the module", module)?;
        files.push((name_of(module)?, module.display().to_string()));
    }
    let names: BTreeSet<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
    if names.len() != files.len() {
        return Err(Refused(
            "two files for the guest have the same name: rename one of them".into(),
        ));
    }
    let devices = options.devices.iter().enumerate();
    let guest = Guest {
        image: files
            .first()
            .map(|(name, _)| name.clone())
            .unwrap_or_default(),
        command_line: options.cmdline.clone(),
        modules: files.iter().skip(1).map(|(name, _)| name.clone()).collect(),
        memory,
        vps: options.vps.unwrap_or(1),
        xapic: options.xapic,
        devices: devices
            .map(|(index, device)| (Config::device_id(index), device.kind().resets()))
            .collect(),
        attached: !options.headless,
    };
    if guest.devices.len() > MOST_DEVICES {
        return Err(Refused(format!(
            "at most {MOST_DEVICES} devices can be assigned"
        )));
    }
    Ok(Plan { guest, files })
}

fn name_of(path: &Path) -> Result<String, Refused> {
    let name = path
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    if name.is_empty() || TAKEN.contains(&name.to_lowercase().as_str()) {
        return Err(Refused(format!(
            "{} cannot be used under this name: rename it",
            path.display()
        )));
    }
    Ok(name)
}

/// What can be said of an image without starting anything; the root agent checks the rest.
fn check_image(path: &Path, memory: u32) -> Result<(), Refused> {
    let bytes = read("the guest", path)?;
    let wrong = |what: String| Err(Refused(format!("the guest {} {what}", path.display())));
    if !bytes.starts_with(b"\x7fELF") {
        return wrong(
            "is not an ELF file: a multiboot1 (32-bit ELF) or an ELF64 image is needed".into(),
        );
    }
    if bytes.len() as u64 >= u64::from(memory) << 20 {
        return wrong(format!(
            "is larger than its {memory} MiB of RAM: give it more with --memory"
        ));
    }
    let (class, order, machine) = (bytes.get(4), bytes.get(5), bytes.get(18..20));
    match (class, order, machine) {
        (Some(1), Some(1), Some([3, 0])) if has_multiboot_header(&bytes) => Ok(()),
        (Some(1), Some(1), Some([3, 0])) => {
            wrong("is a 32-bit ELF file without a multiboot1 header in its first 8 KiB".into())
        }
        (Some(2), Some(1), Some([62, 0])) => Ok(()),
        _ => wrong("is an ELF file for another processor: x86 or x86-64 is needed".into()),
    }
}

/// Magic, flags and checksum add up to zero, 4-byte aligned, within the first 8 KiB.
fn has_multiboot_header(bytes: &[u8]) -> bool {
    let head = bytes.get(..8192).unwrap_or(bytes);
    head.windows(12).step_by(4).any(|header| {
        let (words, _) = header.as_chunks::<4>();
        let words: Vec<u32> = words.iter().map(|word| u32::from_le_bytes(*word)).collect();
        words.first() == Some(&0x1bad_b002)
            && words
                .iter()
                .fold(0, |sum: u32, word| sum.wrapping_add(*word))
                == 0
    })
}

/// Boots and watches.
pub fn run(options: &Run, kit: &Kit, mut config: Config, plan: &Plan) -> Result<u8> {
    if config.bochs.is_none() {
        config.accelerator = options.accel.decide(kit)?;
    }
    config.memory = config.memory.max(plan.guest.memory + OTHER_MEMORY);
    for device in &options.devices {
        config = config.device(
            device.kind(),
            Network::User {
                forwarded_port: None,
            },
        );
    }
    config.script = script::for_guest(&plan.guest);
    config.files = absolute(&plan.files);
    say(format!(
        "starting {} with the guest {}",
        config.emulator(kit),
        plan.guest.image
    ));
    if !options.headless {
        say("Ctrl-A x ends the emulator");
    }
    let mut session = Session::start(kit, &config, options.console(), options.limit())?;
    loop {
        for event in session.step()? {
            if let Some(code) = judge(options, &session, &event)? {
                return Ok(code);
            }
        }
        if let Some(status) = session.machine.ended() {
            if !options.headless && (status.success() || session.machine.ended_by_hand()) {
                return Ok(0);
            }
            let sentence = format!("the machine ended ({status}) before the guest did");
            return Err(session.failed(code::HYPERVISOR, sentence));
        }
    }
}

fn absolute(files: &[(String, String)]) -> Vec<(String, String)> {
    let resolve = |path: &String| match fs::canonicalize(path) {
        Ok(absolute) => absolute.display().to_string(),
        Err(_) => path.clone(),
    };
    files
        .iter()
        .map(|(name, path)| (name.clone(), resolve(path)))
        .collect()
}

/// The exit code, when this event ends the run.
fn judge(options: &Run, session: &Session<'_>, event: &Event) -> Result<Option<u8>> {
    let of_guest = event.fields.get("partition") == Some("guest");
    match event.name.as_str() {
        "script" => Err(session.failed(code::REFUSED, script_error(event))),
        "console" if of_guest && options.headless => {
            println!("{}", event.fields.get("line").unwrap_or_default());
            Ok(None)
        }
        "stopped" if of_guest => {
            if event.fields.get("reason") == Some("fault") {
                eprintln!("portcullis: the guest faulted: {}", stop_reason(event));
            }
            Ok(Some(exit_code(event)))
        }
        _ => Ok(None),
    }
}

/// What the end of a guest means for the exit code.
pub fn exit_code(event: &Event) -> u8 {
    match event.fields.get("reason") {
        Some("exit") => event
            .fields
            .number("code")
            .map_or(code::HYPERVISOR, |code| (code & 0xff) as u8),
        Some("fault") => code::FAULT,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use qemu_suite::protocol::{Message, parse};
    use qemu_suite::scratch::Scratch;

    fn stopped(rest: &str) -> u8 {
        match parse(&format!("* stopped partition=guest {rest}")) {
            Message::Event(event) => exit_code(&event),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn ends_have_exit_codes() {
        assert_eq!(stopped("reason=exit code=7"), 7);
        assert_eq!(stopped("reason=exit code=257"), 1);
        assert_eq!(stopped("reason=shutdown code=0"), 0);
        assert_eq!(stopped("reason=fault code=2 detail=\"triple fault\""), 2);
    }

    fn refusal(bytes: &[u8]) -> Option<String> {
        let scratch = Scratch::new("guest").unwrap();
        let path = scratch.path().join("image");
        fs::write(&path, bytes).unwrap();
        check_image(&path, 1).err().map(|refused| refused.0)
    }

    #[test]
    fn images_are_checked_before_anything_starts() {
        let elf = |class: u8, machine: u8| {
            let mut bytes = vec![0u8; 64];
            bytes[..6].copy_from_slice(&[0x7f, b'E', b'L', b'F', class, 1]);
            bytes[18] = machine;
            bytes
        };
        assert!(refusal(b"hello").unwrap().contains("not an ELF file"));
        assert!(refusal(&elf(2, 183)).unwrap().contains("another processor"));
        assert!(
            refusal(&elf(1, 3))
                .unwrap()
                .contains("without a multiboot1 header")
        );
        assert_eq!(refusal(&elf(2, 62)), None);
        let mut multiboot = elf(1, 3);
        for word in [
            0x1bad_b002_u32,
            3,
            0x1bad_b002_u32.wrapping_add(3).wrapping_neg(),
        ] {
            multiboot.extend(word.to_le_bytes());
        }
        assert_eq!(refusal(&multiboot), None);
        let mut large = elf(2, 62);
        large.resize(1 << 20, 0);
        assert!(refusal(&large).unwrap().contains("--memory"));
        assert!(
            refusal(&elf(2, 62)[..5])
                .unwrap()
                .contains("another processor")
        );
    }

    #[test]
    fn names_of_the_volume_are_refused() {
        assert!(name_of(Path::new("/x/Start.cfg")).is_err());
        assert_eq!(name_of(Path::new("/x/linux.elf")).unwrap(), "linux.elf");
    }
}
