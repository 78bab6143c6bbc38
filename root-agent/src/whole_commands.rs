//! Tests of whole commands, by the line protocol, on a stand-in for the hypervisor.

use abi::message::{InterceptHeader, Message, PortIntercept, access, kind};
use abi::vendor::DeviceInfo;
use abi::vp::Segment;
use abi::{Call, Status, register};
use alloc::format;
use alloc::string::{String, ToString};
use zerocopy::IntoBytes;

use crate::agent::Agent;
use crate::guest_image::elf::tests::elf64;
use crate::intercept;
use crate::service::Service;
use crate::stand_in::{StandIn, agent};

struct Talk {
    agent: Agent<StandIn>,
    service: Service,
}

impl Talk {
    fn with(files: &[(&str, &[u8])], devices: &[DeviceInfo]) -> Self {
        let agent = agent(StandIn {
            files: files
                .iter()
                .map(|(name, bytes)| (name.to_string(), bytes.to_vec()))
                .collect(),
            devices: devices.to_vec(),
            ..StandIn::default()
        });
        let service = Service::new(&agent);
        Self { agent, service }
    }

    fn new() -> Self {
        let image = elf64(0x10_0000, &[(0x10_0000, b"code", 0x1000)]);
        Self::with(&[("guest.elf", &image), ("bad.elf", b"\x7fELF\x02")], &[])
    }

    fn say(&mut self, line: &str) -> String {
        let line = format!("t {line}\n");
        let answer: String = line
            .bytes()
            .map(|byte| self.service.program_byte(&self.agent, byte))
            .collect();
        answer
    }

    fn step(&mut self) -> String {
        self.service.step(&self.agent).program
    }

    fn port(&self, port: u16, write: bool, rax: u64) {
        let long = Segment {
            attributes: 0xa09b,
            ..Segment::default()
        };
        let message = PortIntercept {
            header: InterceptHeader {
                length_cr8: 2,
                access: if write { access::WRITE } else { access::READ },
                execution_state: 1 << 4,
                cs: long,
                rip: 0x10_0000,
                ..InterceptHeader::default()
            },
            port,
            access_info: 1,
            rax,
            ..PortIntercept::default()
        };
        let mut payload = [0; 240];
        payload[..128].copy_from_slice(message.as_bytes());
        let message = Message {
            message_type: kind::IO_PORT_INTERCEPT,
            sender: self.agent.partitions()[0].id,
            payload,
            ..Message::default()
        };
        intercept::handle(&self.agent, &message);
    }

    fn nothing_is_left(&self) {
        let books = self.agent.machine.books.lock().unwrap();
        assert!(books.taken.is_empty() && books.lent.is_empty() && books.partitions.is_empty());
        assert!(self.agent.partitions().is_empty());
    }
}

#[test]
fn a_partition_lives_from_create_to_delete() {
    let mut talk = Talk::new();
    let created = talk.say("create g memory=16M vps=3 lps=1,0");
    assert!(created.starts_with("t ok name=g id="), "{created}");
    assert!(created.contains("vps=3 lps=1,0,1"), "{created}");
    let loaded = talk.say("load g guest.elf cmdline=\"nonce=1 x\"");
    assert_eq!(loaded, "t ok name=g kind=elf64 modules=0\n");
    assert_eq!(talk.say("start g"), "t ok name=g\n");
    assert_eq!(talk.say("wait g"), "", "it runs");
    assert!(!talk.step().contains("t ok"));
    "hi\n"
        .bytes()
        .for_each(|byte| talk.port(0x3f8, true, byte.into()));
    talk.port(0xf4, true, 3);
    let told = talk.step();
    assert!(told.contains("t ok reason=exit code=7"), "{told}");
    assert!(
        told.contains("* console partition=g line=\"hi\"\n"),
        "{told}"
    );
    assert!(
        told.contains("* stopped partition=g reason=exit code=7"),
        "{told}"
    );
    assert_eq!(talk.say("delete g"), "t ok name=g\n");
    talk.nothing_is_left();
}

#[test]
fn a_port_read_is_answered_in_the_register_and_steps_over_the_instruction() {
    let mut talk = Talk::new();
    talk.say("create g memory=2M");
    talk.say("load g guest.elf");
    talk.say("start g");
    talk.port(0x3fd, false, 0x1234_5678);
    let books = talk.agent.machine.books.lock().unwrap();
    assert_eq!(books.registers[&register::RAX], 0x1234_5660);
    assert_eq!(books.registers[&register::RIP], 0x10_0002);
    assert_eq!(books.registers[&register::INTERCEPT_SUSPEND], 0);
}

#[test]
fn a_creation_that_fails_anywhere_leaves_nothing() {
    let mut failed = 0;
    for at in 0..20 {
        let mut talk = Talk::new();
        talk.agent.machine.books.lock().unwrap().fail =
            Some((at, Status::INSUFFICIENT_ROOT_MEMORY));
        let answer = talk.say("create g memory=8M vps=4");
        if answer.starts_with("t error INSUFFICIENT_ROOT_MEMORY") {
            failed += 1;
            talk.nothing_is_left();
        } else {
            assert!(answer.starts_with("t ok"), "{answer}");
        }
    }
    assert_eq!(
        failed, 9,
        "create, deposit, initialize, map, four VPs, deposit"
    );
}

