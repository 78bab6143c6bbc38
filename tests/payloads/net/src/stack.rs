//! Addresses, sockets, and the loop that waits for the adapter.

use alloc::vec;
use alloc::vec::Vec;
use core::str::FromStr;
use core::sync::atomic::Ordering;

use nic::Nic;
use pci::Function;
use runtime::cmdline::CommandLine;
use runtime::exit::Verdict;
use runtime::{apic, clock, cpu, println};
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::socket::{dhcpv4, tcp};
use smoltcp::time::Instant;
use smoltcp::wire::{EthernetAddress, IpCidr, Ipv4Address, Ipv4Cidr};

use crate::device::Port;
use crate::page::Page;
use crate::ping::Ping;
use crate::{TIMER_VECTOR, WOKEN};

/// Connections at the same time.
const CONNECTIONS: usize = 4;
const HTTP: u16 = 80;
/// The longest wait without an interrupt, in microseconds: the link may change without one.
const LONGEST_WAIT: u64 = 250_000;

pub struct Stack {
    interface: Interface,
    port: Port,
    sockets: SocketSet<'static>,
    dhcp: Option<SocketHandle>,
    servers: Vec<SocketHandle>,
    page: Page,
    ping: Option<Ping>,
    end: Option<u64>,
}

impl Stack {
    pub fn new(
        line: CommandLine<'static>,
        function: Function,
        nic: Nic,
    ) -> Result<Self, &'static str> {
        let mut port = Port::new(nic);
        let address = EthernetAddress(port.nic.mac());
        let mut config = Config::new(address.into());
        config.random_seed = cpu::tsc();
        let interface = Interface::new(config, &mut port, now());
        let mut sockets = SocketSet::new(Vec::new());
        let servers = (0..CONNECTIONS).map(|_| sockets.add(server())).collect();
        let mut stack = Self {
            page: Page::new(line, function, port.nic.model()),
            ping: Ping::new(line, &mut sockets)?,
            end: line
                .number("seconds")
                .map(|seconds| clock::micros() + seconds * 1_000_000),
            interface,
            port,
            sockets,
            dhcp: None,
            servers,
        };
        stack.take_address(line)?;
        Ok(stack)
    }

    fn take_address(&mut self, line: CommandLine<'static>) -> Result<(), &'static str> {
        if let Some(text) = line.value("ip") {
            let address = Ipv4Cidr::from_str(text).map_err(|()| "ip= wants ADDRESS/PREFIX")?;
            self.set_address(address);
        } else {
            self.dhcp = Some(self.sockets.add(dhcpv4::Socket::new()));
        }
        Ok(())
    }

    fn set_address(&mut self, address: Ipv4Cidr) {
        self.interface.update_ip_addrs(|addresses| {
            addresses.clear();
            let _ = addresses.push(IpCidr::Ipv4(address));
        });
        println!("net: address {}", address.address());
        println!("net: serving");
    }

    fn set_router(&mut self, router: Option<Ipv4Address>) {
        let routes = self.interface.routes_mut();
        let _ = match router {
            Some(router) => routes.add_default_ipv4_route(router).map(|_| ()),
            None => {
                routes.remove_default_ipv4_route();
                Ok(())
            }
        };
    }

    /// Until a ping or the time is over; else for ever.
    pub fn run(mut self) -> Result<Verdict, &'static str> {
        loop {
            self.interface
                .poll(now(), &mut self.port, &mut self.sockets);
            self.follow_dhcp();
            self.serve();
            if let Some(verdict) = self.follow_ping() {
                return Ok(verdict);
            }
            if self.end.is_some_and(|end| clock::micros() >= end) {
                return Ok(Verdict::Success);
            }
            self.wait();
        }
    }

    fn follow_dhcp(&mut self) {
        let Some(handle) = self.dhcp else { return };
        let event = self.sockets.get_mut::<dhcpv4::Socket<'_>>(handle).poll();
        match event {
            Some(dhcpv4::Event::Configured(lease)) => {
                let (address, router) = (lease.address, lease.router);
                self.set_address(address);
                self.set_router(router);
            }
            Some(dhcpv4::Event::Deconfigured) => {
                self.interface
                    .update_ip_addrs(|addresses| addresses.clear());
                self.set_router(None);
            }
            None => {}
        }
    }

    fn follow_ping(&mut self) -> Option<Verdict> {
        // Without an address there is nowhere to ping from.
        self.interface.ipv4_addr()?;
        let ping = self.ping.as_mut()?;
        ping.follow(&mut self.sockets, clock::micros())
    }

    fn serve(&mut self) {
        let frames = self.port.nic.frames();
        for handle in &self.servers {
            let socket = self.sockets.get_mut::<tcp::Socket<'_>>(*handle);
            if !socket.is_open() {
                let _ = socket.listen(HTTP);
            }
            let asked = socket.may_recv()
                && socket
                    .recv(|bytes| (bytes.len(), has_request(bytes)))
                    .unwrap_or(false);
            if asked && socket.can_send() {
                let page = self.page.render(frames);
                let _ = socket.send_slice(page.as_bytes());
                socket.close();
            } else if socket.is_open() && !socket.may_recv() && socket.may_send() {
                // The other side is done without having asked.
                socket.close();
            }
        }
    }

    /// Waits for the adapter, or for the next thing that the stack wants to do.
    fn wait(&mut self) {
        let delay = self.interface.poll_delay(now(), &self.sockets);
        let micros = delay
            .map_or(LONGEST_WAIT, |delay| delay.total_micros())
            .min(LONGEST_WAIT);
        if micros == 0 {
            return;
        }
        let ticks = u128::from(clock::apic_hz()) * u128::from(micros) / 1_000_000;
        let ticks = u32::try_from(ticks).unwrap_or(u32::MAX).max(1);
        self.port.nic.rearm();
        if !self.port.nic.has_frame() {
            apic::one_shot(TIMER_VECTOR, ticks);
            cpu::wait_unless(|| WOKEN.load(Ordering::Acquire));
        }
        WOKEN.store(false, Ordering::Release);
    }
}

fn now() -> Instant {
    Instant::from_micros(clock::micros() as i64)
}

fn server() -> tcp::Socket<'static> {
    tcp::Socket::new(
        tcp::SocketBuffer::new(vec![0; 2048]),
        tcp::SocketBuffer::new(vec![0; 8192]),
    )
}

/// Whether the bytes begin like a request. Requests this small come in one piece.
fn has_request(bytes: &[u8]) -> bool {
    bytes.starts_with(b"GET ") || bytes.starts_with(b"HEAD ")
}
