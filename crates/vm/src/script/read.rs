//! Text as steps, and what is wrong with text that is none.

use alloc::borrow::ToOwned;
use alloc::string::String;
use core::fmt;
use core::str::{FromStr, SplitWhitespace};

use crate::op::{AreaId, Bytes, FileId, Op, PipeId, Place, Step, TaskId};

/// Why a text is no step.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ParseStepError {
    /// What could have stood there.
    pub expected: &'static str,
    /// What stands there; `None` if the line ends.
    pub found: Option<String>,
}

impl fmt::Display for ParseStepError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.found {
            Some(found) => write!(f, "expected {}, found `{found}`", self.expected),
            None => write!(f, "expected {}, but the line ends", self.expected),
        }
    }
}

impl core::error::Error for ParseStepError {}

type Parsed<T> = Result<T, ParseStepError>;

fn expected<T>(expected: &'static str, found: Option<&str>) -> Parsed<T> {
    Err(ParseStepError { expected, found: found.map(ToOwned::to_owned) })
}

impl FromStr for Step {
    type Err = ParseStepError;

    /// Reads `TASK: OPERATION`.
    fn from_str(text: &str) -> Parsed<Self> {
        const TASK: &str = "a task's number and a colon, as in `0: exit`";
        let Some((task, op)) = text.split_once(':') else {
            return expected(TASK, Some(text.trim()));
        };
        match task.trim().parse() {
            Ok(task) => Ok(Self { task: TaskId(task), op: op.parse()? }),
            Err(_) => expected(TASK, Some(task.trim())),
        }
    }
}

impl FromStr for Op {
    type Err = ParseStepError;

    fn from_str(text: &str) -> Parsed<Self> {
        let mut words = Words(text.split_whitespace());
        let op = words.op()?;
        match words.0.next() {
            None => Ok(op),
            found => expected("the end of the line", found),
        }
    }
}

/// A number with an optional `K` or `M`.
fn number<T: TryFrom<u64>>(word: &str) -> Option<T> {
    let (digits, unit) = match word.as_bytes().last()? {
        b'K' => (&word[..word.len() - 1], 1 << 10),
        b'M' => (&word[..word.len() - 1], 1 << 20),
        _ => (word, 1),
    };
    // `+5` is a number to the standard library.
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    T::try_from(digits.parse::<u64>().ok()?.checked_mul(unit)?).ok()
}

/// What is left of a line.
struct Words<'a>(SplitWhitespace<'a>);

