//! The harness as a switch between the cables of network cards, and as a host on it that answers and sends pings.
//!
//! Ethernet II; ARP (RFC 826); IPv4 (RFC 791) without options; ICMP echo (RFC 792).

use std::collections::BTreeMap;
use std::net::UdpSocket;
use std::time::{Duration, Instant};

use anyhow::Result;

/// The host's address.
pub const HOST: [u8; 4] = [10, 7, 0, 1];
const MAC: [u8; 6] = [0x02, 0, 0, 0, 7, 1];
const ALL: [u8; 6] = [0xff; 6];
const LONGEST: usize = 2048;

/// What a shouted frame carries.
pub const SHOUT: &[u8] = b"does anybody hear this?";

/// Sends a broadcast that nobody answers (EtherType 88B5h, for experiments).
pub fn shout(wire: &UdpSocket) {
    let mut frame = [&ALL[..], &MAC, &[0x88, 0xb5], SHOUT].concat();
    frame.resize(60, 0);
    // Nobody at the other end yet: the next one may be heard.
    let _ = wire.send(&frame);
}

/// What came by.
#[derive(Debug, Default)]
pub struct Counts {
    /// Frames from one cable to another.
    pub between: u64,
    /// Pings of the host's address that it answered.
    pub echoed: u64,
    answered: BTreeMap<[u8; 4], u64>,
    known: BTreeMap<[u8; 4], [u8; 6]>,
    sent: u16,
}

impl Counts {
    /// Answers to the host's own pings.
    pub fn answers(&self, address: [u8; 4]) -> u64 {
        self.answered.get(&address).copied().unwrap_or(0)
    }
}

/// Carries frames for a while.
pub fn switch(wires: &[&UdpSocket], counts: &mut Counts, during: Duration) -> Result<()> {
    let end = Instant::now() + during;
    let mut frame = [0; LONGEST];
    while Instant::now() < end {
        let mut idle = true;
        for (from, wire) in wires.iter().enumerate() {
            wire.set_nonblocking(true)?;
            // Nothing there, or nobody at the other end yet.
            let Ok(length) = wire.recv(&mut frame) else {
                continue;
            };
            idle = false;
            let frame = frame.get(..length).unwrap_or(&[]);
            for to in wires.iter().enumerate().filter(|(to, _)| *to != from) {
                counts.between += u64::from(to.1.send(frame).is_ok());
            }
            if let Some(answer) = host(frame, counts) {
                let _ = wire.send(&answer);
            }
        }
        if idle {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    Ok(())
}

/// Sends a ping of the host's, or the question for the way there.
pub fn ping(wires: &[&UdpSocket], counts: &mut Counts, to: [u8; 4]) -> Result<()> {
    counts.sent = counts.sent.wrapping_add(1);
    let frame = match counts.known.get(&to) {
        None => arp(1, ALL, to),
        Some(mac) => {
            let echo = [
                &[8, 0, 0, 0, 0x70, 0x63][..],
                &counts.sent.to_be_bytes(),
                b"portcullis",
            ];
            ipv4(*mac, to, &checked(echo.concat(), 2))
        }
    };
    for wire in wires {
        let _ = wire.send(&frame);
    }
    Ok(())
}

/// What the host answers to a frame; it learns and counts on the way.
fn host(frame: &[u8], counts: &mut Counts) -> Option<Vec<u8>> {
    let sender: [u8; 6] = frame.get(6..12)?.try_into().ok()?;
    match frame.get(12..14)? {
        [8, 6] => {
            let from: [u8; 4] = frame.get(28..32)?.try_into().ok()?;
            counts.known.insert(from, sender);
            let asked = frame.get(20..22)? == [0, 1] && frame.get(38..42)? == HOST;
            asked.then(|| arp(2, sender, from))
        }
        [8, 0] if frame.get(30..34)? == HOST && frame.get(23) == Some(&1) => {
            let from: [u8; 4] = frame.get(26..30)?.try_into().ok()?;
            let length = usize::from(u16::from_be_bytes(frame.get(16..18)?.try_into().ok()?));
            let message = frame.get(34..14 + length)?;
            match message.first()? {
                0 => *counts.answered.entry(from).or_default() += 1,
                8 => {
                    counts.echoed += 1;
                    let mut answer = message.to_vec();
                    answer.splice(..4, [0; 4]);
                    return Some(ipv4(sender, from, &checked(answer, 2)));
                }
                _ => {}
            }
            None
        }
        _ => None,
    }
}

fn arp(operation: u8, to: [u8; 6], about: [u8; 4]) -> Vec<u8> {
    let target = if operation == 1 { [0; 6] } else { to };
    let mut frame = [
        &to[..],
        &MAC,
        &[8, 6, 0, 1, 8, 0, 6, 4, 0, operation],
        &MAC,
        &HOST,
        &target,
        &about,
    ]
    .concat();
    frame.resize(60, 0);
    frame
}

fn ipv4(mac: [u8; 6], to: [u8; 4], message: &[u8]) -> Vec<u8> {
    let length = (20 + message.len() as u16).to_be_bytes();
    let fixed = [0x45, 0, length[0], length[1], 0, 0, 0, 0, 64, 1, 0, 0];
    let header = checked([&fixed[..], &HOST, &to].concat(), 10);
    let mut frame = [&mac[..], &MAC, &[8, 0], &header, message].concat();
    frame.resize(frame.len().max(60), 0);
    frame
}

/// The bytes with their checksum (RFC 1071) at an offset where zeroes stand.
fn checked(mut bytes: Vec<u8>, at: usize) -> Vec<u8> {
    let word = |pair: &[u8]| {
        u32::from(pair.first().copied().unwrap_or(0)) << 8
            | u32::from(pair.get(1).copied().unwrap_or(0))
    };
    let mut sum: u32 = bytes.chunks(2).map(word).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    bytes.splice(at..at + 2, (!(sum as u16)).to_be_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raw_value_of_a_checked_header() {
        // RFC 1071's arithmetic on the usual example of an IPv4 header.
        let header = vec![
            0x45, 0, 0, 0x73, 0, 0, 0x40, 0, 0x40, 0x11, 0, 0, 0xc0, 0xa8, 0, 1, 0xc0, 0xa8, 0,
            0xc7,
        ];
        assert_eq!(checked(header, 10)[10..12], [0xb8, 0x61]);
    }

    #[test]
    fn the_host_answers_questions_and_pings() {
        let mut counts = Counts::default();
        let guest = [10, 7, 0, 2];
        let mut question = arp(1, ALL, HOST);
        question.splice(6..12, [2; 6]);
        question.splice(28..32, guest);
        let answer = host(&question, &mut counts).unwrap();
        assert_eq!(answer[20..22], [0, 2]);
        let echo = checked(vec![8, 0, 0, 0, 1, 2, 0, 1, 9], 2);
        let mut frame = ipv4(MAC, HOST, &echo);
        frame.splice(26..30, guest);
        let answer = host(&frame, &mut counts).unwrap();
        assert_eq!((answer[34], counts.echoed), (0, 1));
        assert_eq!(answer[30..34], guest);
    }
}
