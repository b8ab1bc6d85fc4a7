//! Names for code addresses, from the files that kernels and linkers leave behind.
//!
//! Sources are kallsyms text, System.map and ELF files. They are asked in the order in which they were added: the first that
//! knows an address names it. A file that cannot name anything is refused, with the remedy, instead of silently naming nothing.

mod elf;
pub mod kallsyms;
mod site;
mod text;

use std::collections::HashMap;

pub use site::SiteError;

/// Symbols of the guest's code, from any number of files.
#[derive(Default)]
pub struct Symbols {
    sources: Vec<Source>,
}

/// One file's functions, and its line table if it has one.
struct Source {
    functions: Vec<Function>,
    lines: Option<elf::Lines>,
    /// How much further on than the file says the code was found to lie, modulo 2^64.
    moved: Vec<u64>,
}

/// A function: what an address is looked up in.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Function {
    start: u64,
    end: u64,
    name: String,
    binding: Binding,
}

/// How far a symbol is visible. Of several names for one address the widest is the one people know.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Binding {
    Global,
    Weak,
    Local,
}

/// Where an address lies.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    /// The function.
    pub function: String,
    /// Bytes from the function's start.
    pub offset: u64,
    /// `file:line`, where the symbol file has line information.
    pub line: Option<String>,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}+{:#x}", self.function, self.offset)
    }
}

/// Why a file gives no symbols. Each text names the remedy.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SymbolFileError {
    /// The file is empty.
    #[error("it is empty; give a vmlinux, a System.map or the guest's /proc/kallsyms")]
    Empty,
    /// Neither ELF nor text.
    #[error("it is neither ELF nor a symbol list; give an uncompressed vmlinux, a System.map or the guest's /proc/kallsyms")]
    Unknown,
    /// A line that is not `ADDRESS TYPE NAME`.
    #[error("line {line} is not `ADDRESS TYPE NAME`: {text:?}; give a System.map or the guest's /proc/kallsyms as they are")]
    Line {
        /// Counted from 1.
        line: usize,
        /// The line's beginning.
        text: String,
    },
    /// A distribution's placeholder for a System.map.
    #[error("it is a placeholder without symbols; take the one of the kernel's debug package, or the guest's /proc/kallsyms")]
    Stub,
    /// kallsyms as read without the right to see addresses.
    #[error("all its addresses are zero; read /proc/kallsyms as root after `sysctl kernel.kptr_restrict=0`")]
    Hidden,
    /// No function among the symbols.
    #[error("it names no functions; give a file that was not stripped")]
    NoFunctions,
    /// An ELF file that cannot be read.
    #[error("it is a damaged ELF file ({0}); copy or build it again")]
    Elf(String),
    /// An ELF file whose addresses are decided when it is loaded.
    #[error("it is position-independent, so its addresses are known only at run time; link the program with -static -no-pie")]
    PositionIndependent,
    /// An object file or kernel module, which has no addresses yet.
    #[error("it is not linked, so it has no addresses yet; give the vmlinux or the program that it becomes part of")]
    NotLinked,
    /// An ELF file of a machine other than the guests'.
    #[error(
        "it is an ELF file for another architecture than the guests that can be checked (MIPS, ARM, SuperH and PA-RISC, 32 bits)"
    )]
    OtherArchitecture,
}

impl Symbols {
    /// Adds the symbols of one file, given as its bytes.
    ///
    /// # Errors
    /// [`SymbolFileError`] if it gives none; nothing was added then.
    pub fn add(&mut self, file: &[u8]) -> Result<(), SymbolFileError> {
        let mut source = if file.starts_with(b"\x7fELF") { elf::read(file)? } else { Source::of(text::read(file)?) };
        if source.functions.is_empty() {
            return Err(SymbolFileError::NoFunctions);
        }
        demangle(&mut source.functions);
        self.sources.push(source);
        Ok(())
    }

    /// Adds the symbols of a kernel that [`kallsyms::find`] found in a guest's memory. Where a file is of the same kernel, which has moved
    /// elsewhere since it was linked, the file names what has moved as well.
    ///
    /// # Errors
    /// [`SymbolFileError::NoFunctions`] if none of them is a function; nothing was added then.
    pub fn add_found(&mut self, symbols: &[kallsyms::Symbol]) -> Result<(), SymbolFileError> {
        let mut functions = text::found(symbols);
        demangle(&mut functions);
        if functions.is_empty() {
            return Err(SymbolFileError::NoFunctions);
        }
        for source in &mut self.sources {
            if let Some(moved) = source.distance_to(&functions)
                && moved != 0
                && !source.moved.contains(&moved)
            {
                source.moved.push(moved);
            }
        }
        self.sources.push(Source::of(functions));
        Ok(())
    }