impl Words<'_> {
    fn number<T: TryFrom<u64>>(&mut self, what: &'static str) -> Parsed<T> {
        let word = self.0.next();
        word.and_then(number).map_or_else(|| expected(what, word), Ok)
    }

    /// A word that must come.
    fn word(&mut self, wanted: &str, what: &'static str) -> Parsed<()> {
        match self.0.next() {
            Some(word) if word == wanted => Ok(()),
            found => expected(what, found),
        }
    }

    /// A word that may come.
    fn optional(&mut self, wanted: &str) -> bool {
        let mut ahead = self.0.clone();
        let comes = ahead.next() == Some(wanted);
        if comes {
            self.0 = ahead;
        }
        comes
    }

    /// `N+OFFSET`.
    fn place(&mut self, what: &'static str) -> Parsed<(u16, u32)> {
        let word = self.0.next();
        let parts = word.and_then(|word| word.split_once('+')).and_then(|(name, offset)| Some((number(name)?, number(offset)?)));
        parts.map_or_else(|| expected(what, word), Ok)
    }

    fn area(&mut self) -> Parsed<AreaId> {
        self.number("a mapping's number").map(AreaId)
    }

    fn area_place(&mut self) -> Parsed<(AreaId, u32)> {
        self.place("MAPPING+OFFSET, as in `0+4096`").map(|(area, offset)| (AreaId(area), offset))
    }

    fn file(&mut self) -> Parsed<FileId> {
        self.number("a file's number").map(FileId)
    }

    fn file_place(&mut self) -> Parsed<(FileId, u32)> {
        self.place("FILE+OFFSET, as in `0+4096`").map(|(file, offset)| (FileId(file), offset))
    }

    fn pipe(&mut self) -> Parsed<PipeId> {
        self.number("a pipe's number").map(PipeId)
    }

    fn task(&mut self) -> Parsed<TaskId> {
        self.number("a task's number").map(TaskId)
    }

    fn bytes(&mut self) -> Parsed<Bytes> {
        let (area, offset) = self.area_place()?;
        Ok(Bytes { area, offset, len: self.number("a number of bytes")? })
    }

    fn bytes_after(&mut self, word: &str, what: &'static str) -> Parsed<Bytes> {
        self.word(word, what)?;
        self.bytes()
    }

    fn seed(&mut self) -> Parsed<u32> {
        self.word("seed", "`seed` and a number")?;
        self.number("the seed, a number")
    }

    /// `pages FIRST..END`.
    fn pages(&mut self) -> Parsed<(u32, u32)> {
        const WHAT: &str = "`pages FIRST..END`, as in `pages 0..4`";
        self.word("pages", WHAT)?;
        let word = self.0.next();
        let range = word.and_then(|word| word.split_once("..")).and_then(|(first, end)| {
            let (first, end): (u32, u64) = (number(first)?, number(end)?);
            Some((first, u32::try_from(end.checked_sub(u64::from(first))?).ok()?))
        });
        range.map_or_else(|| expected(WHAT, word), Ok)
    }

    /// `N pages`.
    fn count(&mut self) -> Parsed<u32> {
        let pages = self.number("a number of pages")?;
        self.word("pages", "`pages`")?;
        Ok(pages)
    }

    fn colour(&mut self) -> Parsed<Place> {
        Ok(if self.optional("colour") { Place::Colour(self.number("a colour's number")?) } else { Place::Anywhere })
    }

    fn map(&mut self) -> Parsed<Op> {
        let area = self.area()?;
        match self.0.next() {
            Some("anonymous") => {
                let pages = self.count()?;
                Ok(Op::MapAnonymous { area, pages, shared: self.optional("shared"), place: self.colour()? })
            }
            Some("file") => {
                let file = self.file()?;
                let (first, pages) = self.pages()?;
                Ok(Op::MapFile { area, file, first, pages, shared: self.optional("shared"), place: self.colour()? })
            }
            found => expected("`anonymous` or `file`", found),
        }
    }

    fn protect(&mut self) -> Parsed<Op> {
        let area = self.area()?;
        let (write, execute) = match self.0.next() {
            Some("r--") => (false, false),
            Some("rw-") => (true, false),
            Some("r-x") => (false, true),
            Some("rwx") => (true, true),
            found => return expected("one of r--, rw-, r-x, rwx", found),
        };
        Ok(Op::Protect { area, write, execute })
    }

    /// `FILE+AT to|from BYTES`.
    fn transfer(&mut self, word: &str, what: &'static str) -> Parsed<(FileId, u32, Bytes)> {
        let (file, at) = self.file_place()?;
        Ok((file, at, self.bytes_after(word, what)?))
    }

    fn op(&mut self) -> Parsed<Op> {
        const TO: &str = "`to` and MAPPING+OFFSET";
        const FROM: &str = "`from` and MAPPING+OFFSET";
        Ok(match self.0.next() {
            Some("load") => Op::Load(self.bytes()?),
            Some("store") => Op::Store { to: self.bytes()?, seed: self.seed()? },
            Some("increment") => {
                let (area, offset) = self.area_place()?;
                Op::Increment { area, offset }
            }
            Some("run") => Op::Run(self.bytes()?),
            Some("sync-code") => Op::SyncCode(self.bytes()?),

            Some("thread") => Op::Thread { new: self.task()? },
            Some("fork") => Op::Fork { child: self.task()? },
            Some("exec") => {
                let file = self.file()?;
                self.word("arguments", "`arguments` and a number of bytes")?;
                Op::Exec { file, arguments: self.number("a number of bytes")?, seed: self.seed()? }
            }
            Some("exit") => Op::Exit,

            Some("map") => self.map()?,
            Some("unmap") => {
                let area = self.area()?;
                let (first, pages) = self.pages()?;
                Op::Unmap { area, first, pages }
            }
            Some("remap") => Op::Remap { area: self.area()?, place: self.colour()? },
            Some("protect") => self.protect()?,

            Some("create") => {
                Op::Create { file: self.file()?, len: self.number("the file's length in bytes")?, seed: self.seed()? }
            }
            Some("read") => {
                let (file, at, to) = self.transfer("to", TO)?;
                Op::Read { file, at, to }
            }
            Some("write") => {
                let (file, at, from) = self.transfer("from", FROM)?;
                Op::Write { file, at, from }
            }
            Some("direct-read") => {
                let (file, at, to) = self.transfer("to", TO)?;
                Op::DirectRead { file, at, to }
            }
            Some("direct-write") => {
                let (file, at, from) = self.transfer("from", FROM)?;
                Op::DirectWrite { file, at, from }
            }
            Some("splice") => {
                let file = self.file()?;
                let (first, pages) = self.pages()?;
                self.word("pipe", "`pipe` and its number")?;
                Op::Splice { file, first, pages, pipe: self.pipe()? }
            }
            Some("pipe-write") => Op::PipeWrite { pipe: self.pipe()?, from: self.bytes_after("from", FROM)? },
            Some("pipe-read") => Op::PipeRead { pipe: self.pipe()?, to: self.bytes_after("to", TO)? },
            Some("sync") => Op::Sync { file: self.file()? },
            Some("evict") => Op::Evict { file: self.file()? },
            Some("vmap-read") => {
                let file = self.file()?;
                let (first, pages) = self.pages()?;
                Op::VmapRead { file, first, pages }
            }
            Some("vmap-write") => {
                let file = self.file()?;
                let (first, pages) = self.pages()?;
                Op::VmapWrite { file, first, pages, seed: self.seed()? }
            }
            Some("swap-out") => {
                let area = self.area()?;
                let (first, pages) = self.pages()?;
                Op::SwapOut { area, first, pages }
            }

            Some("peek") => Op::Peek { target: self.task()?, from: self.bytes()? },
            Some("poke") => Op::Poke { target: self.task()?, to: self.bytes()?, seed: self.seed()? },
            Some("remote-read") => {
                let (target, from) = (self.task()?, self.bytes()?);
                self.word("to", TO)?;
                let (area, offset) = self.area_place()?;
                Op::RemoteRead { target, from, area, offset }
            }
            Some("remote-write") => {
                let (target, to) = (self.task()?, self.bytes()?);
                self.word("from", FROM)?;
                let (area, offset) = self.area_place()?;
                Op::RemoteWrite { target, to, area, offset }
            }

            Some("ring-create") => Op::RingCreate { area: self.area()?, pages: self.count()? },
            Some("ring-post") => Op::RingPost { to: self.bytes()?, seed: self.seed()? },
            Some("ring-take") => Op::RingTake(self.bytes()?),
            found => return expected("an operation such as load, store, map or fork", found),
        })
    }
}
