//! What each operation of a kernel costs with this library, counted, beside what Linux does: the table of
//! `docs/embedding/maintenance.md`, which this test compares with what it counts (`UPDATE=1` writes it).

use std::fmt::Write as _;

use crate::model::line::COLOURS;
use crate::model::machine::{Did, Machine, Pte, Shape};
use congruent::state::State;
use congruent::{At, Congruent, Error, Frame, ReadOnly, ReadWrite, Rights, VirtAddr};

const PAGE: Frame = Frame(0);
const NEW: Frame = Frame(1);
/// The users' colour in every row; the permanent mappings of both frames are of other ones.
const USER: usize = 2;
const ELSEWHERE: usize = 3;

type Kernel = Congruent<Machine>;
type Step = fn(&Kernel) -> Result<(), Error>;

struct Row {
    operation: &'static str,
    /// What is done before; not counted.
    before: Step,
    /// What is counted.
    counted: Step,
    /// Linux on a MIPS r4k core and an ARMv6 core that alias (Linux 6.12, arch/mips/mm, arch/arm/mm): page operations.
    mips: &'static str,
    arm: &'static str,
}

fn address(colour: usize) -> VirtAddr {
    Machine::user_address(colour)
}

fn user(kernel: &Kernel) -> At<Machine> {
    At::Colour(kernel.colour(address(USER)))
}

fn map(kernel: &Kernel, frame: Frame, colour: usize, write: bool) -> Result<(), Error> {
    map_as(kernel, frame, colour, Rights::READ.with_write(write))
}

fn map_as(kernel: &Kernel, frame: Frame, colour: usize, rights: Rights) -> Result<(), Error> {
    kernel.map_user(frame, address(colour), rights, || {
        kernel.platform().ptes.borrow_mut()[frame.0 as usize][colour] = if rights.write { Pte::Write } else { Pte::Read };
    })
}

fn unmap(kernel: &Kernel, frame: Frame) -> Result<(), Error> {
    kernel.platform().ptes.borrow_mut()[frame.0 as usize] = [Pte::None; COLOURS];
    kernel.unmapped(frame)
}

/// A page that a user has mapped and written.
fn written_by_user(kernel: &Kernel) -> Result<(), Error> {
    kernel.clear(PAGE, user(kernel))?;
    map(kernel, PAGE, USER, true)
}

/// A page of a file, filled by the processor, that nobody has mapped.
fn in_page_cache(kernel: &Kernel) -> Result<(), Error> {
    kernel.fill(PAGE, At::Colour(kernel.file_colour(USER as u64)), b"file")
}

fn left_dirty_elsewhere(kernel: &Kernel, frame: Frame) -> Result<(), Error> {
    kernel.clear(frame, At::Colour(kernel.colour(address(ELSEWHERE))))?;
    kernel.freed(frame)
}

fn left_dirty_at_home(kernel: &Kernel, frame: Frame) -> Result<(), Error> {
    kernel.clear(frame, user(kernel))?;
    kernel.freed(frame)
}

fn device_wrote(kernel: &Kernel, frame: Frame) -> Result<(), Error> {
    let page = kernel.geometry().page();
    kernel.device_writes(frame, 0, page)?.complete().map_err(|(_, error)| error)
}

fn device_read(kernel: &Kernel, frame: Frame) -> Result<(), Error> {
    kernel.device_reads(frame, 0, kernel.geometry().page())
}

