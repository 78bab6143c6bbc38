//! QEMU: where it is, and the command line for a machine.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::config::{Accelerator, Config, Device, DeviceKind, Dialect, Iommu, Network};
use crate::trace;

/// An emulator with its firmware, as the set-up found or made them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Emulator {
    /// The program, or the loader that runs it.
    pub program: PathBuf,
    /// Words before the emulator's own arguments.
    pub prefix: Vec<String>,
    /// The UEFI firmware's code.
    pub firmware_code: PathBuf,
    /// A pristine store of the firmware's variables; every run gets a copy.
    pub firmware_variables: PathBuf,
    /// The first line of what it says about its version.
    pub version: String,
}

impl Emulator {
    /// A command that starts the emulator, without arguments of a machine yet.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.prefix);
        command
    }
}

/// Where the first serial line goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Console {
    /// This terminal (and the log).
    Terminal,
    /// Only the log.
    Log,
}

/// The files of one run, all below one folder.
#[derive(Clone, Debug)]
pub struct RunFiles {
    /// The boot volume's folder.
    pub volume: PathBuf,
    /// This run's copy of the firmware's variables.
    pub variables: PathBuf,
    /// What the first serial line said.
    pub serial_log: PathBuf,
    /// The socket of the first serial line, for who wants to type; the emulator listens.
    pub console_socket: PathBuf,
    /// The socket of the line protocol; the harness listens.
    pub protocol_socket: PathBuf,
    /// The socket of the emulator's own monitor; the emulator listens.
    pub monitor_socket: PathBuf,
    /// The recorded trace events.
    pub trace_log: PathBuf,
}

impl RunFiles {
    /// The usual names below `folder`.
    pub fn below(folder: &Path) -> Self {
        Self {
            volume: folder.join("volume"),
            variables: folder.join("variables.fd"),
            serial_log: folder.join("serial.log"),
            console_socket: folder.join("com1"),
            protocol_socket: folder.join("com2"),
            monitor_socket: folder.join("qmp"),
            trace_log: folder.join("trace.log"),
        }
    }
}

/// The ends of the wires of a run: for each device the harness's UDP port and the emulator's.
pub type WirePorts = Vec<Option<(u16, u16)>>;

/// The emulator's arguments for `config`.
pub fn arguments(
    emulator: &Emulator,
    config: &Config,
    files: &RunFiles,
    console: Console,
    wires: &WirePorts,
) -> Vec<String> {
    let mut words = Words::default();
    processor(&mut words, config);
    words.add("-m", format!("{}M", config.memory));
    words.add("-nodefaults", "");
    words.add("-display", "none");
    words.add("-no-reboot", "");
    let pflash = |read_only: &str, file: &Path| {
        format!("if=pflash,format=raw,{read_only}file={}", escape(file))
    };
    words.add("-drive", pflash("readonly=on,", &emulator.firmware_code));
    words.add("-drive", pflash("", &files.variables));
    // vvfat cuts its own argument at commas and colons, which the folder's name therefore must not have.
    words.add(
        "-drive",
        format!("format=raw,file=fat:rw:{}", files.volume.display()),
    );
    serial(&mut words, files, console);
    words.add(
        "-qmp",
        format!("unix:{},server=on,wait=off", escape(&files.monitor_socket)),
    );
    words.add("-device", "isa-debug-exit,iobase=0xf4,iosize=4");
    for event in trace::events(config.dialect, &config.watched) {
        words.add("-trace", event);
    }
    if !config.watched.is_empty() {
        words.add("-D", files.trace_log.display());
    }
    for (index, device) in config.devices.iter().enumerate() {
        add_device(
            &mut words,
            index,
            device,
            wires.get(index).copied().flatten(),
        );
    }
    words.0.extend(config.extra.iter().cloned());
    words.0
}

#[derive(Default)]
struct Words(Vec<String>);

impl Words {
    fn add(&mut self, option: &str, value: impl ToString) {
        self.0.push(option.into());
        let value = value.to_string();
        if !value.is_empty() {
            self.0.push(value);
        }
    }
}

/// A comma in a value is written twice.
fn escape(path: &Path) -> String {
    path.display().to_string().replace(',', ",,")
}

