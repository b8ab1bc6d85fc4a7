//! The walk through a log: who acts, what becomes of processes, and which call is whose affair.

use alloc::borrow::ToOwned;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use congruent_vm::{AreaId, Bytes, FileId, Op, Step, TaskId};

use super::births::{Birth, Births, child_of};
use super::call::{Call, Event, What};
use super::process::{Open, Process};
use super::{Replay, StraceError, StraceErrorReason, line};

/// Bytes that are used of what is new.
pub(super) const GLANCE: u32 = 64;
/// Bytes of the mapping for buffers whose place is not known.
const SCRATCH: u32 = 64 << 10;

type Handled = Result<(), StraceErrorReason>;

/// Who a thread of the log is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Who {
    pub task: TaskId,
    /// Its process, as a place in the list.
    pub process: usize,
}

/// How long a file must be for what the log does with it.
#[derive(Clone, Copy, Default, Debug)]
struct Seen {
    size: u64,
    mapped: u64,
}

/// A log on its way to steps.
pub(super) struct Translator<'a> {
    events: &'a [Event],
    pub page: u32,
    /// How long files are when they are first met.
    lengths: BTreeMap<FileId, u32>,
    steps: Vec<Step>,
    /// Who has a number now.
    lives: BTreeMap<u32, Who>,
    pub processes: Vec<Process>,
    births: Births,
    /// The first process as long as its lines had no number, which strace gives them once there are children.
    unnumbered: Option<Who>,
    /// The event in hand.
    now: usize,
    /// Everything that was opened, with its position.
    pub opened: Vec<(Open, u64)>,
    pub names: BTreeMap<String, FileId>,
    pub files: u16,
    pub pipes: u16,
    tasks: u16,
    seeds: u32,
    seen: BTreeMap<FileId, Seen>,
    /// Files whose contents the log itself makes.
    pub made: BTreeSet<FileId>,
    calls: u64,
    failed: u64,
    not_modelled: BTreeMap<String, u64>,
}

impl<'a> Translator<'a> {
    pub fn new(events: &'a [Event], page: u32, lengths: BTreeMap<FileId, u32>) -> Self {
        Self {
            events,
            page,
            lengths,
            steps: Vec::new(),
            lives: BTreeMap::new(),
            processes: Vec::new(),
            births: Births::of(events),
            unnumbered: None,
            now: 0,
            opened: Vec::new(),
            names: BTreeMap::new(),
            files: 0,
            pipes: 0,
            tasks: 0,
            seeds: 0,
            seen: BTreeMap::new(),
            made: BTreeSet::new(),
            calls: 0,
            failed: 0,
            not_modelled: BTreeMap::new(),
        }
    }

    /// How long each file is to be made.
    pub fn lengths(&self) -> BTreeMap<FileId, u32> {
        let length = |seen: &Seen| if seen.size > 0 { seen.size } else { seen.mapped };
        self.seen.iter().map(|(file, seen)| (*file, u32::try_from(length(seen)).unwrap_or(u32::MAX))).collect()
    }

    pub fn replay(self) -> Replay {
        let Self { steps, calls, failed, not_modelled, .. } = self;
        Replay { steps, tasks: usize::from(self.tasks), calls, failed, not_modelled }
    }

    pub fn run(mut self) -> Result<Self, StraceError> {
        for (now, event) in self.events.iter().enumerate() {
            self.now = now;
            self.event(event).map_err(|reason| StraceError { line: event.line, reason })?;
        }
        Ok(self)
    }

    fn event(&mut self, event: &Event) -> Handled {
        match &event.what {
            What::Gone => {
                let who = match self.lives.get(&event.pid) {
                    Some(who) => *who,
                    None => self.who_is(event.pid)?,
                };
                self.gone(who);
                self.lives.remove(&event.pid);
                self.unnumbered = self.unnumbered.filter(|first| first.task != who.task);
            }
            What::Call(call) => {
                let who = self.who_is(event.pid)?;
                self.calls += 1;
                if call.failed() {
                    self.failed += 1;
                } else {
                    self.call(who, call)?;
                }
            }
        }
        Ok(())
    }

    fn call(&mut self, who: Who, call: &Call) -> Handled {
        match call.name.as_str() {
            _ if child_of(call).is_some() => child_of(call).map_or(Ok(()), |child| self.bears(who, child)),
            "execve" | "execveat" => self.exec(who, call),
            "exit_group" => {
                for task in self.processes[who.process].threads.clone() {
                    self.gone(Who { task, ..who });
                }
                Ok(())
            }
            "exit" => {
                self.gone(who);
                Ok(())
            }
            "process_vm_readv" | "process_vm_writev" => self.remote(who, call),
            "ptrace" => self.ptrace(who, call),
            name => {
                if !(self.memory_call(who, call)? || self.file_call(who, call)?) {
                    self.leave_out(name);
                }
                Ok(())
            }
        }
    }

