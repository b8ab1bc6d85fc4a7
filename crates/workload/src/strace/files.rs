//! The calls on descriptors: files, pipes, and what is neither.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use congruent_vm::{FileId, Op, PipeId};

use super::call::Call;
use super::process::{Descriptor, Open};
use super::translator::{Translator, Who};
use super::{StraceErrorReason, line};

/// The unit of direct transfers.
const SECTOR: u32 = 512;

/// Which way bytes go.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// From file or pipe to the program.
    In,
    /// From the program to file or pipe.
    Out,
}

impl Translator<'_> {
    /// Does what the call does, if it is one of these.
    pub fn file_call(&mut self, who: Who, call: &Call) -> Result<bool, StraceErrorReason> {
        let text = call.name.as_str();
        match text {
            "open" => self.open(who, call.text(0), call.text(1), call.returned())?,
            "openat" => self.open(who, call.text(1), call.text(2), call.returned())?,
            "creat" => self.open(who, call.text(0), "O_WRONLY|O_CREAT|O_TRUNC", call.returned())?,
            "close" => drop(self.processes[who.process].descriptors.remove(&call.number(0)?)),
            "dup" => self.duplicate(who, call.number(0)?, call.returned(), false),
            "dup2" | "dup3" => self.duplicate(who, call.number(0)?, call.returned(), call.text(2).contains("O_CLOEXEC")),
            "fcntl" | "fcntl64" if call.text(1).starts_with("F_DUPFD") => {
                self.duplicate(who, call.number(0)?, call.returned(), call.text(1).ends_with("CLOEXEC"));
            }
            "fcntl" | "fcntl64" if call.text(1) == "F_SETFD" => {
                let close_on_exec = call.text(2).contains("FD_CLOEXEC");
                let descriptor = call.number(0)?;
                if let Some(descriptor) = self.processes[who.process].descriptors.get_mut(&descriptor) {
                    descriptor.close_on_exec = close_on_exec;
                }
            }
            "pipe" | "pipe2" => self.pipe(who, call)?,
            "lseek" | "_llseek" => {
                if let Some(at) = self.descriptor(who, call.number(0)?) {
                    self.opened[at].1 = call.returned();
                }
            }
            "fstat" | "fstat64" => {
                let size = line::field(call.text(1), "st_size");
                if let (Some(Open::File { file, .. }), Some(size)) = (self.what_is(who, call.number(0)?), size) {
                    self.saw(file, 0, size as u64);
                }
            }
            // What C libraries make of fstat, and stat itself.
            "newfstatat" | "fstatat64" => {
                let open = if call.text(1) == "\"\"" { self.what_is(who, call.number(0)?) } else { None };
                let file = match open {
                    Some(Open::File { file, .. }) => Some(file),
                    _ => self.names.get(&key(call.text(1))).copied(),
                };
                if let Some((file, size)) = file.zip(line::field(call.text(2), "st_size")) {
                    self.saw(file, 0, size as u64);
                }
            }
            "read" | "readv" => self.transfer(who, call, Way::In, None)?,
            "write" | "writev" => self.transfer(who, call, Way::Out, None)?,
            "pread64" | "preadv" | "preadv2" => self.transfer(who, call, Way::In, Some(call.number(3)? as u64))?,
            "pwrite64" | "pwritev" | "pwritev2" => self.transfer(who, call, Way::Out, Some(call.number(3)? as u64))?,
            "splice" => self.splice(who, call)?,
            "fsync" | "fdatasync" => {
                if let Some(Open::File { file, .. }) = self.what_is(who, call.number(0)?) {
                    self.does(who, Op::Sync { file });
                }
            }
            "unlink" => drop(self.names.remove(&key(call.text(0)))),
            "unlinkat" => drop(self.names.remove(&key(call.text(1)))),
            "rename" => self.rename(call.text(0), call.text(1)),
            "renameat" | "renameat2" => self.rename(call.text(1), call.text(3)),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// The place of what a descriptor stands for in the list of all that was opened.
    pub fn descriptor(&self, who: Who, descriptor: i64) -> Option<usize> {
        // -100 and the like have the sign of an `int`, which hexadecimal arguments do not show.
        self.processes[who.process].descriptors.get(&descriptor).map(|descriptor| descriptor.opened)
    }

    fn what_is(&self, who: Who, descriptor: i64) -> Option<Open> {
        self.descriptor(who, descriptor).map(|at| self.opened[at].0)
    }

    /// The file of this path, which is made if it was not met before.
    pub fn file(&mut self, who: Who, path: &str) -> Result<FileId, StraceErrorReason> {
        if let Some(file) = self.names.get(&key(path)) {
            return Ok(*file);
        }
        let file = FileId(self.files);
        self.files = self.files.checked_add(1).ok_or(StraceErrorReason::TooManyFiles)?;
        self.names.insert(key(path), file);
        self.creates(who, file, self.length(file));
        Ok(file)
    }

    fn creates(&mut self, who: Who, file: FileId, len: u32) {
        let seed = self.seed();
        self.does(who, Op::Create { file, len, seed });
    }

    fn rename(&mut self, from: &str, to: &str) {
        if let Some(file) = self.names.remove(&key(from)) {
            self.names.insert(key(to), file);
        }
    }

    fn open(&mut self, who: Who, path: &str, flags: &str, descriptor: u64) -> Result<(), StraceErrorReason> {
        let name = key(path);
        let device = ["/dev/", "/proc/", "/sys/"].iter().any(|prefix| name.starts_with(prefix));
        if device || flags.contains("O_DIRECTORY") || flags.contains("O_PATH") {
            // What was closed without the log's saying so is not what this number stands for any more.
            self.processes[who.process].descriptors.remove(&(descriptor as i64));
            return Ok(());
        }
        let fresh = flags.contains("O_CREAT") && flags.contains("O_EXCL");
        let empty = fresh || flags.contains("O_TRUNC");
        if fresh {
            self.names.remove(&name);
        }
        let known = self.names.contains_key(&name);
        if empty && !known {
            self.made.insert(FileId(self.files));
        }
        let file = self.file(who, path)?;
        if empty && known {
            self.creates(who, file, 0);
        }
        let open = Open::File { file, direct: flags.contains("O_DIRECT"), append: flags.contains("O_APPEND") };
        self.opens(who, descriptor, open, flags.contains("O_CLOEXEC"));
        Ok(())
    }

    fn opens(&mut self, who: Who, descriptor: u64, open: Open, close_on_exec: bool) {
        self.opened.push((open, 0));
        let opened = self.opened.len() - 1;
        self.processes[who.process].descriptors.insert(descriptor as i64, Descriptor { opened, close_on_exec });
    }

    fn duplicate(&mut self, who: Who, from: i64, to: u64, close_on_exec: bool) {
        let descriptors = &mut self.processes[who.process].descriptors;
        match descriptors.get(&from).copied() {
            Some(descriptor) => drop(descriptors.insert(to as i64, Descriptor { close_on_exec, ..descriptor })),
            None => drop(descriptors.remove(&(to as i64))),
        }
    }

    fn pipe(&mut self, who: Who, call: &Call) -> Result<(), StraceErrorReason> {
        let ends: Vec<i64> = line::arguments(call.text(0).trim_matches(['[', ']'])).filter_map(line::number).collect();
        let [out, into] = ends[..] else {
            return Err(StraceErrorReason::Argument { call: call.name.clone(), number: 1 });
        };
        let pipe = PipeId(self.pipes);
        // A log may well make more pipes than there are numbers; those that it made so long ago are closed.
        self.pipes = self.pipes.wrapping_add(1);
        let close_on_exec = call.text(1).contains("O_CLOEXEC");
        self.opens(who, out as u64, Open::PipeOut(pipe), close_on_exec);
        self.opens(who, into as u64, Open::PipeIn(pipe), close_on_exec);
        Ok(())
    }

    /// A transfer at `position`, or where the descriptor is.
    fn transfer(&mut self, who: Who, call: &Call, way: Way, position: Option<u64>) -> Result<(), StraceErrorReason> {
        let Ok(len) = u32::try_from(call.returned()) else {
            self.leave_out(&format!("{} of 4 GiB or more", call.name));
            return Ok(());
        };
        if len == 0 {
            return Ok(());
        }
        let Some(opened) = self.descriptor(who, call.number(0)?) else {
            self.leave_out(&format!("{} of something else than a file or pipe", call.name));
            return Ok(());
        };
        match (self.opened[opened].0, way) {
            (Open::File { file, direct, append }, _) => {
                let at = match position {
                    None if append && way == Way::Out => self.opened[opened].1.max(u64::from(self.length(file))),
                    None => self.opened[opened].1,
                    Some(at) => at,
                };
                if position.is_none() {
                    self.opened[opened].1 = at.saturating_add(len.into());
                }
                self.transfer_file(who, call, way, file, at, len, direct);
            }
            (Open::PipeOut(pipe), Way::In) => {
                for (_, to) in self.buffer(who, call.text(1), len) {
                    self.does(who, Op::PipeRead { pipe, to });
                    self.does(who, Op::Load(to));
                }
            }
            (Open::PipeIn(pipe), Way::Out) => {
                for (_, from) in self.buffer(who, call.text(1), len) {
                    self.stores(who, from);
                    self.does(who, Op::PipeWrite { pipe, from });
                }
            }
            (Open::PipeOut(_) | Open::PipeIn(_), _) => self.leave_out(&format!("{} at the wrong end of a pipe", call.name)),
        }
        Ok(())
    }

    #[expect(clippy::too_many_arguments, reason = "they are the call's")]
    fn transfer_file(&mut self, who: Who, call: &Call, way: Way, file: FileId, at: u64, len: u32, direct: bool) {
        // The last block of a file may be read in part.
        let asked = if direct { len.checked_next_multiple_of(SECTOR) } else { Some(len) };
        let end = asked.and_then(|asked| u32::try_from(at.checked_add(asked.into())?).ok());
        let (Some(asked), Some(end)) = (asked, end) else {
            self.leave_out(&format!("{} beyond 4 GiB", call.name));
            return;
        };
        let at = end - asked;
        if way == Way::In {
            self.saw(file, 0, u64::from(at) + u64::from(len));
        }
        if direct && (!at.is_multiple_of(SECTOR) || way == Way::Out && asked != len) {
            self.leave_out(&format!("{} with O_DIRECT of less than a block", call.name));
            return;
        }
        let known = self.buffer(who, call.text(1), asked);
        let pieces = if direct && known.iter().any(|(_, piece)| !piece.len.is_multiple_of(SECTOR)) {
            self.buffer(who, "", asked)
        } else {
            known
        };
        for (done, bytes) in pieces {
            let at = at + done;
            match way {
                Way::In => {
                    self.does(
                        who,
                        if direct { Op::DirectRead { file, at, to: bytes } } else { Op::Read { file, at, to: bytes } },
                    );
                    self.does(who, Op::Load(bytes));
                }
                Way::Out => {
                    self.stores(who, bytes);
                    let from = bytes;
                    self.does(who, if direct { Op::DirectWrite { file, at, from } } else { Op::Write { file, at, from } });
                }
            }
        }
    }

    /// `splice(2)`: from a file into a pipe as a splice, from a pipe into a file as read and write.
    fn splice(&mut self, who: Who, call: &Call) -> Result<(), StraceErrorReason> {
        let (from, to) = (self.descriptor(who, call.number(0)?), self.descriptor(who, call.number(2)?));
        let Ok(len) = u32::try_from(call.returned()) else {
            self.leave_out("splice of 4 GiB or more");
            return Ok(());
        };
        match (from.map(|at| self.opened[at]), to.map(|at| self.opened[at])) {
            (Some((Open::File { file, .. }, position)), Some((Open::PipeIn(pipe), _))) => {
                let at = if call.text(1) == "NULL" {
                    position
                } else {
                    line::number(call.text(1).trim_matches(['[', ']'])).unwrap_or(0) as u64
                };
                if let (Some(from), "NULL") = (from, call.text(1)) {
                    self.opened[from].1 = at.saturating_add(len.into());
                }
                let Some(end) = at.checked_add(len.into()).and_then(|end| u32::try_from(end).ok()) else {
                    self.leave_out("splice beyond 4 GiB");
                    return Ok(());
                };
                self.saw(file, 0, end.into());
                let first = (end - len) / self.page;
                let pages = end.div_ceil(self.page) - first;
                self.does(who, Op::Splice { file, first, pages, pipe });
            }
            (Some((Open::PipeOut(pipe), _)), Some((Open::File { file, .. }, position))) => {
                let end = position.saturating_add(len.into());
                if let Some(to) = to {
                    self.opened[to].1 = end;
                }
                let Some(at) = u32::try_from(end).ok().map(|end| end - len) else {
                    self.leave_out("splice beyond 4 GiB");
                    return Ok(());
                };
                for (done, bytes) in self.buffer(who, "", len) {
                    self.does(who, Op::PipeRead { pipe, to: bytes });
                    self.does(who, Op::Write { file, at: at + done, from: bytes });
                }
            }
            _ => self.leave_out("splice of something else than a file and a pipe"),
        }
        Ok(())
    }
}

/// A path as it names a file: the string's contents.
fn key(path: &str) -> String {
    line::string(path).unwrap_or(path).to_owned()
}