fn rows() -> Vec<Row> {
    let row = |operation, before: Step, counted: Step, mips, arm| Row { operation, before, counted, mips, arm };
    vec![
        row("fork, per page", written_by_user, |k| k.write_protected(PAGE), "0", "1 whole cache per fork"),
        row(
            "zero-fill fault, frame chosen by its hint",
            |k| left_dirty_at_home(k, PAGE),
            |k| k.clear(PAGE, user(k)).and_then(|()| map(k, PAGE, USER, true)),
            "1",
            "2",
        ),
        row(
            "zero-fill fault, any frame",
            |k| left_dirty_elsewhere(k, PAGE),
            |k| k.clear(PAGE, user(k)).and_then(|()| map(k, PAGE, USER, true)),
            "1",
            "2",
        ),
        row(
            "copy-on-write, frame chosen by its hint",
            |k| written_by_user(k).and_then(|()| k.write_protected(PAGE)).and_then(|()| left_dirty_at_home(k, NEW)),
            |k| k.copy(PAGE, NEW, user(k)).and_then(|()| map(k, NEW, USER, true)),
            "2",
            "3 + I",
        ),
        row(
            "copy-on-write, any frame",
            |k| written_by_user(k).and_then(|()| k.write_protected(PAGE)).and_then(|()| left_dirty_elsewhere(k, NEW)),
            |k| k.copy(PAGE, NEW, user(k)).and_then(|()| map(k, NEW, USER, true)),
            "2",
            "3 + I",
        ),
        row(
            "write fault on a page that needs no copy",
            |k| written_by_user(k).and_then(|()| k.write_protected(PAGE)),
            |k| map(k, PAGE, USER, true),
            "1",
            "1 + I",
        ),
        row("read(2), page not mapped", in_page_cache, |k| k.read(PAGE, 0, &mut [0; 8]), "0", "0"),
        row(
            "read(2), page mapped shared and writable",
            written_by_user,
            |k| k.read(PAGE, 0, &mut [0; 8]),
            "1, and stale",
            "2 + I",
        ),
        row(
            "write(2), page not mapped",
            in_page_cache,
            |k| k.write(PAGE, 0, b"x"),
            "0 now, 1 when mapped",
            "0 now, 2 when mapped",
        ),
        row("write(2), page mapped shared and writable", written_by_user, |k| k.write(PAGE, 0, b"x"), "2, and stale", "4 + 2 I"),
        row("mmap fault, page filled by the processor", in_page_cache, |k| map(k, PAGE, USER, false), "1", "2"),
        row("mmap fault, page filled by a device", |k| device_wrote(k, PAGE), |k| map(k, PAGE, USER, false), "0", "0"),
        row(
            "page filled by a device, frame left dirty by its last owner",
            |k| left_dirty_elsewhere(k, PAGE),
            |k| device_wrote(k, PAGE).and_then(|()| map(k, PAGE, USER, false)),
            "1",
            "2",
        ),
        row("direct I/O, user's page to a device", written_by_user, |k| device_read(k, PAGE), "2 + 1", "3 + I + 1"),
        row(
            "the same again, not written since",
            |k| written_by_user(k).and_then(|()| k.write_protected(PAGE)).and_then(|()| device_read(k, PAGE)),
            |k| device_read(k, PAGE),
            "2 + 1",
            "3 + I + 1",
        ),
        row("direct I/O, device to user's page", written_by_user, |k| device_wrote(k, PAGE), "2 + 1 or 2", "3 + I + 2"),
        row(
            "writeback of a page that was mapped and written",
            written_by_user,
            |k| k.write_protected(PAGE).and_then(|()| device_read(k, PAGE)),
            "1 + 1",
            "1 + I + 1",
        ),
        row("ptrace, peek", written_by_user, |k| k.read(PAGE, 0, &mut [0; 4]), "2", "3 + I"),
        row("ptrace, poke of data", written_by_user, |k| k.write(PAGE, 0, b"data"), "2", "4 + 2 I"),
        row(
            "ptrace, poke of code",
            |k| in_page_cache(k).and_then(|()| map_as(k, PAGE, USER, Rights::EXECUTE)),
            |k| k.poke(PAGE, 0, b"trap"),
            "3 + I",
            "4 + 2 I",
        ),
        row(
            "exec, per argument page",
            |k| left_dirty_at_home(k, PAGE).and_then(|()| k.clear(PAGE, user(k))),
            |k| k.write_argument(PAGE, address(USER), b"argv").and_then(|()| map(k, PAGE, USER, true)),
            "1 to 2",
            "5 + 2 I",
        ),
        row(
            "executable page mapped, filled by the processor",
            in_page_cache,
            |k| map_as(k, PAGE, USER, Rights::EXECUTE),
            "1 + I",
            "2 + I",
        ),
        row(
            "the same page mapped again",
            |k| in_page_cache(k).and_then(|()| map_as(k, PAGE, USER, Rights::EXECUTE)),
            |k| map_as(k, PAGE, USER, Rights::EXECUTE),
            "0",
            "I",
        ),
        row(
            "munmap or exit, per page",
            written_by_user,
            |k| unmap(k, PAGE).and_then(|()| k.freed(PAGE)),
            "1 whole cache per area",
            "1 whole cache per area",
        ),
        row(
            "mremap to a congruent address",
            written_by_user,
            |k| unmap(k, PAGE).and_then(|()| map(k, PAGE, USER, true)),
            "1 whole cache",
            "1 whole cache",
        ),
        row(
            "mremap to another colour",
            written_by_user,
            |k| unmap(k, PAGE).and_then(|()| map(k, PAGE, ELSEWHERE, true)),
            "1 whole cache",
            "1 whole cache",
        ),
        row(
            "MAP_FIXED at another colour, read",
            written_by_user,
            |k| map(k, PAGE, ELSEWHERE, false),
            "refused if shared, stale if private",
            "refused if shared, stale if private",
        ),
        row(
            "a driver that stores through the permanent address",
            written_by_user,
            |k| {
                drop(k.settle::<ReadWrite>(PAGE, At::Linear)?);
                map(k, PAGE, USER, true)
            },
            "2 + 1",
            "3 + I",
        ),
        row(
            "vmap area written, then read by a device",
            |k| {
                k.settle::<ReadWrite>(PAGE, user(k))?.hold().leak();
                Ok(())
            },
            |k| device_read(k, PAGE),
            "1 + 1",
            "1 + 1",
        ),
        row(
            "shared ring, kernel's side of a round",
            |k| {
                k.clear(PAGE, user(k))?;
                k.settle::<ReadWrite>(PAGE, user(k))?.hold().leak();
                map(k, PAGE, USER, true)
            },
            |k| {
                let entry = k.window::<ReadOnly>(PAGE)?;
                entry.read(0, &mut [0; 8])
            },
            "0, and stale",
            "0, and stale",
        ),
    ]
}