    /// Whether no file was added.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sources.is_empty()
    }

    /// The function that `address` lies in, `None` if no file has one there.
    ///
    /// The line comes from the first file that has line information for the address, whichever file named the function.
    #[must_use]
    pub fn resolve(&self, address: u64) -> Option<Place> {
        let (function, linked) = self.sources.iter().find_map(|source| source.linked_at(address))?;
        Some(Place { function: function.name.clone(), offset: linked - function.start, line: self.line_of(address) })
    }

    fn line_of(&self, address: u64) -> Option<String> {
        self.sources.iter().find_map(|source| {
            let (_, linked) = source.linked_at(address)?;
            source.lines.as_ref()?.find(linked)
        })
    }
}

/// Gives functions that were written in Rust the names that they were written with (RFC 2603), without what tells apart the crates of one name.
fn demangle(functions: &mut [Function]) {
    for function in functions {
        if let Ok(name) = rustc_demangle::try_demangle(&function.name) {
            function.name = format!("{name:#}");
        }
    }
}

/// So many functions of one name in two tables, in hundredths of those that are in both, tell how far apart the tables are.
const AGREEING: usize = 90;
/// Fewer functions than this in common are an accident.
const FEWEST_IN_COMMON: usize = 32;

impl Source {
    fn of(functions: Vec<Function>) -> Self {
        Self { functions, lines: None, moved: Vec::new() }
    }

    /// The function that runs at this address, and the address that it was linked at.
    fn linked_at(&self, address: u64) -> Option<(&Function, u64)> {
        let linked = std::iter::once(address).chain(self.moved.iter().map(|moved| address.wrapping_sub(*moved)));
        linked.into_iter().find_map(|linked| Some((self.function_at(linked)?, linked)))
    }

    /// How much further on these functions lie than those of the same names here, modulo 2^64; `None` if that is not the same of nearly all.
    fn distance_to(&self, found: &[Function]) -> Option<u64> {
        // A name that several functions have tells nothing.
        let mut starts: HashMap<&str, Option<u64>> = HashMap::new();
        for function in &self.functions {
            starts.entry(&function.name).and_modify(|start| *start = None).or_insert(Some(function.start));
        }
        let mut distances: HashMap<u64, usize> = HashMap::new();
        let mut common = 0;
        for function in found {
            if let Some(Some(start)) = starts.get(&*function.name) {
                common += 1;
                *distances.entry(function.start.wrapping_sub(*start)).or_default() += 1;
            }
        }
        let (distance, agreeing) = distances.into_iter().max_by_key(|(distance, times)| (*times, *distance))?;
        (common >= FEWEST_IN_COMMON && agreeing * 100 >= common * AGREEING).then_some(distance)
    }

    fn function_at(&self, address: u64) -> Option<&Function> {
        let after = self.functions.partition_point(|function| function.start <= address);
        // The nearest start need not be the answer: a short function may lie inside a longer one.
        self.functions[..after].iter().rev().take(16).find(|function| address < function.end)
    }
}

/// Sorts by start; of several names for one start the one that people know comes last, where the look-up begins: the one with
/// the fewest leading underscores, the most visible, the shortest.
///
/// A weak name that is alone is more visible than a strong one: it is the interface, the strong one its implementation (as libraries
/// name them, and ARM's Linux, where `memcpy` is a weak name of `mmiocpy`). Several weak names are functions that are missing, and the strong
/// one is what stands in for them all (Linux, `sys_ni_syscall`).
fn tidy(mut functions: Vec<Function>) -> Vec<Function> {
    let underscores = |name: &str| name.len() - name.trim_start_matches('_').len();
    functions.sort_by_key(|function| function.start);
    for of_one_start in functions.chunk_by_mut(|a, b| a.start == b.start) {
        let public = |f: &&Function| f.binding == Binding::Weak && underscores(&f.name) == 0;
        let is_interface = of_one_start.iter().filter(public).count() == 1;
        let visibility = |f: &Function| if is_interface && public(&f) { None } else { Some(f.binding) };
        let key = |f: &Function| (underscores(&f.name), visibility(f), f.name.len());
        of_one_start.sort_by(|a, b| key(b).cmp(&key(a)).then_with(|| b.name.cmp(&a.name)));
    }
    functions
}

/// Labels that tools put among the symbols: ARM's mapping symbols `$a`, `$t`, `$d` (AAELF32, "Mapping symbols"), MIPS's `$L…`,
/// and `.L…` of every assembler.
fn is_tool_label(name: &str) -> bool {
    name.is_empty()
        || name.starts_with('$')
        || name.starts_with(".L")
        || name.starts_with("__ksymtab_")
        || name.starts_with("__crc_")
}