    /// The task of a thread of the log; a child may act before its parent's call has returned.
    fn who_is(&mut self, pid: u32) -> Result<Who, StraceErrorReason> {
        if let Some(who) = self.lives.get(&pid).copied().filter(|who| self.is_alive(*who)) {
            return Ok(who);
        }
        let is_known = |parent: u32| parent != pid && self.lives.contains_key(&parent);
        let line = self.births.line_of(pid, self.now, is_known, self.tasks > 0);
        for (child, birth) in line {
            let parent = match self.lives.get(&birth.parent) {
                Some(parent) => *parent,
                None => self.first(birth.parent)?,
            };
            self.births.told(child, birth.at);
            self.born(parent, child, birth)?;
        }
        match self.lives.get(&pid) {
            Some(who) => Ok(*who),
            None if self.tasks == 0 => self.first(pid),
            None => {
                let who = self.unnumbered.take().ok_or(StraceErrorReason::Stranger(pid))?;
                self.lives.insert(pid, who);
                Ok(who)
            }
        }
    }

    fn is_alive(&self, who: Who) -> bool {
        self.processes[who.process].threads.contains(&who.task)
    }

    /// The process with which the log begins.
    fn first(&mut self, pid: u32) -> Result<Who, StraceErrorReason> {
        let who = Who { task: self.new_task()?, process: self.processes.len() };
        self.processes.push(Process { threads: BTreeSet::from([who.task]), ..Process::default() });
        self.lives.insert(pid, who);
        self.unnumbered = (pid == 0).then_some(who);
        Ok(who)
    }

    /// A call of `parent` has returned a child, which may have acted already.
    fn bears(&mut self, parent: Who, child: u32) -> Handled {
        let Some(birth) = self.births.told(child, self.now) else { return Ok(()) };
        if let Some(former) = self.lives.get(&child).copied()
            && former.task != parent.task
        {
            // The log does not say that the number's former bearer ended.
            self.gone(former);
        }
        self.born(parent, child, birth)
    }

    fn born(&mut self, parent: Who, child: u32, birth: Birth) -> Handled {
        let new = self.new_task()?;
        if birth.thread {
            self.does(parent, Op::Thread { new });
            self.processes[parent.process].threads.insert(new);
            self.lives.insert(child, Who { task: new, ..parent });
            return Ok(());
        }
        self.does(parent, Op::Fork { child: new });
        let process = Process { threads: BTreeSet::from([new]), ..self.processes[parent.process].clone() };
        self.processes.push(process);
        let who = Who { task: new, process: self.processes.len() - 1 };
        self.lives.insert(child, who);
        if self.processes[parent.process].program {
            for who in [parent, who] {
                self.stores(who, Bytes { area: AreaId(1), offset: 0, len: GLANCE });
            }
        }
        Ok(())
    }

    fn new_task(&mut self) -> Result<TaskId, StraceErrorReason> {
        let task = TaskId(self.tasks);
        self.tasks = self.tasks.checked_add(1).ok_or(StraceErrorReason::TooManyTasks)?;
        Ok(task)
    }

    fn gone(&mut self, who: Who) {
        if self.processes[who.process].threads.remove(&who.task) {
            self.does(who, Op::Exit);
        }
    }

    fn exec(&mut self, who: Who, call: &Call) -> Handled {
        let path = usize::from(call.name == "execveat");
        let file = self.file(who, call.text(path))?;
        self.saw(file, 1, 0);
        let lengths =
            line::arguments(call.text(path + 1).trim_matches(['[', ']'])).filter_map(line::string).map(|word| word.len() + 1);
        let arguments = lengths.sum::<usize>().clamp(1, 1024) as u32;
        let seed = self.seed();
        self.does(who, Op::Exec { file, arguments, seed });
        self.processes[who.process].exec(who.task);
        self.does(who, Op::Load(Bytes { area: AreaId(1), offset: 0, len: GLANCE }));
        self.does(who, Op::Run(Bytes { area: AreaId(0), offset: 0, len: GLANCE }));
        Ok(())
    }

