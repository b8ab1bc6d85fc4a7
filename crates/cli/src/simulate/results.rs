//! What the runs came to, as every form of the report has it; its JSON is the schema `congruent.simulation/1`
//! (`docs/simulate/report.md`).

use congruent_machine::Counters;
use congruent_shadow::{Finding, Party};
use congruent_vm::{Errno, Outcome, Setup, site_name};
use serde::Serialize;

use super::run::OnComputer;
use super::source::Workload;

/// The whole report.
#[derive(Serialize)]
pub(crate) struct Results {
    schema: &'static str,
    pub(crate) workload: WorkloadEntry,
    pub(crate) computers: Vec<ComputerEntry>,
}

#[derive(Serialize)]
pub(crate) struct WorkloadEntry {
    pub(crate) name: String,
    #[serde(skip)]
    pub(crate) description: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) scale: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) log: Option<LogEntry>,
}

#[derive(Serialize)]
pub(crate) struct LogEntry {
    pub(crate) tasks: usize,
    pub(crate) calls: u64,
    pub(crate) failed: u64,
    pub(crate) not_modelled: Vec<NamedCount>,
}

#[derive(Serialize)]
pub(crate) struct NamedCount {
    pub(crate) name: String,
    pub(crate) count: u64,
}

#[derive(Serialize)]
pub(crate) struct ComputerEntry {
    pub(crate) dcache: CacheEntry,
    pub(crate) icache: CacheEntry,
    pub(crate) page: u32,
    pub(crate) cpus: usize,
    pub(crate) frames: u64,
    pub(crate) replacement: String,
    pub(crate) cost: &'static str,
    pub(crate) seed: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) muted: Vec<&'static str>,
    pub(crate) policies: Vec<PolicyEntry>,
}

#[derive(Serialize)]
pub(crate) struct CacheEntry {
    pub(crate) name: String,
    pub(crate) size: u32,
    pub(crate) ways: u32,
    pub(crate) line: u32,
    pub(crate) colours: u32,
}

#[derive(Serialize)]
pub(crate) struct PolicyEntry {
    pub(crate) policy: &'static str,
    pub(crate) steps: u64,
    pub(crate) findings: Vec<FindingEntry>,
    pub(crate) hazards: u64,
    pub(crate) corrupted_bytes: u64,
    pub(crate) corruptions: Vec<String>,
    pub(crate) maintenance: MaintenanceEntry,
    pub(crate) windows_mapped: u64,
    pub(crate) lookups: u64,
    pub(crate) tlb_refills: u64,
    pub(crate) cycles: CyclesEntry,
    pub(crate) operations: Vec<OperationEntry>,
    pub(crate) errors: Vec<ErrorEntry>,
    pub(crate) preemptions: u64,
    pub(crate) counters: serde_json::Map<String, serde_json::Value>,
}

#[derive(Serialize)]
pub(crate) struct FindingEntry {
    pub(crate) class: String,
    pub(crate) count: u64,
    pub(crate) consumer: PartyEntry,
    pub(crate) producer: Option<PartyEntry>,
    pub(crate) paddr: String,
    pub(crate) bytes: u32,
}

#[derive(Serialize)]
pub(crate) struct PartyEntry {
    pub(crate) kind: String,
    pub(crate) site: &'static str,
    pub(crate) colour: Option<u16>,
}

#[derive(Serialize)]
pub(crate) struct MaintenanceEntry {
    pub(crate) lines_written_back: u64,
    pub(crate) lines_invalidated: u64,
    pub(crate) lines_written_back_and_invalidated: u64,
    pub(crate) pages: u64,
    pub(crate) whole: u64,
    pub(crate) code_lines: u64,
    pub(crate) code_whole: u64,
}

#[derive(Serialize)]
pub(crate) struct CyclesEntry {
    pub(crate) total: u64,
    pub(crate) by_cause: Vec<NamedCount>,
}

/// All steps of one kind.
#[derive(Serialize)]
pub(crate) struct OperationEntry {
    pub(crate) name: &'static str,
    pub(crate) count: u64,
    pub(crate) failed: u64,
    /// Of all of them; 0 for what programs load, store and run, which is in the totals only.
    pub(crate) cycles: u64,
    pub(crate) lines: u64,
    pub(crate) whole: u64,
    pub(crate) windows_mapped: u64,
}

#[derive(Serialize)]
pub(crate) struct ErrorEntry {
    pub(crate) name: &'static str,
    pub(crate) count: u64,
    #[serde(skip)]
    pub(crate) errno: Errno,
}

impl Results {
    pub(crate) fn new(workload: &Workload, runs: Vec<OnComputer>) -> Self {
        let scale_and_seed = workload.scale_and_seed();
        let named = |(name, count)| NamedCount { name, count };
        let log = workload.understood().map(|log| LogEntry {
            tasks: log.tasks,
            calls: log.calls,
            failed: log.failed,
            not_modelled: log.not_modelled.into_iter().map(named).collect(),
        });
        Self {
            schema: "congruent.simulation/1",
            workload: WorkloadEntry {
                name: workload.name.clone(),
                description: workload.description(),
                scale: scale_and_seed.map(|(scale, _)| scale),
                log,
            },
            computers: runs.into_iter().map(computer).collect(),
        }
    }

