//! Names from symbol files of every kind, and the files that give none.

#![allow(clippy::single_range_in_vec_init, reason = "a list of one range is what is meant")]

use congruent_report::{SiteError, SymbolFileError, Symbols};
use gimli::write::{Address, AttributeValue, Dwarf, EndianVec, LineProgram, LineString, LineStringTable, Sections, Unit};
use object::write::{Object, Symbol, SymbolSection};
use object::{Architecture, BinaryFormat, Endianness, SectionKind, SymbolFlags, SymbolKind, SymbolScope};

fn symbols(files: &[&[u8]]) -> Symbols {
    let mut symbols = Symbols::default();
    for file in files {
        symbols.add(file).unwrap();
    }
    symbols
}

fn name(symbols: &Symbols, address: u64) -> String {
    symbols.resolve(address).map_or_else(|| "?".to_owned(), |place| place.to_string())
}

const KALLSYMS: &[u8] = b"00001004 t vector_rst
00001280 A _absolute
80100000 T _text
80100000 T _stext
80100400 t local_helper
80100400 T __copy_user
80100400 W copy_user
80100480 T flush_dcache_page
80100480 t $L123
801004c0 t flush_dcache_page.isra.0
80100500 T clear_page
80100500 t $d
80140000 D jiffies
80150000 t lonely
80170000 B __bss_start
c0008000 t driver_probe\t[driver]
";

#[test]
fn kallsyms_names_functions_up_to_the_next_symbol() {
    let symbols = symbols(&[KALLSYMS]);
    for (address, expected) in [
        (0x8010_0400, "copy_user+0x0"),
        (0x8010_047f, "copy_user+0x7f"),
        (0x8010_0484, "flush_dcache_page+0x4"),
        (0x8010_04c4, "flush_dcache_page.isra.0+0x4"),
        (0x8010_0510, "clear_page+0x10"),
        (0xc000_8010, "driver_probe+0x10"),
        // Data, and code too far behind the last name.
        (0x8014_0000, "?"),
        (0x8015_ffff, "lonely+0xffff"),
        (0x8016_0000, "?"),
        (0xc001_8000, "?"),
        // A name under its link address is not the code of user programs.
        (0x0000_1010, "?"),
        (0x0040_0000, "?"),
    ] {
        assert_eq!(name(&symbols, address), expected, "{address:#x}");
    }
}

#[test]
fn a_list_from_a_console_log_may_have_carriage_returns_and_blank_lines() {
    let symbols = symbols(&[b"80100000 T _text\r\n\r\n80100100 T memcpy\r\n"]);
    assert_eq!(name(&symbols, 0x8010_0104), "memcpy+0x4");
}

#[test]
fn files_that_name_nothing_are_refused_with_the_reason() {
    use SymbolFileError::*;
    let mut other = elf(Architecture::X86_64, Endianness::Little, &[]);
    other[16] = 2;
    let mut shared = elf(Architecture::Mips, Endianness::Little, &[]);
    shared[16] = 3;
    let mut object = elf(Architecture::Mips, Endianness::Little, &[]);
    object[16] = 1;
    let stripped = elf(Architecture::Mips, Endianness::Little, &[]);
    for (file, expected) in [
        (&b""[..], Empty),
        (b"\n \n", Empty),
        (b"\x1f\x8b\x08\x00", Unknown),
        (b"a\0b", Unknown),
        (b"80100000 T memcpy\n80100010 Tt memset\n", Line { line: 2, text: "80100010 Tt memset".to_owned() }),
        (b"hello\n", Line { line: 1, text: "hello".to_owned() }),
        (b"80100000 T memcpy in the kernel\n", Line { line: 1, text: "80100000 T memcpy in the kernel".to_owned() }),
        (b"ffffffffffffffff B The real System.map is in the linux-image-<version>-dbg package\n", Stub),
        (b"00000000 T _text\n00000000 T memcpy\n", Hidden),
        (b"80100000 D data\n", NoFunctions),
        (&other, OtherArchitecture),
        (&shared, PositionIndependent),
        (&object, NotLinked),
        (&stripped, NoFunctions),
    ] {
        let mut symbols = Symbols::default();
        assert_eq!(symbols.add(file), Err(expected));
        assert!(symbols.is_empty());
    }
    assert!(matches!(Symbols::default().add(&stripped[..40]), Err(Elf(_))));
}

/// An executable with these functions — name, start, size, kind, scope — and, if it has any, line 10 for the first 16 bytes of the
/// first and line 20 after that.
fn elf(architecture: Architecture, endian: Endianness, functions: &[(&str, u64, u64, SymbolKind, SymbolScope)]) -> Vec<u8> {
    let mut file = Object::new(BinaryFormat::Elf, architecture, endian);
    let text = file.add_section(Vec::new(), b".text".to_vec(), SectionKind::Text);
    file.append_section_data(text, &[0; 0x1000], 4);
    for &(name, value, size, kind, scope) in functions {
        let section = SymbolSection::Section(text);
        let (name, flags) = (name.as_bytes().to_vec(), SymbolFlags::None);
        file.add_symbol(Symbol { name, value, size, kind, scope, weak: false, section, flags });
    }
    if let Some(&(_, start, size, ..)) = functions.first() {
        for (id, data) in dwarf(start & !1, size, endian) {
            let section = file.add_section(Vec::new(), id.as_bytes().to_vec(), SectionKind::Debug);
            file.append_section_data(section, &data, 1);
        }
    }
    let mut bytes = file.write().unwrap();
    // The writer knows only object files; ET_EXEC is 2, in a halfword at 16.
    let at = if endian == Endianness::Little { 16 } else { 17 };
    bytes[at] = 2;
    bytes
}

