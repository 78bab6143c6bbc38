//! Pings another machine, and says how often it answered.

use alloc::vec;
use core::str::FromStr;

use runtime::cmdline::CommandLine;
use runtime::exit::Verdict;
use runtime::println;
use smoltcp::iface::{SocketHandle, SocketSet};
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::socket::icmp;
use smoltcp::wire::{Icmpv4Packet, Icmpv4Repr, IpAddress, Ipv4Address};

const IDENT: u16 = 0x5043;
/// Between two requests.
const PERIOD: u64 = 100_000;
/// Requests beyond the wanted answers, since the other side may not be up yet.
const EXTRA: u64 = 300;
const DATA: &[u8] = b"portcullis";

pub struct Ping {
    socket: SocketHandle,
    target: Ipv4Address,
    wanted: u64,
    sent: u64,
    answered: u64,
    next: u64,
    serve_after: bool,
}

impl Ping {
    pub fn new(
        line: CommandLine<'static>,
        sockets: &mut SocketSet<'static>,
    ) -> Result<Option<Self>, &'static str> {
        let Some(text) = line.value("ping") else {
            return Ok(None);
        };
        let target = Ipv4Address::from_str(text).map_err(|_| "ping= wants an IPv4 address")?;
        let buffer =
            || icmp::PacketBuffer::new(vec![icmp::PacketMetadata::EMPTY; 8], vec![0; 1024]);
        let mut socket = icmp::Socket::new(buffer(), buffer());
        socket
            .bind(icmp::Endpoint::Ident(IDENT))
            .map_err(|_| "the socket cannot be bound")?;
        Ok(Some(Self {
            socket: sockets.add(socket),
            target,
            wanted: line.number("count").unwrap_or(3),
            sent: 0,
            answered: 0,
            next: 0,
            serve_after: line.has("stay"),
        }))
    }

    /// Sends when it is time, counts answers; a verdict when it is over.
    pub fn follow(&mut self, sockets: &mut SocketSet<'static>, now: u64) -> Option<Verdict> {
        if self.answered >= self.wanted {
            return None;
        }
        let socket = sockets.get_mut::<icmp::Socket<'_>>(self.socket);
        while let Ok((bytes, from)) = socket.recv() {
            if from == IpAddress::Ipv4(self.target) && is_answer(bytes) {
                self.answered += 1;
            }
        }
        if self.answered >= self.wanted {
            println!("net: ping ok {}", self.answered);
            return (!self.serve_after).then_some(Verdict::Success);
        }
        if self.sent >= self.wanted + EXTRA {
            println!("net: ping FAIL {} of {}", self.answered, self.wanted);
            return Some(Verdict::Failure);
        }
        if now >= self.next && socket.can_send() {
            self.next = now + PERIOD;
            self.send(socket);
        }
        None
    }

    fn send(&mut self, socket: &mut icmp::Socket<'_>) {
        let request = Icmpv4Repr::EchoRequest {
            ident: IDENT,
            seq_no: self.sent as u16,
            data: DATA,
        };
        self.sent += 1;
        if let Ok(bytes) = socket.send(request.buffer_len(), IpAddress::Ipv4(self.target)) {
            request.emit(
                &mut Icmpv4Packet::new_unchecked(bytes),
                &ChecksumCapabilities::default(),
            );
        }
    }
}

fn is_answer(bytes: &[u8]) -> bool {
    let Ok(packet) = Icmpv4Packet::new_checked(bytes) else {
        return false;
    };
    matches!(
        Icmpv4Repr::parse(&packet, &ChecksumCapabilities::default()),
        Ok(Icmpv4Repr::EchoReply { ident: IDENT, data, .. }) if data == DATA
    )
}