    /// Whether nothing was found and no wrong byte was seen.
    pub(crate) fn is_clean(&self) -> bool {
        self.computers.iter().flat_map(|computer| &computer.policies).all(PolicyEntry::is_clean)
    }

    pub(crate) fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("plain data has a form in JSON");
        text.push('\n');
        text
    }
}

impl PolicyEntry {
    pub(crate) fn is_clean(&self) -> bool {
        self.findings.is_empty() && self.corrupted_bytes == 0
    }

    /// Cycles for each step.
    pub(crate) fn per_step(&self) -> f64 {
        self.cycles.total as f64 / self.steps.max(1) as f64
    }
}

impl OperationEntry {
    pub(crate) fn cycles_each(&self) -> f64 {
        self.cycles as f64 / self.count.max(1) as f64
    }
}

fn computer(on: OnComputer) -> ComputerEntry {
    let setup = &on.computer.setup;
    let cache = |name: &str, geometry: &congruent_geometry::CacheGeometry| CacheEntry {
        name: name.to_owned(),
        size: geometry.size(),
        ways: geometry.ways(),
        line: geometry.line(),
        colours: geometry.colours(),
    };
    ComputerEntry {
        dcache: cache(&on.computer.name, &setup.dcache),
        icache: cache("", &setup.icache),
        page: setup.dcache.page(),
        cpus: setup.cpus,
        frames: setup.frames,
        replacement: format!("{:?}", setup.replacement).to_lowercase(),
        cost: setup.cost.name,
        seed: setup.seed,
        muted: setup.mute.iter().map(|site| site_name(*site)).collect(),
        policies: on.outcomes.iter().map(|outcome| policy(setup, outcome)).collect(),
    }
}

fn policy(setup: &Setup, outcome: &Outcome) -> PolicyEntry {
    let price = |counters: &Counters| setup.cost.price(counters, &setup.dcache, &setup.icache);
    let counters = &outcome.counters;
    let operation = |(name, operations): (&&'static str, &congruent_vm::Operations)| {
        let counters = &operations.counters;
        OperationEntry {
            name,
            count: operations.count,
            failed: operations.failed,
            cycles: price(counters).total(),
            lines: lines(counters),
            whole: counters.whole_operations,
            windows_mapped: counters.window_maps,
        }
    };
    let error = |(errno, count): (&Errno, &u64)| ErrorEntry { name: errno.name(), count: *count, errno: *errno };
    PolicyEntry {
        policy: outcome.policy.name(),
        steps: outcome.steps,
        findings: outcome.findings.iter().map(finding).collect(),
        hazards: outcome.stats.hazards,
        corrupted_bytes: outcome.corrupted_bytes,
        corruptions: outcome.corruptions.iter().map(ToString::to_string).collect(),
        maintenance: MaintenanceEntry {
            lines_written_back: counters.lines_written_back,
            lines_invalidated: counters.lines_invalidated,
            lines_written_back_and_invalidated: counters.lines_written_back_and_invalidated,
            pages: outcome.maintenance.pages,
            whole: outcome.maintenance.whole,
            code_lines: outcome.maintenance.code_lines,
            code_whole: outcome.maintenance.code_whole,
        },
        windows_mapped: counters.window_maps,
        lookups: outcome.lookups,
        tlb_refills: counters.tlb_refills,
        cycles: CyclesEntry {
            total: outcome.cycles.total(),
            by_cause: outcome.cycles.iter().map(|(name, count)| NamedCount { name: name.to_owned(), count }).collect(),
        },
        operations: outcome.operations.iter().map(operation).collect(),
        errors: outcome.errors.iter().map(error).collect(),
        preemptions: outcome.preemptions,
        counters: counters.iter().map(|(name, count)| (name.to_owned(), count.into())).collect(),
    }
}

/// Lines of the data cache that were maintained by address.
fn lines(counters: &Counters) -> u64 {
    counters.lines_written_back + counters.lines_invalidated + counters.lines_written_back_and_invalidated
}

pub(super) fn finding(finding: &Finding) -> FindingEntry {
    let party = |party: &Party| PartyEntry { kind: kebab(&party.kind), site: site_name(party.site), colour: party.colour };
    FindingEntry {
        class: kebab(&finding.class),
        count: finding.count,
        consumer: party(&finding.consumer),
        producer: finding.producer.as_ref().map(party),
        paddr: format!("{:#x}", finding.example.paddr.0),
        bytes: finding.example.bytes,
    }
}

/// The name of a plain enum's value in JSON.
fn kebab(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(name)) => name,
        _ => unreachable!("it has no fields"),
    }
}
