//! Switching a machine in QEMU on: the process, its second serial line, the ends of its wires.

use std::fs;
use std::net::UdpSocket;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::config::{Config, Network};
use crate::emulator::{self, Console, Emulator, RunFiles, WirePorts};

/// Starts QEMU; its process, and the other end of the second serial line.
pub fn on(
    qemu: &Emulator,
    config: &Config,
    files: &RunFiles,
    console: Console,
    ports: &WirePorts,
    folder: &Path,
) -> Result<(Child, UnixStream)> {
    fs::copy(&qemu.firmware_variables, &files.variables)
        .context("cannot copy the firmware's variables")?;
    let listener = UnixListener::bind(&files.protocol_socket).context("cannot make a socket")?;
    let arguments = emulator::arguments(qemu, config, files, console, ports);
    let mut process = spawn(qemu, &arguments, console, folder)?;
    let stream = accept(&listener, &mut process).inspect_err(|_| {
        let _ = process.kill();
    });
    let stream = stream.with_context(|| said(folder))?;
    Ok((process, stream))
}

/// What the emulator itself complained about.
pub fn said(folder: &Path) -> String {
    let text = fs::read(folder.join("emulator.log")).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    // What the translation lacks of the processor model, and what Bochs tells of its start, is known and no clue.
    let known = |line: &str| {
        line.contains("TCG doesn't support requested") || line.starts_with("00000000000")
    };
    let clues: Vec<&str> = text.lines().filter(|line| !known(line)).collect();
    if clues.is_empty() {
        return "the emulator said nothing".into();
    }
    format!("the emulator said: {}", clues.join(" | "))
}

fn spawn(
    emulator: &Emulator,
    arguments: &[String],
    console: Console,
    folder: &Path,
) -> Result<Child> {
    let mut command = emulator.command();
    command.args(arguments);
    if console == Console::Log {
        let log =
            fs::File::create(folder.join("emulator.log")).context("cannot make a log file")?;
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
    }
    command
        .spawn()
        .with_context(|| format!("cannot start {}", emulator.program.display()))
}

/// Waits until the emulator has connected its second serial line.
fn accept(listener: &UnixListener, process: &mut Child) -> Result<UnixStream> {
    listener.set_nonblocking(true)?;
    let deadline = Instant::now() + Duration::from_secs(30);
    while Instant::now() < deadline {
        if let Ok((stream, _)) = listener.accept() {
            stream.set_nonblocking(false)?;
            return Ok(stream);
        }
        if let Ok(Some(status)) = process.try_wait() {
            bail!("the emulator ended at once with {status}");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    bail!("the emulator did not connect its second serial line")
}

/// The harness's ends of the wires of a machine, and their ports.
pub fn wires(config: &Config) -> Result<(Vec<Option<UdpSocket>>, WirePorts)> {
    let (mut sockets, mut ports) = (Vec::new(), Vec::new());
    for device in &config.devices {
        if device.network != Network::Wire {
            sockets.push(None);
            ports.push(None);
            continue;
        }
        let socket = UdpSocket::bind("127.0.0.1:0").context("cannot make a UDP socket")?;
        // The emulator takes a port by number: find one that is free and let it go again.
        let theirs = UdpSocket::bind("127.0.0.1:0")?.local_addr()?.port();
        socket.connect(("127.0.0.1", theirs))?;
        ports.push(Some((socket.local_addr()?.port(), theirs)));
        sockets.push(Some(socket));
    }
    Ok((sockets, ports))
}