    /// `process_vm_readv` and `process_vm_writev`; of several stretches, the first.
    fn remote(&mut self, who: Who, call: &Call) -> Handled {
        let Some(target) = self.bearer(call.number(0)?) else {
            self.leave_out(&format!("{} of a process outside of the log", call.name));
            return Ok(());
        };
        let remote = call.text(3);
        let (Some(base), Some(len)) = (line::field(remote, "iov_base"), line::field(remote, "iov_len")) else {
            return Err(StraceErrorReason::Argument { call: call.name.clone(), number: 4 });
        };
        let len = (len as u64).min(call.returned());
        let Some(theirs) = self.find(target, base as u64, len) else {
            self.leave_out(&format!("{} where the log shows no mapping", call.name));
            return Ok(());
        };
        for theirs in theirs {
            for (at, ours) in self.buffer(who, "", theirs.len) {
                let theirs = Bytes { offset: theirs.offset + at, len: ours.len, ..theirs };
                let (target, area, offset) = (target.task, ours.area, ours.offset);
                if call.name == "process_vm_readv" {
                    self.does(who, Op::RemoteRead { target, from: theirs, area, offset });
                    self.does(who, Op::Load(ours));
                } else {
                    self.stores(who, ours);
                    self.does(who, Op::RemoteWrite { target, to: theirs, area, offset });
                }
            }
        }
        Ok(())
    }

    fn ptrace(&mut self, who: Who, call: &Call) -> Handled {
        let request = call.text(0);
        let (peek, poke) = (request.starts_with("PTRACE_PEEK"), request.starts_with("PTRACE_POKE"));
        let target = call.number(1).ok().and_then(|pid| self.bearer(pid));
        let address = call.number(2).ok().map(|address| address as u64);
        let word = target.zip(address).and_then(|(target, address)| Some((target, *self.find(target, address, 8)?.first()?)));
        match word {
            Some((target, from)) if peek => self.does(who, Op::Peek { target: target.task, from }),
            Some((target, to)) if poke => {
                let seed = self.seed();
                self.does(who, Op::Poke { target: target.task, to, seed });
            }
            _ => self.leave_out("ptrace"),
        }
        Ok(())
    }

    /// The thread that has this number now.
    fn bearer(&self, pid: i64) -> Option<Who> {
        self.lives.get(&u32::try_from(pid).ok()?).copied()
    }

    /// The mappings behind `len` bytes of a process; `None` if some are not mapped, or there are no such addresses.
    fn find(&self, who: Who, address: u64, len: u64) -> Option<Vec<Bytes>> {
        self.processes[who.process].space.find(address..address.checked_add(len)?)
    }

    pub fn does(&mut self, who: Who, op: Op) {
        self.steps.push(Step { task: who.task, op });
    }

    pub fn stores(&mut self, who: Who, to: Bytes) {
        let seed = self.seed();
        self.does(who, Op::Store { to, seed });
    }

    pub fn seed(&mut self) -> u32 {
        self.seeds += 1;
        self.seeds
    }

    pub fn leave_out(&mut self, what: &str) {
        *self.not_modelled.entry(what.to_owned()).or_default() += 1;
    }

    /// Notes how long a file must be: what was read or stated of it, and what was mapped.
    pub fn saw(&mut self, file: FileId, mapped: u64, size: u64) {
        if !self.made.contains(&file) {
            let seen = self.seen.entry(file).or_default();
            seen.mapped = seen.mapped.max(mapped);
            seen.size = seen.size.max(size);
        }
    }

    /// The length with which a file is to be made.
    pub fn length(&self, file: FileId) -> u32 {
        self.lengths.get(&file).copied().unwrap_or(0)
    }

    /// Where a buffer of `len` bytes is, in pieces with their places in it. `argument` is the call's.
    pub fn buffer(&mut self, who: Who, argument: &str, len: u32) -> Vec<(u32, Bytes)> {
        let address = argument.starts_with("0x").then(|| line::number(argument)).flatten().map(|address| address as u64);
        let known = address.and_then(|address| self.find(who, address, u64::from(len)));
        let pieces = match known {
            Some(pieces) => pieces,
            None => self.scratch(who, len),
        };
        let mut at = 0;
        let placed = |piece: Bytes| {
            at += piece.len;
            (at - piece.len, piece)
        };
        pieces.into_iter().map(placed).collect()
    }

    fn scratch(&mut self, who: Who, len: u32) -> Vec<Bytes> {
        let area = match self.processes[who.process].scratch {
            Some(area) => area,
            None => {
                let area = self.processes[who.process].free_area();
                self.processes[who.process].scratch = Some(area);
                self.maps_memory(who, area, SCRATCH);
                area
            }
        };
        if len == 0 {
            return Vec::new();
        }
        let next = &mut self.processes[who.process].next_buffer;
        if *next + len.min(SCRATCH) > SCRATCH {
            *next = 0;
        }
        let offset = *next;
        *next += len.min(SCRATCH).next_multiple_of(GLANCE);
        if len <= SCRATCH {
            return vec![Bytes { area, offset, len }];
        }
        (0..len).step_by(SCRATCH as usize).map(|done| Bytes { area, offset: 0, len: SCRATCH.min(len - done) }).collect()
    }
}
