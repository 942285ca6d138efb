//! Fixed workloads whose cost is counted, not timed: what `make costs` compares.
//!
//! Called with the name of a workload it prepares a machine, does the work inside [`measured`], and
//! prints how often each elementary operation was done for it. Under callgrind the instructions of
//! `measured` alone are counted. Without a name it lists the workloads. Start with [`WORKLOADS`];
//! the machines are made in [`scene`]. Everything goes through the core's public face.

mod scene;
mod workloads;

use std::process::ExitCode;

use pagemig_core::machine::{Machine, Outcome};
use scene::Work;
use workloads::WORKLOADS;

/// Does the work. Never inlined: callgrind collects while it runs.
#[inline(never)]
fn measured(machine: &mut Machine, work: Vec<Work>) -> Vec<Outcome> {
    work.into_iter().map(|work| work.done_on(machine)).collect()
}

fn main() -> ExitCode {
    let Some(name) = std::env::args().nth(1) else {
        for (name, _) in WORKLOADS {
            println!("{name}");
        }
        return ExitCode::SUCCESS;
    };
    let Some((_, prepare)) = WORKLOADS.iter().find(|(known, _)| *known == name) else {
        eprintln!("no workload {name}; without a name they are listed");
        return ExitCode::FAILURE;
    };
    let (mut machine, work) = prepare();
    let before = machine.kernel().cost.rows();
    let steps_before = machine.kernel().steps;
    let outcomes = measured(&mut machine, work);
    let findings = machine.audit();
    if !findings.is_empty() {
        eprintln!("{name}: {findings:?}");
        return ExitCode::FAILURE;
    }
    for ((counter, after), (_, before)) in machine.kernel().cost.rows().into_iter().zip(before) {
        println!("{counter} {}", after - before);
    }
    println!("steps {}", machine.kernel().steps - steps_before);
    println!("good {}", outcomes.iter().map(scene::good).sum::<u64>());
    ExitCode::SUCCESS
}
