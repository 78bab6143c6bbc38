use anyhow::Result;
use crate::machine::Machine;
use crate::scenario::Scenario;
use crate::child::*;
pub fn scenarios() -> Vec<Scenario> { vec![Scenario::new("debug_a", super::full(), show), Scenario::new("debug_b", super::full(), show)] }
fn show(machine: &mut Machine) -> Result<()> {
  for n in 0..200 {
    let child = Child::start(machine, &Order{payload:"edu.elf", options:"memory=16M", words:"interactive", devices:&[super::E0]})?;
    if machine.wait_line(child.name(), 0, std::time::Duration::from_secs(6), |l| l == "edu: ready").is_ok() { if n % 2 == 0 { child.ready()?; child.ask("self")?; child.ask("msi count=1")?; } continue; }
    println!("HUNG at {n}");
    for _ in 0..2 {
    for line in ["lps", "devices", "interrupts", "domains", "counters", "counters root", "partitions", &format!("show {}", child.name()), &format!("counters {}", child.name())] {
        println!("== {line}");
        match machine.command(line) {
            Ok(reply) => { for row in reply.data { println!("{row}"); } println!("-> {}", reply.result); }
            Err(e) => println!("{e:#}"),
        }
    } std::thread::sleep(std::time::Duration::from_secs(1)); }
    anyhow::bail!("hung");
  }
  Ok(())
}