fn dwarf(start: u64, size: u64, endian: Endianness) -> Vec<(&'static str, Vec<u8>)> {
    let encoding = gimli::Encoding { format: gimli::Format::Dwarf32, version: 4, address_size: 4 };
    let mut strings = LineStringTable::default();
    let mut string = |text: &str| LineString::new(text, encoding, &mut strings);
    let mut lines =
        LineProgram::new(encoding, gimli::LineEncoding::default(), string("/linux"), None, string("arch/mips/mm/init.c"), None);
    let file = lines.add_file(string("arch/mips/mm/init.c"), lines.default_directory(), None);
    lines.begin_sequence(Some(Address::Constant(start)));
    for (offset, line) in [(0, 10), (16, 20)] {
        lines.row().address_offset = offset;
        lines.row().file = file;
        lines.row().line = line;
        lines.generate_row();
    }
    lines.end_sequence(size);
    let mut dwarf = Dwarf::new();
    let mut unit = Unit::new(encoding, lines);
    let root = unit.root();
    let root = unit.get_mut(root);
    root.set(gimli::DW_AT_name, AttributeValue::String(b"arch/mips/mm/init.c".to_vec()));
    root.set(gimli::DW_AT_comp_dir, AttributeValue::String(b"/linux".to_vec()));
    root.set(gimli::DW_AT_low_pc, AttributeValue::Address(Address::Constant(start)));
    root.set(gimli::DW_AT_high_pc, AttributeValue::Udata(size));
    dwarf.units.add(unit);
    let endian = if endian == Endianness::Little { gimli::RunTimeEndian::Little } else { gimli::RunTimeEndian::Big };
    let mut sections = Sections::new(EndianVec::new(endian));
    dwarf.write(&mut sections).unwrap();
    let mut out = Vec::new();
    sections
        .for_each(|id, data| {
            if !data.slice().is_empty() {
                out.push((id.name(), data.slice().to_vec()));
            }
            Ok::<(), gimli::write::Error>(())
        })
        .unwrap();
    out
}

use SymbolKind::{Data, Text};
use SymbolScope::{Compilation, Linkage};

#[test]
fn elf_names_functions_by_their_size_and_lines_by_dwarf() {
    for endian in [Endianness::Little, Endianness::Big] {
        let file = elf(
            Architecture::Mips,
            endian,
            &[
                ("copy_user_highpage", 0x100, 0x40, Text, Linkage),
                ("inner", 0x110, 0x8, Text, Compilation),
                ("unsized_in_assembler", 0x200, 0, Text, Linkage),
                ("next", 0x300, 0x10, Text, Linkage),
                ("table", 0x140, 0x40, Data, Linkage),
            ],
        );
        let symbols = symbols(&[&file]);
        for (address, expected) in [
            (0x100, "copy_user_highpage+0x0"),
            (0x114, "inner+0x4"),
            (0x13c, "copy_user_highpage+0x3c"),
            (0x140, "?"),
            (0x2fc, "unsized_in_assembler+0xfc"),
            (0x304, "next+0x4"),
            (0x310, "?"),
        ] {
            assert_eq!(name(&symbols, address), expected, "{address:#x}");
        }
        let line = |address| symbols.resolve(address).unwrap().line;
        assert_eq!(line(0x104).as_deref(), Some("/linux/arch/mips/mm/init.c:10"));
        assert_eq!(line(0x120).as_deref(), Some("/linux/arch/mips/mm/init.c:20"));
        assert_eq!(line(0x304), None);
    }
}

#[test]
fn thumb_functions_begin_at_even_addresses() {
    let file =
        elf(Architecture::Arm, Endianness::Little, &[("thumb", 0x101, 0x20, Text, Linkage), ("$t", 0x100, 0, Text, Compilation)]);
    let symbols = symbols(&[&file]);
    assert_eq!(name(&symbols, 0x100), "thumb+0x0");
    assert_eq!(symbols.ranges("thumb"), Ok(vec![0x100..0x120]));
}

#[test]
fn the_first_file_that_knows_an_address_names_it_and_any_gives_the_line() {
    let elf = elf(Architecture::Mips, Endianness::Little, &[("from_elf", 0x100, 0x40, Text, Linkage)]);
    let list = b"00000100 T from_list\n00000200 T other\n";
    let place = symbols(&[list, &elf]).resolve(0x104).unwrap();
    assert_eq!((&*place.function, place.line.as_deref()), ("from_list", Some("/linux/arch/mips/mm/init.c:10")));
    assert_eq!(name(&symbols(&[&elf, list]), 0x104), "from_elf+0x4");
    assert_eq!(name(&symbols(&[&elf, list]), 0x204), "other+0x4");
}