/// Page operations on the data side, instruction sides dropped, windows mapped.
fn count(row: &Row) -> (usize, usize, u64) {
    let shape = Shape::of(4);
    let kernel = Machine::new(shape, &[State::UNCACHED; 2], vec![[Pte::None; COLOURS]; 2]);
    (row.before)(&kernel).unwrap_or_else(|error| panic!("before {}: {error}", row.operation));
    let machine = kernel.platform();
    machine.log.borrow_mut().clear();
    machine.window_maps.set(0);
    (row.counted)(&kernel).unwrap_or_else(|error| panic!("{}: {error}", row.operation));
    let log = machine.log.borrow();
    let data = log.iter().filter(|did| matches!(did, Did::Maintain { .. })).count();
    let instructions = log.iter().filter(|did| matches!(did, Did::DropInstructions { .. })).count();
    (data, instructions, machine.window_maps.get())
}

#[test]
fn the_table_in_the_documentation_is_what_is_counted() {
    let mut table = String::from(
        "# Maintenance per operation\n\n\
         Written by the test `table` of the crate `congruent` (`UPDATE=1 cargo test -p congruent table`): do not edit.\n\n\
         Counted with four colours, a write-back cache on a core that does not speculate, users at colour 2, permanent mappings at\n\
         colours 0 and 1. A number is of operations on one page of the data cache through one colour; `I` is an instruction cache\n\
         dropped; *stale* means that the reader can still get old bytes. The Linux columns are read from the 6.12 sources\n\
         (`arch/mips/mm`, `arch/arm/mm`, `mm`), for the same situation.\n\n\
         | operation | this library | windows mapped | Linux, MIPS r4k | Linux, ARMv6 |\n|---|---|---|---|---|\n",
    );
    for row in rows() {
        let (data, instructions, windows) = count(&row);
        let ours = if instructions > 0 { format!("{data} + I") } else { data.to_string() };
        writeln!(table, "| {} | {ours} | {windows} | {} | {} |", row.operation, row.mips, row.arm).unwrap();
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/embedding/maintenance.md");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path, &table).unwrap();
    }
    let written = std::fs::read_to_string(path).expect("docs/embedding/maintenance.md: run with UPDATE=1 to write it");
    assert_eq!(written, table, "the table no longer says what is counted; UPDATE=1 writes it anew");
}
