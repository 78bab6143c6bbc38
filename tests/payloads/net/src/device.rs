//! The adapter as the network stack wants it.

use nic::{FRAME, Nic};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::time::Instant;

/// The adapter and a buffer for the frame that is being looked at.
pub struct Port {
    pub nic: Nic,
    frame: [u8; 2048],
}

impl Port {
    pub const fn new(nic: Nic) -> Self {
        Self {
            nic,
            frame: [0; 2048],
        }
    }
}

/// A received frame.
pub struct Received<'a>(&'a [u8]);

/// Room for a frame to send.
pub struct Sending<'a>(&'a mut Nic);

impl RxToken for Received<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(self.0)
    }
}

impl TxToken for Sending<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, f: F) -> R {
        let mut frame = [0; 2048];
        let bytes = frame.get_mut(..length).unwrap_or(&mut []);
        let result = f(bytes);
        // Where it does not go out, whoever waits for the answer sends again.
        let _ = self.0.transmit(bytes);
        result
    }
}

impl Device for Port {
    type RxToken<'a> = Received<'a>;
    type TxToken<'a> = Sending<'a>;

    fn receive(&mut self, _now: Instant) -> Option<(Received<'_>, Sending<'_>)> {
        if !self.nic.can_transmit() {
            return None;
        }
        let length = self.nic.receive(&mut self.frame)?;
        Some((Received(self.frame.get(..length)?), Sending(&mut self.nic)))
    }

    fn transmit(&mut self, _now: Instant) -> Option<Sending<'_>> {
        self.nic.can_transmit().then_some(Sending(&mut self.nic))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = FRAME;
        capabilities
    }
}
