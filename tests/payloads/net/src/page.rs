//! The page: who carried it, live.

use alloc::format;
use alloc::string::String;

use abi::vendor::{Counters, CountersOf, EXIT_NAMES};
use abi::{Call, Status};
use nic::Model;
use pci::Function;
use runtime::cmdline::CommandLine;
use runtime::{cpu, hypercall, interrupt};

/// The partition that calls.
const SELF: u64 = u64::MAX;

pub struct Page {
    nonce: &'static str,
    function: Function,
    model: Model,
}

impl Page {
    pub fn new(line: CommandLine<'static>, function: Function, model: Model) -> Self {
        Self {
            nonce: line.value("nonce").unwrap_or("none"),
            function,
            model,
        }
    }

    /// The whole HTTP response.
    pub fn render(&self, frames: (u64, u64)) -> String {
        let body = self.body(frames);
        format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {}\r\n\
             Cache-Control: no-store\r\nConnection: close\r\n\r\n{body}",
            body.len()
        )
    }

    fn body(&self, (received, sent): (u64, u64)) -> String {
        let mut rows = String::new();
        let mut row = |name: &str, value: String| {
            rows += &format!("<tr><th>{name}</th><td>{value}</td></tr>\n");
        };
        row("nonce", escape(self.nonce));
        row(
            "device",
            format!("{} at {}", self.model.name(), self.function),
        );
        row("packets received", format!("{received}"));
        row("packets sent", format!("{sent}"));
        row(
            "interrupts received",
            format!("{}", interrupt::count(crate::NIC_VECTOR)),
        );
        for (name, value) in carried() {
            row(name, value);
        }
        format!(
            "<!doctype html>\n<html><head><title>Portcullis</title>\n\
             <style>body{{font-family:sans-serif;margin:3em}}th{{text-align:left;padding-right:2em}}</style>\n\
             </head><body><h1>A packet through the portcullis</h1>\n<table>\n{rows}</table></body></html>\n"
        )
    }
}

/// What the hypervisor says of this partition.
fn carried() -> alloc::vec::Vec<(&'static str, String)> {
    let mut rows = alloc::vec::Vec::new();
    if !cpu::has_hypercalls() {
        rows.push(("hypervisor", String::from("none: running natively")));
        return rows;
    }
    match counters() {
        Err(status) => rows.push(("counters", format!("refused: {}", status.name()))),
        Ok(counters) => {
            let exits: u64 = counters.exits.iter().sum();
            rows.push((
                "domain",
                format!("identity domain, {} device(s)", counters.devices),
            ));
            rows.push(("DMA pages mapped", format!("{}", counters.domain_pages)));
            rows.push((
                "device interrupts",
                format!("{}", counters.device_interrupts),
            ));
            rows.push(("exits taken", format!("{exits}{}", reasons(&counters))));
            rows.push(("hypercalls", format!("{}", counters.hypercalls)));
            rows.push(("DMA faults", format!("{}", counters.dma_faults)));
        }
    }
    rows
}

fn reasons(counters: &Counters) -> String {
    let mut text = String::from(" (");
    let taken = counters.exits.iter().zip(EXIT_NAMES);
    for (count, name) in taken.filter(|(count, _)| **count != 0) {
        if text.len() > 2 {
            text += ", ";
        }
        text += &format!("{name} {count}");
    }
    text + ")"
}

fn counters() -> Result<Counters, Status> {
    let of = CountersOf {
        partition: SELF,
        lp: 0,
    };
    hypercall::call(Call::VendorCounters, &of)
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}
