//! ELF files: functions from the symbol table, lines from DWARF.
//!
//! Only executables of 32-bit MIPS, ARM, SuperH and PA-RISC, because those are the guests. A file without DWARF gives functions alone.

use std::sync::Arc;

use gimli::{EndianArcSlice, RunTimeEndian};
use object::read::{Object as _, ObjectSection as _, ObjectSymbol as _};
use object::{Architecture, ObjectKind, SectionKind, SymbolKind};

use super::{Binding, Function, Source, SymbolFileError, is_tool_label, tidy};

type Reader = EndianArcSlice<RunTimeEndian>;

/// A line table.
pub(super) struct Lines(addr2line::Context<Reader>);

impl Lines {
    /// `file:line` of an address.
    pub(super) fn find(&self, address: u64) -> Option<String> {
        let location = self.0.find_location(address).ok()??;
        Some(format!("{}:{}", location.file?, location.line?))
    }
}

pub(super) fn read(bytes: &[u8]) -> Result<Source, SymbolFileError> {
    let damaged = |error: object::Error| SymbolFileError::Elf(error.to_string());
    let file = object::File::parse(bytes).map_err(damaged)?;
    let arm = file.architecture() == Architecture::Arm;
    if !matches!(file.architecture(), Architecture::Arm | Architecture::Mips | Architecture::SuperH | Architecture::Hppa) {
        return Err(SymbolFileError::OtherArchitecture);
    }
    match file.kind() {
        ObjectKind::Dynamic => return Err(SymbolFileError::PositionIndependent),
        ObjectKind::Relocatable => return Err(SymbolFileError::NotLinked),
        _ => {}
    }
    let functions = functions(&file, arm);
    // Line information is a bonus: a file whose DWARF is damaged still names functions.
    let lines = addr2line::Context::from_dwarf(dwarf(&file)).ok().filter(|_| file.section_by_name(".debug_line").is_some());
    Ok(Source { functions, lines: lines.map(Lines), moved: Vec::new() })
}

fn functions(file: &object::File<'_>, arm: bool) -> Vec<Function> {
    let code: Vec<_> = file.sections().filter(|section| section.kind() == SectionKind::Text).collect();
    let section_end = |address: u64| {
        let section = code.iter().find(|section| (section.address()..section.address() + section.size()).contains(&address))?;
        Some(section.address() + section.size())
    };
    let mut found = Vec::new();
    for symbol in file.symbols().chain(file.dynamic_symbols()) {
        let (Ok(name), true) = (symbol.name(), symbol.kind() == SymbolKind::Text) else { continue };
        if is_tool_label(name) || symbol.is_undefined() {
            continue;
        }
        // Bit 0 of an ARM function's address says that it is Thumb code (AAELF32, "Symbol values").
        let start = if arm { symbol.address() & !1 } else { symbol.address() };
        let Some(limit) = section_end(start) else { continue };
        let binding = match (symbol.is_global(), symbol.is_weak()) {
            (_, true) => Binding::Weak,
            (true, false) => Binding::Global,
            (false, false) => Binding::Local,
        };
        let end = if symbol.size() == 0 { limit } else { start + symbol.size() };
        found.push((symbol.size() == 0, Function { start, end, name: name.to_owned(), binding }));
    }
    let mut starts: Vec<u64> = found.iter().map(|(_, function)| function.start).collect();
    starts.sort_unstable();
    for (unsized_, function) in &mut found {
        if *unsized_ && let Some(&next) = starts.get(starts.partition_point(|&start| start <= function.start)) {
            function.end = function.end.min(next);
        }
    }
    let mut functions = tidy(found.into_iter().map(|(_, function)| function).collect());
    // The dynamic table repeats entries of the full one.
    functions.dedup();
    functions
}

fn dwarf(file: &object::File<'_>) -> gimli::Dwarf<Reader> {
    let endian = if file.is_little_endian() { RunTimeEndian::Little } else { RunTimeEndian::Big };
    let section = |id: gimli::SectionId| -> Result<Reader, std::convert::Infallible> {
        let data = file.section_by_name(id.name()).and_then(|section| section.uncompressed_data().ok()).unwrap_or_default();
        Ok(EndianArcSlice::new(Arc::from(&*data), endian))
    };
    let Ok(dwarf) = gimli::Dwarf::load(section);
    dwarf
}
