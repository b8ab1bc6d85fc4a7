//! `congruent` as its users meet it: the program is run, and judged by its exit status, its outputs and its reports.
//!
//! The QEMU that it starts is this very program under the name `fake-qemu` ([`fake_qemu`]), which speaks the plugin's protocol:
//! so every ending of a run can be had on any machine. What a real QEMU does is tested with the guests, by `cargo xtask test`.

mod doctor;
mod endings;
mod fake_qemu;
mod injecting;
mod known;
mod reports;
mod runner;
mod setup;
mod simulate;
mod stopping;
mod terminal;

use libtest_mimic::{Arguments, Trial};

/// The first argument that makes this program the QEMU of the tests.
const FAKE_QEMU: &str = "fake-qemu";

fn main() {
    let mut words = std::env::args().skip(1);
    if words.next().as_deref() == Some(FAKE_QEMU) {
        fake_qemu::run(words.collect());
        return;
    }
    let trials = [
        doctor::TESTS,
        endings::TESTS,
        injecting::TESTS,
        known::TESTS,
        reports::TESTS,
        setup::TESTS,
        simulate::TESTS,
        stopping::TESTS,
        terminal::TESTS,
    ]
    .into_iter()
    .flatten()
    .map(|&(name, test)| {
        Trial::test(name, move || {
            test();
            Ok(())
        })
    });
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit();
}

/// A test: its name as a sentence, and what it does.
type Test = (&'static str, fn());

/// Lists test functions under their names.
macro_rules! tests {
    ($($name:ident),+ $(,)?) => { &[$((stringify!($name), $name as fn())),+] };
}
use tests;