#[test]
fn a_site_is_every_function_of_a_name_or_an_address() {
    let symbols = symbols(&[KALLSYMS, b"80200000 t clear_page\n80200040 T end\n"]);
    for (site, expected) in [
        ("copy_user", Ok(vec![0x8010_0400..0x8010_0480])),
        ("flush_dcache_page", Ok(vec![0x8010_0480..0x8010_04c0, 0x8010_04c0..0x8010_0500])),
        ("clear_page", Ok(vec![0x8010_0500..0x8011_0500, 0x8020_0000..0x8020_0040])),
        ("0x80100484", Ok(vec![0x8010_0484..0x8010_0488])),
        ("0x80100484-0x80100500", Ok(vec![0x8010_0484..0x8010_0500])),
        ("0x80100500-0x80100500", Err(SiteError::EmptyRange("0x80100500-0x80100500".to_owned()))),
        ("0x80100500-", Err(SiteError::NotAnAddress("0x80100500-".to_owned()))),
        ("0x1ffffffff", Err(SiteError::NotAnAddress("0x1ffffffff".to_owned()))),
    ] {
        assert_eq!(symbols.ranges(site), expected, "{site}");
    }
}

#[test]
fn an_unknown_name_brings_the_nearest_ones() {
    let symbols = symbols(&[KALLSYMS]);
    for (wanted, expected) in [
        ("flush_dcache_pgae", &["flush_dcache_page"][..]),
        ("dcache_page", &["flush_dcache_page", "flush_dcache_page.isra.0"]),
        ("kmap_coherent", &[]),
    ] {
        let Err(SiteError::UnknownName { suggestions, .. }) = symbols.ranges(wanted) else { panic!("{wanted} was found") };
        assert_eq!(suggestions, expected, "{wanted}");
    }
    assert_eq!(Symbols::default().ranges("memcpy"), Err(SiteError::NoSymbols("memcpy".to_owned())));
}

#[test]
fn of_several_names_for_one_address_the_interface_is_told_and_not_how_it_is_implemented() {
    // As ARM's Linux has them.
    let names = symbols(&[b"80100000 T _text
80100100 T __memcpy
80100100 W memcpy
80100100 T mmiocpy
80100200 W memset
80100200 T __memset
80100200 T mmioset
80100300 W sys_a
80100300 W sys_b
80100300 T sys_ni_syscall
80100400 T long_public_name
80100400 t short
80100500 T __only
80100500 W __weak_too
80100600 T _etext
"]);
    let told = [0x8010_0100, 0x8010_0200, 0x8010_0300, 0x8010_0400, 0x8010_0500].map(|address| name(&names, address + 4));
    assert_eq!(told, ["memcpy+0x4", "memset+0x4", "sys_ni_syscall+0x4", "long_public_name+0x4", "__only+0x4"]);
}

#[test]
fn lines_of_a_file_are_those_of_the_code_that_has_moved() {
    use congruent_report::kallsyms;

    let functions: Vec<(String, u64)> = (0..40).map(|n| (format!("function_{n}"), 0x100 + 0x40 * n)).collect();
    let of_elf: Vec<_> =
        functions.iter().map(|(name, at)| (name.as_str(), *at, 0x40, SymbolKind::Text, SymbolScope::Linkage)).collect();
    let mut symbols = symbols(&[&elf(Architecture::Mips, Endianness::Little, &of_elf)]);
    let moved = 0x0145_0000;
    let line = |address| symbols.resolve(address).and_then(|place| place.line);
    let (before, nowhere) = (line(0x108), line(0x108 + moved));
    assert!(before.is_some() && nowhere.is_none());
    let found: Vec<_> =
        functions.iter().map(|(name, at)| kallsyms::Symbol { address: at + moved, kind: 'T', name: name.clone() }).collect();
    symbols.add_found(&found).unwrap();
    let place = symbols.resolve(0x108 + moved).unwrap();
    assert_eq!((place.function.as_str(), place.offset, place.line), ("function_0", 8, before));
}

#[test]
fn code_that_was_written_in_rust_goes_by_the_names_that_it_was_written_with() {
    let table = "80001000 T _RNvNtCs1_8skeleton5fault6handle\n\
                 80002000 T _ZN8skeleton5space5Space3map17h0123456789abcdefE\n\
                 80003000 T _Reset\n80004000 T _etext\n";
    let mut symbols = Symbols::default();
    symbols.add(table.as_bytes()).unwrap();
    let name = |address| symbols.resolve(address).map(|place| place.to_string());
    assert_eq!(name(0x8000_1004).as_deref(), Some("skeleton::fault::handle+0x4"));
    assert_eq!(name(0x8000_2000).as_deref(), Some("skeleton::space::Space::map+0x0"));
    assert_eq!(name(0x8000_3000).as_deref(), Some("_Reset+0x0"));
    assert_eq!(symbols.ranges("skeleton::fault::handle").unwrap(), std::iter::once(0x8000_1000..0x8000_2000).collect::<Vec<_>>());
}
