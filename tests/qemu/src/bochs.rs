//! Bochs: another emulator, which has Intel VMX, and AMD SVM with more of its features; it has no IOMMU, and what it boots
//! finds no ACPI tables.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::config::Config;
use crate::emulator::{Console, RunFiles};
use crate::serial_line::SerialLine;

/// Which processor the machine has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Processor {
    /// Intel VMX, with posted interrupts.
    Vmx,
    /// Intel VMX of an older processor, without posted interrupts.
    OldVmx,
    /// AMD SVM.
    Svm,
}

impl Processor {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Vmx, Self::OldVmx, Self::Svm];

    /// The model's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Vmx => "corei7_skylake_x",
            Self::OldVmx => "corei7_haswell_4770",
            Self::Svm => "ryzen",
        }
    }

    /// The model, and what it must be given besides: x2APIC mode came one generation after the only AMD models that there are.
    fn model(self) -> String {
        let more = if self == Self::Svm {
            ", add_features=x2apic"
        } else {
            ""
        };
        format!("{}{more}", self.name())
    }
}

/// Writes the contents of a folder as a bootable disk to a file.
pub type WriteDisk = fn(&Path, &Path) -> Result<()>;

/// An emulator with its firmware.
#[derive(Clone, Debug)]
pub struct Bochs {
    /// The folder that its packages were unpacked to.
    pub root: PathBuf,
    /// Makes the boot volume a disk.
    pub write_disk: WriteDisk,
}

/// A started machine.
#[derive(Debug)]
pub struct Started {
    /// The emulator.
    pub process: Child,
    /// The other end of the second serial line.
    pub protocol: UnixStream,
    /// The first one.
    pub console: SerialLine,
}

/// RAM in MiB that a machine has at most: what is above 4 GiB it places where the firmware does not look.
pub const MOST_MEMORY: u32 = 2048;

/// How long it may take until the serial lines are connected: at the emulator's very start.
const CONNECT: Duration = Duration::from_secs(30);

impl Bochs {
    /// Starts a machine; what it leaves behind besides `files` goes to `folder`.
    pub fn start(
        &self,
        processor: Processor,
        config: &Config,
        files: &RunFiles,
        console: Console,
        folder: &Path,
    ) -> Result<Started> {
        let table = files.volume.join("acpi");
        fs::create_dir_all(&table)?;
        fs::write(table.join("apic.aml"), madt(config.lps))?;
        let disk = folder.join("disk.img");
        (self.write_disk)(&files.volume, &disk)?;
        // The emulator connects them in this order.
        let lines = [listen()?, listen()?];
        let ports = [lines[0].1, lines[1].1];
        let settings = self.settings(processor, config, &disk, folder, ports);
        fs::write(folder.join("bochsrc"), settings)?;
        // The debugger that distributions build in waits for this word.
        fs::write(folder.join("commands"), "c\n")?;
        let mut process = self.spawn(folder)?;
        let mut connect = || {
            let first = accept(&lines[0].0, &mut process)?;
            let protocol = bridge(accept(&lines[1].0, &mut process)?)?;
            Ok((protocol, SerialLine::open(first, files, console)?))
        };
        match connect() {
            Ok((protocol, console)) => Ok(Started {
                process,
                protocol,
                console,
            }),
            Err(error) => {
                // It may have ended already.
                let _ = process.kill();
                let _ = process.wait();
                Err(error)
            }
        }
    }

    fn settings(
        &self,
        processor: Processor,
        config: &Config,
        disk: &Path,
        folder: &Path,
        [first, second]: [u16; 2],
    ) -> String {
        let root = self.root.display();
        let lines = [
            format!(
                "cpu: model={}, count={}, ips=100000000",
                processor.model(),
                config.lps
            ),
            format!("megs: {}", config.memory.min(MOST_MEMORY)),
            format!("romimage: file={root}/usr/share/ovmf/OVMF.fd, options=none"),
            format!("vgaromimage: file={root}/usr/share/bochs/VGABIOS-lgpl-latest"),
            format!("ata0-master: type=disk, path={}, mode=flat", disk.display()),
            "boot: disk".into(),
            "display_library: rfb, options=\"timeout=0\"".into(),
            "sound: driver=dummy".into(),
            "plugin_ctrl: speaker=0".into(),
            format!("com1: enabled=1, mode=socket-client, dev=localhost:{first}"),
            format!("com2: enabled=1, mode=socket-client, dev=localhost:{second}"),
            "clock: sync=none, time0=1700000000".into(),
            format!("log: {}", folder.join("bochs.log").display()),
            // It would write a line for every entry of a guest whose interrupts the processor serves.
            "info: action=ignore".into(),
            // A guest that runs into breakpoints on purpose would fill the disk with them.
            "error: action=ignore".into(),
            "panic: action=fatal".into(),
        ];
        lines.join("\n") + "\n"
    }