fn processor(words: &mut Words, config: &Config) {
    let accelerator = match config.accelerator {
        Accelerator::Tcg => "tcg,thread=multi",
        Accelerator::Counted => "tcg,thread=single",
        Accelerator::Kvm => "kvm",
    };
    words.add("-accel", accelerator);
    if config.accelerator == Accelerator::Counted {
        words.add("-icount", "shift=0,sleep=off");
    }
    let kvm = config.accelerator == Accelerator::Kvm;
    // Under KVM, interrupt remapping needs the IOAPIC in the emulator rather than in the host's kernel.
    words.add(
        "-machine",
        if kvm {
            "q35,kernel-irqchip=split"
        } else {
            "q35"
        },
    );
    words.add(
        "-cpu",
        if kvm {
            "host,+x2apic"
        } else {
            "EPYC,+svm,+npt,+x2apic,+vgif"
        },
    );
    words.add("-smp", config.lps);
    iommu(words, config);
}

fn iommu(words: &mut Words, config: &Config) {
    let (remaps, x2apic) = match config.iommu {
        Iommu::None => return,
        Iommu::Whole => ("on", "on"),
        Iommu::WithoutRemapping => ("off", "off"),
        Iommu::WithoutX2apic => ("on", "off"),
    };
    let model = match config.dialect {
        Dialect::Intel => format!(
            "intel-iommu,intremap={remaps},eim={x2apic},caching-mode=on,aw-bits=48,device-iotlb=on"
        ),
        Dialect::Amd => format!("amd-iommu,intremap={remaps},xtsup={x2apic}"),
    };
    words.add("-device", model);
}

fn serial(words: &mut Words, files: &RunFiles, console: Console) {
    let log = format!("logfile={},logappend=off", escape(&files.serial_log));
    let first = match console {
        // mux: Ctrl-A x ends the emulator; signal=off: Ctrl-C belongs to the console's line editor.
        Console::Terminal => format!("stdio,id=com1,mux=on,signal=off,{log}"),
        Console::Log => format!(
            "socket,id=com1,path={},server=on,wait=off,{log}",
            escape(&files.console_socket)
        ),
    };
    words.add("-chardev", first);
    words.add("-serial", "chardev:com1");
    words.add(
        "-chardev",
        format!("socket,id=com2,path={}", escape(&files.protocol_socket)),
    );
    words.add("-serial", "chardev:com2");
}

fn add_device(words: &mut Words, index: usize, device: &Device, wire: Option<(u16, u16)>) {
    let address = format!("addr={:x}.0", Config::slot(index));
    let mut model = match device.kind {
        DeviceKind::Igb => format!("igb,{address}"),
        DeviceKind::E1000e => format!("e1000e,{address}"),
        DeviceKind::Edu => format!("edu,{address},dma_mask=0xffffffffffffffff"),
        DeviceKind::Nvme => {
            words.add(
                "-drive",
                format!("if=none,id=disk{index},format=raw,file.driver=null-co,file.size=16M,file.read-zeroes=on"),
            );
            format!("nvme,{address},serial=portcullis{index},drive=disk{index}")
        }
    };
    if device.kind.is_nic() {
        // A card's own boot code would only cost time.
        model.push_str(&format!(
            ",romfile=,mac=52:54:00:12:34:{:02x}",
            0x56 + index
        ));
        if let Some(network) = network(index, &device.network, wire) {
            words.add("-netdev", network);
            model.push_str(&format!(",netdev=net{index}"));
        }
    }
    words.add("-device", model);
}

