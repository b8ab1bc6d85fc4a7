//! Bytes that are executed: the instruction side reads memory behind the data cache, and keeps copies of its own.

use congruent::{At, Rights};
use congruent_shadow::HazardClass::*;

use super::story::*;
use crate::model::machine::Machine;

#[test]
fn b05_a_thread_that_executes_a_page_the_moment_it_is_mapped_fetches_what_was_loaded() {
    let stale = [(DmaReadStale, "another thread executes"), (ReadStaleCopy, "the thread that faulted executes")];
    told(&stale, |s| {
        s.kernel("the program is loaded", |then| then.store(PAGE, LINEAR, ALL), |library| library.fill(PAGE, At::Home, b"code"));
        let rights = Rights::EXECUTE;
        s.kernel(
            "the page is mapped",
            |then| {
                s.fetch(PAGE, USER, "another thread executes");
                // Too late.
                then.flush(PAGE, LINEAR);
            },
            |library| {
                library.map_user(PAGE, Machine::user_address(USER), rights, || {
                    s.install(PAGE, USER, rights);
                    s.fetch(PAGE, USER, "another thread executes");
                })
            },
        );
        s.user_fetch(PAGE, USER, "the thread that faulted executes");
    });
}

#[test]
fn b14_a_program_that_came_over_the_network_executes_as_it_came() {
    told(&[(DmaReadStale, "the program executes")], |s| {
        s.zeroed(PAGE);
        s.kernel(
            "the packet is copied to the page",
            |then| then.store(PAGE, LINEAR, ALL),
            |library| library.write(PAGE, 0, b"code"),
        );
        s.user_fetch(PAGE, USER, "the program executes");
    });
}

#[test]
fn b21_code_that_was_relocated_before_it_was_made_executable_executes_as_relocated() {
    told(&[(DmaReadStale, "the program executes again"), (ReadStaleCopy, "the program executes again")], |s| {
        s.zeroed(PAGE);
        s.user_fetch(PAGE, USER, "the program executes");
        s.user_store(PAGE, USER, word(0), "the loader relocates");
        // mprotect(PROT_READ | PROT_EXEC)
        s.write_protect(PAGE);
        s.now_only("mprotect", |library| library.sync_instructions(PAGE));
        s.user_fetch(PAGE, USER, "the program executes again");
    });
}

fn breakpoint(s: &Story<'_>) {
    s.zeroed(PAGE);
    s.user_fetch(PAGE, USER, "the program executes");
    s.kernel(
        "the debugger pokes",
        |then| {
            then.store(PAGE, LINEAR, word(0));
            then.flush(PAGE, LINEAR);
        },
        |library| library.poke(PAGE, 0, b"trap"),
    );
    s.user_fetch(PAGE, USER, "the program executes again");
}

#[test]
fn b22_a_breakpoint_that_a_debugger_sets_is_executed() {
    told(&[(ReadStaleCopy, "the program executes again")], breakpoint);
}

#[test]
fn the_judge_of_instructions_objects_to_the_library_if_its_maintenance_is_left_out() {
    let found = told_without_maintenance(breakpoint);
    assert_eq!(
        found,
        [
            (DmaReadStale, "the program executes"),
            (DmaReadStale, "the program executes again"),
            (ReadStaleCopy, "the program executes again")
        ]
    );
}

#[test]
fn b30_new_code_is_executed_under_whatever_colour_the_old_was_fetched() {
    told(&[(ReadStaleCopy, "the guest executes again")], |s| {
        s.zeroed(PAGE);
        s.user_fetch(PAGE, USER, "the guest executes");
        s.kernel(
            "the kernel changes the code",
            |then| {
                then.store(PAGE, LINEAR, word(0));
                then.flush(PAGE, LINEAR);
                // Through the kernel's own address.
                then.invalidate_instructions(PAGE, LINEAR);
            },
            |library| library.poke(PAGE, 0, b"code"),
        );
        s.user_fetch(PAGE, USER, "the guest executes again");
    });
}
