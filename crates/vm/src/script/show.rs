//! Steps as text. What is written here is read back by `read`, operation by operation in the same order.

use core::fmt::{Display, Formatter, Result};

use crate::op::{AreaId, Bytes, FileId, Op, PipeId, Place, Step, TaskId};

macro_rules! numbers {
    ($($name:ident)*) => {
        $(impl Display for $name {
            fn fmt(&self, f: &mut Formatter<'_>) -> Result {
                self.0.fmt(f)
            }
        })*
    };
}
numbers!(TaskId AreaId FileId PipeId);

impl Display for Bytes {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "{}+{} {}", self.area, self.offset, self.len)
    }
}

/// `pages FIRST..END`.
struct Pages(u32, u32);

impl Display for Pages {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "pages {}..{}", self.0, u64::from(self.0) + u64::from(self.1))
    }
}

/// What follows a mapping's description.
struct How(bool, Place);

impl Display for How {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        if self.0 {
            f.write_str(" shared")?;
        }
        match self.1 {
            Place::Anywhere => Ok(()),
            Place::Colour(colour) => write!(f, " colour {colour}"),
        }
    }
}

impl Display for Step {
    /// `TASK: OPERATION`.
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "{}: {}", self.task, self.op)
    }
}

impl Display for Op {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match *self {
            Self::Load(from) => write!(f, "load {from}"),
            Self::Store { to, seed } => write!(f, "store {to} seed {seed}"),
            Self::Increment { area, offset } => write!(f, "increment {area}+{offset}"),
            Self::Run(code) => write!(f, "run {code}"),
            Self::SyncCode(code) => write!(f, "sync-code {code}"),

            Self::Thread { new } => write!(f, "thread {new}"),
            Self::Fork { child } => write!(f, "fork {child}"),
            Self::Exec { file, arguments, seed } => write!(f, "exec {file} arguments {arguments} seed {seed}"),
            Self::Exit => f.write_str("exit"),

            Self::MapAnonymous { area, pages, shared, place } => {
                write!(f, "map {area} anonymous {pages} pages{}", How(shared, place))
            }
            Self::MapFile { area, file, first, pages, shared, place } => {
                write!(f, "map {area} file {file} {}{}", Pages(first, pages), How(shared, place))
            }
            Self::Unmap { area, first, pages } => write!(f, "unmap {area} {}", Pages(first, pages)),
            Self::Remap { area, place } => write!(f, "remap {area}{}", How(false, place)),
            Self::Protect { area, write, execute } => {
                write!(f, "protect {area} r{}{}", if write { 'w' } else { '-' }, if execute { 'x' } else { '-' })
            }

            Self::Create { file, len, seed } => write!(f, "create {file} {len} seed {seed}"),
            Self::Read { file, at, to } => write!(f, "read {file}+{at} to {to}"),
            Self::Write { file, at, from } => write!(f, "write {file}+{at} from {from}"),
            Self::DirectRead { file, at, to } => write!(f, "direct-read {file}+{at} to {to}"),
            Self::DirectWrite { file, at, from } => write!(f, "direct-write {file}+{at} from {from}"),
            Self::Splice { file, first, pages, pipe } => write!(f, "splice {file} {} pipe {pipe}", Pages(first, pages)),
            Self::PipeWrite { pipe, from } => write!(f, "pipe-write {pipe} from {from}"),
            Self::PipeRead { pipe, to } => write!(f, "pipe-read {pipe} to {to}"),
            Self::Sync { file } => write!(f, "sync {file}"),
            Self::Evict { file } => write!(f, "evict {file}"),
            Self::VmapRead { file, first, pages } => write!(f, "vmap-read {file} {}", Pages(first, pages)),
            Self::VmapWrite { file, first, pages, seed } => write!(f, "vmap-write {file} {} seed {seed}", Pages(first, pages)),
            Self::SwapOut { area, first, pages } => write!(f, "swap-out {area} {}", Pages(first, pages)),

            Self::Peek { target, from } => write!(f, "peek {target} {from}"),
            Self::Poke { target, to, seed } => write!(f, "poke {target} {to} seed {seed}"),
            Self::RemoteRead { target, from, area, offset } => write!(f, "remote-read {target} {from} to {area}+{offset}"),
            Self::RemoteWrite { target, to, area, offset } => write!(f, "remote-write {target} {to} from {area}+{offset}"),

            Self::RingCreate { area, pages } => write!(f, "ring-create {area} {pages} pages"),
            Self::RingPost { to, seed } => write!(f, "ring-post {to} seed {seed}"),
            Self::RingTake(from) => write!(f, "ring-take {from}"),
        }
    }
}
