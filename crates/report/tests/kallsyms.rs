//! Symbols found in memory: tables of every layout, form, width and byte order that Linux has had since 5.0, made here, are found and
//! give back what they were made of; memory without them, or with damaged ones, gives nothing. (`cargo xtask kallsyms` does the same
//! with the images of stock kernels.)

use std::ops::Range;

use congruent_report::Symbols;
use congruent_report::kallsyms::{Memory, Symbol, find};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Layout {
    /// To 6.1.
    AddressesFirst,
    /// 6.2 and 6.3: the order of names stands before the tokens.
    NameOrderInside,
    /// From 6.4.
    AddressesLast,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Form {
    Absolute,
    Relative,
    AbsolutePerCpu,
    ToPlace,
}

#[derive(Clone, Copy, Debug)]
struct Shape {
    layout: Layout,
    form: Form,
    pointer: usize,
    little: bool,
}

struct Image {
    start: u64,
    bytes: Vec<u8>,
}

impl Memory for Image {
    fn ranges(&self) -> impl Iterator<Item = Range<u64>> {
        std::iter::once(self.start..self.start + self.bytes.len() as u64)
    }

    fn read(&self, address: u64, to: &mut [u8]) -> bool {
        let from = (address - self.start) as usize;
        self.bytes.get(from..from + to.len()).map(|bytes| to.copy_from_slice(bytes)).is_some()
    }
}

/// A xorshift generator: the tests name their seeds.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

/// Substrings that have a token of their own, from 0x80 on.
const TOKENS: [&str; 6] = ["tsys_", "Tdo_", "cache", "flush_", "page", "__"];

/// Where the tests' image lies.
fn start_of(shape: Shape) -> u64 {
    if shape.pointer == 8 { 0xffff_ffff_8100_0000 } else { 0x8010_0000 }
}

fn symbols(shape: Shape, count: usize, random: &mut Random) -> Vec<Symbol> {
    let mut address = start_of(shape);
    let mut symbols: Vec<Symbol> = (0..count)
        .map(|n| {
            let kind = ['t', 'T', 'd', 'b'][random.below(4) as usize];
            // Now and then a name that takes two bytes of length.
            let long = if n % 97 == 5 { "x".repeat(100 + random.below(300) as usize) } else { String::new() };
            let stem = ["flush_cache_page", "sys_read", "do_it", "zone", "__init"][random.below(5) as usize];
            let symbol = Symbol { address, kind, name: format!("{stem}{long}{n}") };
            address += random.below(200) & !3;
            symbol
        })
        .collect();
    if shape.form == Form::AbsolutePerCpu {
        for (n, symbol) in symbols.iter_mut().take(count / 10).enumerate() {
            symbol.address = 16 * n as u64;
        }
    }
    symbols
}

struct Writer {
    shape: Shape,
    bytes: Vec<u8>,
}

impl Writer {
    fn align(&mut self) {
        let to = self.bytes.len().next_multiple_of(self.shape.pointer);
        self.bytes.resize(to, 0);
    }

    fn number(&mut self, value: u64, size: usize) {
        let little = value.to_le_bytes();
        let part = &little[..size];
        if self.shape.little { self.bytes.extend(part) } else { self.bytes.extend(part.iter().rev()) }
    }

    fn addresses(&mut self, symbols: &[Symbol]) {
        self.align();
        let base = symbols.iter().map(|symbol| symbol.address).find(|&address| address >= start_of(self.shape)).unwrap();
        for symbol in symbols {
            let place = start_of(self.shape) + self.bytes.len() as u64;
            match self.shape.form {
                Form::Absolute => self.number(symbol.address, self.shape.pointer),
                Form::Relative => self.number(symbol.address - base, 4),
                Form::AbsolutePerCpu if symbol.address < base => self.number(symbol.address, 4),
                Form::AbsolutePerCpu => self.number((base - 1).wrapping_sub(symbol.address), 4),
                Form::ToPlace => self.number(symbol.address.wrapping_sub(place), 4),
            }
        }
        if matches!(self.shape.form, Form::Relative | Form::AbsolutePerCpu) {
            self.align();
            self.number(base, self.shape.pointer);
        }
    }

    fn name_order(&mut self, count: usize, random: &mut Random) {
        self.align();
        for _ in 0..count {
            let n = random.below(count as u64).to_be_bytes();
            self.bytes.extend(&n[5..]);
        }
    }
}

fn compressed(symbol: &Symbol) -> Vec<u8> {
    let mut text = format!("{}{}", symbol.kind, symbol.name);
    for (token, part) in (0x80u8..).zip(TOKENS) {
        text = text.replace(part, &char::from(token).to_string());
    }
    text.chars().map(|c| c as u8).collect()
}

/// An image with these symbols: something, the tables, something.
fn image(shape: Shape, symbols: &[Symbol], random: &mut Random) -> Image {
    let mut to = Writer { shape, bytes: (0..random.below(60_000) & !7).map(|_| random.next() as u8).collect() };
    if shape.layout != Layout::AddressesLast {
        to.addresses(symbols);
    }
    to.align();
    to.number(symbols.len() as u64, 4);
    to.align();
    let names = to.bytes.len();
    let mut markers = Vec::new();
    for (n, symbol) in symbols.iter().enumerate() {
        if n % 256 == 0 {
            markers.push(to.bytes.len() - names);
        }
        let name = compressed(symbol);
        if name.len() < 0x80 {
            to.bytes.push(name.len() as u8);
        } else {
            to.bytes.extend([name.len() as u8 & 0x7f | 0x80, (name.len() >> 7) as u8]);
        }
        to.bytes.extend(name);
    }
    to.align();
    for marker in markers {
        to.number(marker as u64, 4);
    }
    if shape.layout == Layout::NameOrderInside {
        to.name_order(symbols.len(), random);
    }
    to.align();
    let tokens = to.bytes.len();
    let mut index = Vec::new();
    for token in 0..=255u8 {
        index.push(to.bytes.len() - tokens);
        match token {
            b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'_' | b'.' => to.bytes.push(token),
            0x80.. => to.bytes.extend(TOKENS.get(usize::from(token) - 0x80).unwrap_or(&"").bytes()),
            _ => {}
        }
        to.bytes.push(0);
    }
    to.align();
    for offset in index {
        to.number(offset as u64, 2);
    }
    if shape.layout == Layout::AddressesLast {
        to.addresses(symbols);
        to.name_order(symbols.len(), random);
    }
    to.bytes.extend((0..50_000).map(|_| random.next() as u8));
    Image { start: start_of(shape), bytes: to.bytes }
}

/// Every shape that a kernel has had.
fn shapes() -> Vec<Shape> {
    let mut shapes = Vec::new();
    for layout in [Layout::AddressesFirst, Layout::NameOrderInside, Layout::AddressesLast] {
        for form in [Form::Absolute, Form::Relative, Form::AbsolutePerCpu, Form::ToPlace] {
            for pointer in [4, 8] {
                for little in [true, false] {
                    let place_was_first = form == Form::ToPlace && layout != Layout::AddressesLast;
                    let x86_alone = form == Form::AbsolutePerCpu && (pointer == 4 || !little);
                    if !place_was_first && !x86_alone {
                        shapes.push(Shape { layout, form, pointer, little });
                    }
                }
            }
        }
    }
    shapes
}

#[test]
fn tables_of_every_shape_are_found_and_read_whole() {
    for (seed, shape) in (1..).zip(shapes()) {
        for count in [512, 513, 2000] {
            let mut random = Random(seed * 0x9e37_79b9 + count as u64);
            let symbols = symbols(shape, count, &mut random);
            let image = image(shape, &symbols, &mut random);
            let found = find(&image).pop().unwrap_or_else(|| panic!("nothing found: {shape:?}, {count} symbols, seed {seed}"));
            assert_eq!(found.len(), symbols.len(), "{shape:?}, {count}, seed {seed}");
            for (found, made) in found.iter().zip(&symbols) {
                assert_eq!(found, made, "{shape:?}, {count}, seed {seed}");
            }
        }
    }
}

#[test]
fn memory_without_tables_gives_nothing() {
    let mut random = Random(7);
    let noise: Vec<u8> = (0..3 << 20).map(|_| random.next() as u8).collect();
    assert_eq!(find(&Image { start: 0, bytes: noise.clone() }), Vec::<Vec<Symbol>>::new());
    assert_eq!(find(&Image { start: 0, bytes: vec![0; 3 << 20] }), Vec::<Vec<Symbol>>::new());
    assert_eq!(find(&Image { start: 0, bytes: Vec::new() }), Vec::<Vec<Symbol>>::new());
    // The digits alone are no tables.
    let mut bytes = noise;
    bytes[1 << 20..(1 << 20) + 20].copy_from_slice(b"0\x001\x002\x003\x004\x005\x006\x007\x008\x009\x00");
    assert_eq!(find(&Image { start: 0, bytes }), Vec::<Vec<Symbol>>::new());
}

#[test]
fn damaged_tables_are_passed_over_for_whole_ones_and_never_misread() {
    let shape = Shape { layout: Layout::AddressesFirst, form: Form::Relative, pointer: 4, little: true };
    for seed in 1..60 {
        let mut random = Random(seed);
        let symbols = symbols(shape, 600, &mut random);
        let mut image = image(shape, &symbols, &mut random);
        // A byte of names, markers, tokens or addresses that is wrong may change what a name says, but nothing else.
        let at = random.below(image.bytes.len() as u64) as usize;
        image.bytes[at] ^= 1 << random.below(8);
        if let Some(found) = find(&image).pop() {
            assert_eq!(found.len(), symbols.len(), "seed {seed}");
            assert!(found.is_sorted_by_key(|symbol| symbol.address), "seed {seed}");
        }
    }
    // A copy without its end before the tables themselves.
    let mut random = Random(99);
    let symbols = symbols(shape, 600, &mut random);
    let whole = image(shape, &symbols, &mut random);
    let digits = whole.bytes.windows(6).position(|bytes| bytes == b"0\x001\x002\x00").unwrap();
    let mut bytes = whole.bytes[digits - 100..digits + 40].to_vec();
    bytes.resize(4096, 0xaa);
    bytes.extend(&whole.bytes);
    assert_eq!(find(&Image { start: whole.start - 4096, bytes }), [symbols]);
}

#[test]
fn found_symbols_name_code() {
    let shape = Shape { layout: Layout::AddressesLast, form: Form::Relative, pointer: 4, little: true };
    let mut random = Random(3);
    let made = symbols(shape, 600, &mut random);
    let mut symbols = Symbols::default();
    symbols.add_found(&find(&image(shape, &made, &mut random))[0]).unwrap();
    let code = made.windows(2).find(|pair| pair[0].kind == 'T' && pair[1].address > pair[0].address + 4).unwrap();
    let place = symbols.resolve(code[0].address + 4).unwrap();
    assert_eq!(place.offset, 4);
    assert!(made.iter().any(|symbol| symbol.name == place.function && symbol.address == code[0].address));
    let data: Vec<_> = made.into_iter().filter(|symbol| symbol.kind == 'd').collect();
    assert!(Symbols::default().add_found(&data).is_err());
}

#[test]
fn a_kernel_that_has_moved_and_what_it_has_left_behind_are_both_found_and_a_file_of_it_names_what_has_moved() {
    let shape = Shape { layout: Layout::AddressesFirst, form: Form::Relative, pointer: 4, little: true };
    for seed in 1..8 {
        let mut random = Random(seed);
        let left = symbols(shape, 600, &mut random);
        let distance = 1 << 24;
        let moved: Vec<Symbol> =
            left.iter().map(|symbol| Symbol { address: symbol.address + distance, ..symbol.clone() }).collect();
        let mut both = image(shape, &left, &mut random);
        both.bytes.resize(both.bytes.len().next_multiple_of(4096), 0);
        both.bytes.extend(image(shape, &moved, &mut random).bytes);
        let found = find(&both);
        assert_eq!(found, [left.clone(), moved.clone()], "seed {seed}");

        let mut file = String::new();
        for Symbol { address, kind, name } in &left {
            file += &format!("{address:08x} {kind} of_file_{name}\n");
        }
        // Names of its own, so that it shows who names what.
        let mut names = Symbols::default();
        names.add(file.as_bytes()).unwrap();
        let code = moved.windows(2).find(|pair| pair[0].kind == 'T' && pair[1].address > pair[0].address + 4).unwrap();
        assert_eq!(names.resolve(code[0].address + 4), None, "seed {seed}");
        names.add_found(&found[1]).unwrap();
        // They have no name in common, so the file is of another kernel.
        assert!(!names.resolve(code[0].address + 4).unwrap().function.starts_with("of_file_"), "seed {seed}");

        let mut names = Symbols::default();
        names.add(file.replace("of_file_", "").as_bytes()).unwrap();
        for kernel in &found {
            names.add_found(kernel).unwrap();
        }
        for (address, offset) in [(code[0].address - distance, 0), (code[0].address, 0), (code[0].address + 4, 4)] {
            let place = names.resolve(address).unwrap();
            let here = left.iter().filter(|symbol| symbol.address == code[0].address - distance);
            assert!(here.clone().any(|symbol| symbol.name == place.function), "seed {seed}: {place}");
            assert_eq!(place.offset, offset, "seed {seed}");
        }
    }
}