    fn spawn(&self, folder: &Path) -> Result<Child> {
        let at = |path: &str| self.root.join(path).display().to_string();
        let libraries = at("usr/lib/x86_64-linux-gnu");
        let path =
            format!("{libraries}:{libraries}/pulseaudio:{libraries}/blas:{libraries}/lapack");
        let log =
            fs::File::create(folder.join("emulator.log")).context("cannot make a log file")?;
        Command::new(at("usr/lib64/ld-linux-x86-64.so.2"))
            .args(["--library-path", &path, &at("usr/bin/bochs-bin")])
            .args(["-q", "-f", "bochsrc", "-rc", "commands"])
            .env("LTDL_LIBRARY_PATH", format!("{libraries}/bochs/plugins"))
            .env("BXSHARE", at("usr/share/bochs"))
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("cannot start Bochs")
    }
}

/// A socket of its own for a serial line, and its port.
fn listen() -> Result<(TcpListener, u16)> {
    let listener = TcpListener::bind("127.0.0.1:0").context("cannot make a socket")?;
    let port = listener.local_addr()?.port();
    Ok((listener, port))
}

fn accept(listener: &TcpListener, process: &mut Child) -> Result<TcpStream> {
    listener.set_nonblocking(true)?;
    let deadline = Instant::now() + CONNECT;
    while Instant::now() < deadline {
        if let Ok((stream, _)) = listener.accept() {
            stream.set_nonblocking(false)?;
            stream.set_nodelay(true)?;
            return Ok(stream);
        }
        if let Ok(Some(status)) = process.try_wait() {
            bail!("Bochs ended at once with {status}");
        }
        thread::sleep(Duration::from_millis(20));
    }
    bail!("Bochs did not connect its serial lines")
}

/// The harness speaks to a local socket; Bochs knows only the other kind.
fn bridge(far: TcpStream) -> Result<UnixStream> {
    let (near, ours) = UnixStream::pair().context("cannot make a socket")?;
    let (far_reader, mut far_writer) = (far.try_clone()?, far);
    let (mut near_writer, near_reader) = (near.try_clone()?, near);
    thread::spawn(move || {
        // Whichever end goes first: the other is told by the end of its stream.
        let _ = copy(far_reader, &mut near_writer);
        let _ = near_writer.shutdown(Shutdown::Both);
    });
    thread::spawn(move || {
        let _ = copy(near_reader, &mut far_writer);
        let _ = far_writer.shutdown(Shutdown::Both);
    });
    Ok(ours)
}

/// Byte by byte towards the line: none waits for the next.
fn copy(mut from: impl Read, to: &mut impl Write) -> io::Result<()> {
    let mut buffer = [0; 4096];
    loop {
        let count = from.read(&mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        to.write_all(&buffer[..count])?;
    }
}

/// The MADT (ACPI specification, "Multiple APIC Description Table") of a Bochs machine.
fn madt(lps: u32) -> Vec<u8> {
    let mut table = b"APIC\0\0\0\0\x03\0PRTCLSBOCHS   ".to_vec();
    table.extend(1_u32.to_le_bytes());
    table.extend(b"PRTC");
    table.extend(1_u32.to_le_bytes());
    table.extend(0xfee0_0000_u32.to_le_bytes());
    table.extend(1_u32.to_le_bytes());
    for id in 0..lps.min(255) as u8 {
        table.extend([0, 8, id, id, 1, 0, 0, 0]);
    }
    // The one I/O APIC, and the timer's line, which comes in at its pin 2.
    table.extend([1, 12, lps.min(255) as u8, 0]);
    table.extend(0xfec0_0000_u32.to_le_bytes());
    table.extend(0_u32.to_le_bytes());
    table.extend([2, 10, 0, 0, 2, 0, 0, 0, 0, 0]);
    let length = table.len() as u32;
    table[4..8].copy_from_slice(&length.to_le_bytes());
    let sum = table.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
    table[9] = sum.wrapping_neg();
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_sums_up_to_zero() {
        let table = madt(4);
        let sum = table.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
        assert_eq!((sum, table.len()), (0, 36 + 8 + 4 * 8 + 12 + 10));
        assert_eq!(&table[36..40], &[0, 0, 0xe0, 0xfe]);
    }

    #[test]
    fn what_is_written_at_one_end_comes_out_at_the_other() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut far = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let mut near = bridge(listener.accept().unwrap().0).unwrap();
        near.write_all(b"ping").unwrap();
        let mut buffer = [0; 4];
        far.read_exact(&mut buffer).unwrap();
        assert_eq!(&buffer, b"ping");
        far.write_all(b"pong").unwrap();
        near.read_exact(&mut buffer).unwrap();
        assert_eq!(&buffer, b"pong");
    }
}
