//! The symbol tables of the stock kernels, found in their images as they would be found in a guest's memory, held against what the
//! kernels themselves say in `/proc/kallsyms`.

use std::fs;
use std::ops::Range;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use congruent_report::kallsyms::{Memory, find};

use crate::guests::machine::Guest;
use crate::place;

/// The beginning of an xz stream, which Debian packs kernels in.
const XZ: &[u8] = b"\xfd7zXZ\0";

/// What a guest has at most.
const MEMORY: usize = 256 << 20;

/// Checks the kernel of every guest that can be asked for its symbols, each at the end of a guest's worth of other memory, and says how
/// many those are.
///
/// # Errors
/// If a symbol is missing, wrong or too much.
pub fn perform() -> Result<usize> {
    let mut count = 0;
    for machine in Guest::ALL.into_iter().map(Guest::machine).filter(|machine| machine.shell) {
        let dir = place::guests().join(machine.directory);
        let packed = fs::read(dir.join("kernel/vmlinuz")).context("no guests yet: run `cargo xtask guests`")?;
        let said = fs::read_to_string(dir.join("kallsyms")).context("no guests yet: run `cargo xtask guests`")?;
        let image = unpack(&packed).with_context(|| format!("the kernel of {} holds no packed image", machine.directory))?;
        let image_size = image.len();
        let mut memory: Vec<u8> = (0..MEMORY - image.len()).map(|n| (n.wrapping_mul(0x9e37_79b9) >> 13) as u8).collect();
        memory.extend(image);
        let started = Instant::now();
        let found = find(&Image(memory)).pop().with_context(|| format!("no symbols in the kernel of {}", machine.directory))?;
        let took = started.elapsed();
        let found: Vec<String> =
            found.iter().map(|symbol| format!("{:08x} {} {}", symbol.address, symbol.kind, symbol.name)).collect();
        // Symbols of modules have the module's name behind them.
        let said: Vec<&str> = said.lines().filter(|line| !line.contains('[')).collect();
        for (found, said) in found.iter().zip(&said) {
            ensure!(found == said, "{}: found {found:?} where the kernel says {said:?}", machine.directory);
        }
        ensure!(found.len() == said.len(), "{}: found {} symbols, the kernel has {}", machine.directory, found.len(), said.len());
        println!(
            "{}: all {} symbols of an image of {} KiB, found in {} MiB of memory in {:.2} s",
            machine.directory,
            found.len(),
            image_size >> 10,
            MEMORY >> 20,
            took.as_secs_f64()
        );
        count += 1;
    }
    ensure!(count > 0, "no guest has a kernel to look into");
    Ok(count)
}

struct Image(Vec<u8>);

impl Memory for Image {
    fn ranges(&self) -> impl Iterator<Item = Range<u64>> {
        std::iter::once(0..self.0.len() as u64)
    }

    fn read(&self, address: u64, to: &mut [u8]) -> bool {
        let from = address as usize;
        self.0.get(from..from + to.len()).map(|bytes| to.copy_from_slice(bytes)).is_some()
    }
}

/// The image in a kernel that unpacks itself: the first stream that unpacks to more than was packed. The unpacker holds the stream's
/// first bytes too, to recognise it by.
fn unpack(packed: &[u8]) -> Option<Vec<u8>> {
    let starts = packed.windows(XZ.len()).enumerate().filter(|(_, bytes)| *bytes == XZ).map(|(at, _)| at);
    starts.filter_map(|at| xz(packed[at..].to_vec()).ok()).find(|image| image.len() > packed.len())
}

fn xz(stream: Vec<u8>) -> Result<Vec<u8>> {
    use std::io::Write;

    let mut xz = Command::new("xz")
        .args(["--decompress", "--stdout", "--single-stream", "--quiet"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .context("cannot start `xz`: is it installed?")?;
    let mut to = xz.stdin.take().expect("stdin is piped");
    // xz ends with its stream and leaves the rest unread.
    let writer = std::thread::spawn(move || drop(to.write_all(&stream)));
    let output = xz.wait_with_output()?;
    writer.join().expect("the writer does not panic");
    Ok(output.stdout)
}