#[test]
fn memory_that_the_hypervisor_asks_for_is_deposited_and_comes_back() {
    for at in 2..8 {
        let mut talk = Talk::new();
        talk.agent.machine.books.lock().unwrap().fail = Some((at, Status::INSUFFICIENT_MEMORY));
        assert!(talk.say("create g memory=8M vps=4").starts_with("t ok"));
        let calls = talk.agent.machine.books.lock().unwrap().calls.clone();
        assert_eq!(
            calls.iter().filter(|c| **c == Call::DepositMemory).count(),
            3
        );
        talk.say("delete g");
        talk.nothing_is_left();
    }
}

#[test]
fn images_that_are_refused_change_nothing() {
    let mut talk = Talk::new();
    talk.say("create g memory=2M");
    let before = talk.agent.machine.books.lock().unwrap().taken.clone();
    assert!(talk.say("load g bad.elf").starts_with("t error BAD_IMAGE"));
    assert!(talk.say("load g none.elf").starts_with("t error NOT_FOUND"));
    assert!(
        talk.say("load g guest.elf module=none")
            .starts_with("t error NOT_FOUND")
    );
    assert_eq!(talk.agent.machine.books.lock().unwrap().taken, before);
    assert!(talk.say("start g").starts_with("t error BAD_STATE"));
    assert!(talk.say("load g guest.elf").starts_with("t ok"));
}

#[test]
fn wrong_words_are_named_with_what_was_expected() {
    let mut talk = Talk::new();
    for (line, expected) in [
        ("fly", "found \\\"fly\\\""),
        ("create", "create NAME"),
        ("create g with-x2apic", "found \\\"with-x2apic\\\""),
        ("create g colour=red", "found \\\"colour=\\\""),
        ("create g memory=lots", "found \\\"lots\\\""),
        ("create g memory=3M", "steps of 2M"),
        ("create g lps=7", "there is no LP 7"),
        ("create g vps=0", "1 to 64"),
        ("create a/b", "letters, digits"),
        ("assign g 00:1f.9", "there is no partition"),
        ("whynot 1", "0000:02:00.0"),
        ("exit 256", "0 to 255"),
        ("show \"x", "closing quotation mark"),
    ] {
        let answer = talk.say(line);
        assert!(answer.starts_with("t error "), "{line}: {answer}");
        assert!(answer.contains(expected), "{line}: {answer}");
    }
    talk.nothing_is_left();
}

#[test]
fn a_device_that_cannot_be_assigned_is_refused_with_its_reason() {
    let nic = address::DeviceId::new(0, 2, 0, 0).unwrap();
    let info = DeviceInfo {
        device: crate::calls::device::name(nic),
        reason: 1,
        ..DeviceInfo::default()
    };
    let mut talk = Talk::with(&[], &[info]);
    talk.say("create g memory=2M");
    let answer = talk.say("assign g 02:00.0");
    assert!(answer.contains("FEATURE_UNAVAILABLE"), "{answer}");
    assert!(answer.contains("the machine has no IOMMU"), "{answer}");
    let why = talk.say("whynot 0000:02:00.0");
    assert!(
        why.contains("assignable=no reason=\"the machine has no IOMMU\""),
        "{why}"
    );
    assert!(
        talk.say("assign g 03:00.0")
            .starts_with("t error NOT_FOUND")
    );
}

#[test]
fn a_script_runs_until_its_first_error_and_names_the_line() {
    let script = b"# make one\n\ncreate g memory=2M\nload g nothing.elf # no such file\nstart g\n";
    let mut talk = Talk::with(&[("start.cfg", script)], &[]);
    let told: String = (0..8).map(|_| talk.step()).collect();
    assert!(told.starts_with("* ready\n"), "{told}");
    assert!(
        told.contains("* script line=4 error=\"NOT_FOUND: "),
        "{told}"
    );
    assert!(told.contains("nothing.elf"), "{told}");
    assert_eq!(told.matches("* script").count(), 1);
    assert_eq!(talk.agent.partitions().len(), 1);
}

#[test]
fn exit_writes_the_port() {
    let mut talk = Talk::new();
    talk.say("exit 16");
    assert_eq!(talk.agent.machine.books.lock().unwrap().ports, [(0xf4, 16)]);
}

#[test]
fn a_person_gets_a_table_and_programs_noise_does_not_show() {
    let mut talk = Talk::new();
    talk.step();
    talk.say("create g memory=2M");
    let typed = "partit\tx\x7f\r";
    let shown: String = typed
        .bytes()
        .map(|key| talk.service.console_byte(&talk.agent, key))
        .collect();
    assert!(shown.contains("name  id  state"), "{shown}");
    assert!(shown.ends_with("count: 1\nportcullis> "), "{shown}");
}

#[test]
fn a_triple_fault_ends_the_partition() {
    let mut talk = Talk::new();
    talk.say("create g memory=2M");
    talk.say("load g guest.elf");
    talk.say("start g");
    let message = Message {
        message_type: kind::UNRECOVERABLE_EXCEPTION,
        sender: talk.agent.partitions()[0].id,
        ..Message::default()
    };
    intercept::handle(&talk.agent, &message);
    let told = talk.step();
    assert!(told.contains("reason=fault code=2"), "{told}");
    assert!(talk.say("start g").starts_with("t error BAD_STATE"));
}
