//! Operations as a source has them: taken apart into lines, and carried out or, if they are muted, only remembered.
//!
//! Not here: what maintenance of one line, set or cache does (`maintain`, `fetch`).

use congruent_trace::{Event, IndexForm, Maintenance, On, Operation, Scope, Site};

use crate::finding::{Effect, Side};
use crate::history::{Past, Target};
use crate::shadow::Shadow;

impl Shadow {
    /// Takes an operation, line by line as these caches have them. `form` says how its source codes sets and ways; if `muted`, it is as
    /// [`apply_muted`](Self::apply_muted) has it. On the instruction side, ignored without an instruction cache.
    pub fn operate(&mut self, operation: &Operation, form: IndexForm, muted: bool) {
        self.habits.note(operation, form, self.geometry.page());
        let geometry = match operation.on {
            On::Data(_) => self.geometry,
            On::Code if self.code.is_judged() => *self.code.geometry(),
            On::Code => return,
        };
        for event in operation.events(&geometry, form) {
            if muted {
                self.apply_muted(&event);
            } else {
                self.apply(&event);
            }
        }
    }

    /// Takes a maintenance event that is to do nothing: it is counted and remembered, so that a finding can tell of it. Any
    /// other event has no muted form and is ignored.
    pub fn apply_muted(&mut self, event: &Event) {
        let (op, scope, site, code) = match *event {
            Event::Maintain { op, scope, site } => (op, scope, site, false),
            Event::MaintainCode { scope, site } if self.code.is_judged() => (Maintenance::Invalidate, scope, site, true),
            _ => return,
        };
        self.maintenance += 1;
        self.muted += 1;
        let cpu = self.places.of_many(self.places.cpu());
        let past = |target, colour, writer, epoch, code_epoch| Past {
            target,
            cpu,
            op,
            colour,
            site,
            effect: Effect::Nothing,
            muted: true,
            epoch,
            code_epoch,
            writer,
        };
        let past = match scope {
            Scope::Line { vaddr, paddr } => {
                let id = self.line_id(paddr);
                let meant = if code { self.code_meant_by(id, vaddr) } else { self.meant_by(id, vaddr) };
                for (id, place) in meant {
                    let writer = self.last_writer(id);
                    let cpu = if code { self.places.cpu_of_code(place) } else { self.places.cpu_of(place) };
                    let past = past(Target::Line(id), Some(place), writer, 0, code.then_some(0));
                    self.history.push(Past { cpu: self.places.of_many(cpu), ..past });
                }
                return;
            }
            Scope::Index { .. } | Scope::Whole => {
                let target = if let Scope::Index { set, .. } = scope { Target::Index { set } } else { Target::Whole };
                if code {
                    let code_epoch = self.begin_code_sweep();
                    past(target, None, None, self.sweeps.epoch(), Some(code_epoch))
                } else {
                    past(target, None, None, self.begin_sweep(), None)
                }
            }
        };
        self.history.push(past);
    }

    /// Maintenance of the data cache, as it is carried out.
    pub(crate) fn maintain(&mut self, op: Maintenance, scope: Scope, site: Site) {
        self.maintenance += 1;
        self.book(Side::Data, scope, site);
        match scope {
            Scope::Line { vaddr, paddr } => self.maintain_line(op, vaddr, paddr, site),
            Scope::Index { set, way } => self.maintain_index(op, set, way, site),
            Scope::Whole => self.maintain_whole(op, site),
        }
    }

    /// The same of the instruction cache.
    pub(crate) fn maintain_code(&mut self, scope: Scope, site: Site) {
        self.maintenance += 1;
        self.book(Side::Instruction, scope, site);
        match scope {
            Scope::Line { vaddr, paddr } => self.maintain_code_line(vaddr, paddr, site),
            Scope::Index { set, way } => self.maintain_code_index(set, way, site),
            Scope::Whole => self.maintain_code_whole(site),
        }
    }
}