fn network(index: usize, network: &Network, wire: Option<(u16, u16)>) -> Option<String> {
    match (network, wire) {
        (
            Network::User {
                forwarded_port: None,
            },
            _,
        ) => Some(format!("user,id=net{index}")),
        (
            Network::User {
                forwarded_port: Some(port),
            },
            _,
        ) => Some(format!(
            "user,id=net{index},hostfwd=tcp:127.0.0.1:{port}-:80"
        )),
        (Network::Wire, Some((harness, emulator))) => Some(format!(
            "dgram,id=net{index},local.type=inet,local.host=127.0.0.1,local.port={emulator},\
             remote.type=inet,remote.host=127.0.0.1,remote.port={harness}"
        )),
        (Network::Wire, None) | (Network::Unplugged, _) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(config: &Config, console: Console, wires: &WirePorts) -> String {
        let emulator = Emulator {
            program: "qemu".into(),
            prefix: Vec::new(),
            firmware_code: "/f/code,1.fd".into(),
            firmware_variables: "/f/vars.fd".into(),
            version: String::new(),
        };
        arguments(
            &emulator,
            config,
            &RunFiles::below(Path::new("/r")),
            console,
            wires,
        )
        .join(" ")
    }

    #[test]
    fn the_default_machine() {
        let line = line(&Config::default(), Console::Log, &Vec::new());
        for part in [
            "-accel tcg,thread=multi -machine q35 -cpu EPYC,+svm,+npt,+x2apic,+vgif -smp 2",
            "-device intel-iommu,intremap=on,eim=on,caching-mode=on,aw-bits=48,device-iotlb=on",
            "readonly=on,file=/f/code,,1.fd",
            "-drive format=raw,file=fat:rw:/r/volume",
            "-chardev socket,id=com1,path=/r/com1,server=on,wait=off,logfile=/r/serial.log,logappend=off",
            "-serial chardev:com1 -chardev socket,id=com2,path=/r/com2",
            "-chardev socket,id=com2,path=/r/com2 -serial chardev:com2",
            "-device isa-debug-exit,iobase=0xf4,iosize=4",
        ] {
            assert!(line.contains(part), "{part}\nis not in\n{line}");
        }
        assert!(!line.contains("-icount") && !line.contains("-trace") && !line.contains("-netdev"));
    }

    #[test]
    fn devices_sit_at_known_slots() {
        let config = Config::default()
            .device(
                DeviceKind::Igb,
                Network::User {
                    forwarded_port: Some(4321),
                },
            )
            .device(DeviceKind::E1000e, Network::Wire)
            .device(DeviceKind::Edu, Network::Unplugged);
        let line = line(&config, Console::Log, &vec![None, Some((7, 8)), None]);
        assert!(
            line.contains("user,id=net0,hostfwd=tcp:127.0.0.1:4321-:80"),
            "{line}"
        );
        assert!(
            line.contains("igb,addr=4.0,romfile=,mac=52:54:00:12:34:56,netdev=net0"),
            "{line}"
        );
        assert!(
            line.contains("local.port=8,remote.type=inet,remote.host=127.0.0.1,remote.port=7"),
            "{line}"
        );
        assert!(
            line.contains("-device edu,addr=8.0,dma_mask=0xffffffffffffffff"),
            "{line}"
        );
        assert_eq!(Config::device_id(2), "0000:00:08.0");
    }

    #[test]
    fn counting_instructions_takes_one_thread() {
        let config = Config {
            accelerator: Accelerator::Counted,
            ..Config::default()
        };
        let line = line(&config, Console::Terminal, &Vec::new());
        assert!(
            line.contains("-accel tcg,thread=single -icount shift=0,sleep=off"),
            "{line}"
        );
        assert!(
            line.contains("-chardev stdio,id=com1,mux=on,signal=off,"),
            "{line}"
        );
    }

    #[test]
    fn the_other_iommu() {
        let amd = Config::default().dialect(Dialect::Amd);
        let whole = line(&amd, Console::Log, &Vec::new());
        assert!(
            whole.contains("-device amd-iommu,intremap=on,xtsup=on"),
            "{whole}"
        );
        assert!(!whole.contains("intel"), "{whole}");
        let without = line(&amd.iommu(Iommu::WithoutX2apic), Console::Log, &Vec::new());
        assert!(
            without.contains("-device amd-iommu,intremap=on,xtsup=off"),
            "{without}"
        );
    }

    #[test]
    fn under_kvm_the_processor_is_the_hosts_whoever_made_it() {
        let config = Config {
            accelerator: Accelerator::Kvm,
            ..Config::default()
        };
        let line = line(&config, Console::Log, &Vec::new());
        for part in [
            "-accel kvm -machine q35,kernel-irqchip=split -cpu host,+x2apic -smp 2",
            "-device intel-iommu,intremap=on,eim=on,",
        ] {
            assert!(line.contains(part), "{part}\nis not in\n{line}");
        }
    }

    #[test]
    fn a_machine_without_an_iommu() {
        let line = line(
            &Config::default().iommu(Iommu::None),
            Console::Log,
            &Vec::new(),
        );
        assert!(!line.contains("iommu"), "{line}");
    }
}
