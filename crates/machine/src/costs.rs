//! What things cost, in cycles of the CPU: a model to compare policies by, not a prediction for a board.
//!
//! Every cost is a count ([`Counters`]) times a figure, so one run can be priced for several cores afterwards. Every figure
//! says where it comes from: a manual, or an estimate with its reason. Manuals give what the core takes; what memory takes is the
//! board's affair and always an estimate. Sums, not pipelines: nothing overlaps, so absolute numbers are too high and
//! comparisons between policies on one core are what the model is for.
//!
//! The second level absorbs write-backs at the same figure as memory does. Transfers by devices cost the CPU nothing.

use congruent_geometry::CacheGeometry;

use crate::counters::Counters;

/// Where a figure comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Source {
    /// This manual states it.
    Manual(&'static str),
    /// Nobody states it for boards in general; this is why it is what it is.
    Estimate(&'static str),
}

/// A number of cycles and where it comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Figure {
    /// Cycles.
    pub cycles: u32,
    /// Where from.
    pub source: Source,
}

macro_rules! cost_model {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What each thing costs on one core.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[non_exhaustive]
        pub struct CostModel {
            /// The name as given on the command line.
            pub name: &'static str,
            /// The core.
            pub core: &'static str,
            $($(#[$doc])* pub $name: Figure,)*
        }

        impl CostModel {
            /// Every figure with its name, in the order of the documentation.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, Figure)> + use<> {
                [$((stringify!($name), self.$name)),*].into_iter()
            }
        }
    };
}

cost_model! {
    /// A cached load, store or fetch that hits, at the pipeline's rate.
    hit,
    /// A line filled from the second level.
    l2_fill,
    /// A line filled from memory.
    memory_fill,
    /// A line written back.
    write_back,
    /// A store that goes to memory at once.
    write_through,
    /// An uncached access.
    uncached,
    /// A line taken from another CPU's cache, or its copy there taken away.
    snoop,
    /// A TLB miss.
    tlb_refill,
    /// A TLB maintenance operation.
    tlb_drop,
    /// Maintenance of one line by address, without the write-back that it may cause.
    line_operation,
    /// Maintenance of one set and way, likewise.
    index_operation,
    /// Maintenance of a whole cache, for each of its lines, likewise.
    whole_operation_per_line,
    /// Mapping a window and taking it away again.
    window_map,
    /// A fault, from the access to the kernel and back.
    fault,
}

/// Cycles by cause.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Cycles {
    /// Accesses that hit, or would have.
    pub accesses: u64,
    /// Lines filled.
    pub fills: u64,
    /// Lines written back, and stores written through.
    pub write_backs: u64,
    /// Uncached accesses.
    pub uncached: u64,
    /// Other CPUs' copies.
    pub coherence: u64,
    /// TLB misses and TLB maintenance.
    pub translation: u64,
    /// Cache maintenance; what it wrote back counts as write-backs.
    pub maintenance: u64,
    /// Windows mapped.
    pub windows: u64,
    /// Faults.
    pub faults: u64,
    /// Other work.
    pub work: u64,
}

impl Cycles {
    /// Every cause with its name.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + use<> {
        [
            ("accesses", self.accesses),
            ("fills", self.fills),
            ("write-backs", self.write_backs),
            ("uncached", self.uncached),
            ("coherence", self.coherence),
            ("translation", self.translation),
            ("maintenance", self.maintenance),
            ("windows", self.windows),
            ("faults", self.faults),
            ("work", self.work),
        ]
        .into_iter()
    }

    /// All of them.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.iter().map(|(_, cycles)| cycles).sum()
    }
}

impl CostModel {
    /// What these counts cost, with caches of these shapes.
    #[must_use]
    pub fn price(&self, counters: &Counters, data: &CacheGeometry, code: &CacheGeometry) -> Cycles {
        let cost = |count: u64, figure: Figure| count * u64::from(figure.cycles);
        let c = counters;
        let lines = |geometry: &CacheGeometry| u64::from(geometry.sets() * geometry.ways());
        let by_line =
            c.lines_written_back + c.lines_invalidated + c.lines_written_back_and_invalidated + c.code_lines_invalidated;
        let swept = c.whole_operations * lines(data) + c.code_whole_operations * lines(code);
        Cycles {
            accesses: cost(c.loads + c.stores + c.fetches, self.hit),
            fills: cost(c.l2_fills, self.l2_fill) + cost(c.memory_fills, self.memory_fill),
            write_backs: cost(c.write_backs, self.write_back) + cost(c.written_through, self.write_through),
            uncached: cost(c.uncached, self.uncached),
            coherence: cost(c.snoops, self.snoop),
            translation: cost(c.tlb_refills, self.tlb_refill) + cost(c.tlb_drops, self.tlb_drop),
            maintenance: cost(by_line, self.line_operation)
                + cost(c.index_operations + c.code_index_operations, self.index_operation)
                + cost(swept, self.whole_operation_per_line),
            windows: cost(c.window_maps, self.window_map),
            faults: cost(c.faults, self.fault),
            work: c.work,
        }
    }
}

const fn manual(cycles: u32, source: &'static str) -> Figure {
    Figure { cycles, source: Source::Manual(source) }
}

const fn estimate(cycles: u32, reason: &'static str) -> Figure {
    Figure { cycles, source: Source::Estimate(reason) }
}

/// The models, in the order in which they are listed to people.
pub const COSTS: &[CostModel] = &[
    CostModel {
        name: "24kc",
        core: "MIPS32 24Kc, 400 MHz, DDR memory",
        hit: manual(1, "MIPS32 24K Family Software User's Manual, pipeline: one load or store can complete in each cycle"),
        l2_fill: estimate(20, "an L2 controller behind the core's OCP bus, at half the core's clock"),
        memory_fill: estimate(50, "about 125 ns to DDR through the OCP bus and its controller, at 400 MHz"),
        write_back: estimate(16, "four bursts of eight bytes at half the core's clock; the write buffer hides the latency"),
        write_through: estimate(4, "the write buffer takes a word at the bus's rate"),
        uncached: estimate(40, "a single beat, but the full latency"),
        snoop: estimate(30, "no such core; as an intervention of the 1004K"),
        tlb_refill: estimate(
            30,
            "an exception flushes the eight-stage pipeline twice; Linux's handler is about ten instructions",
        ),
        tlb_drop: estimate(20, "probe, two moves to CP0, write, with their hazard barriers"),
        line_operation: estimate(3, "CACHE holds the pipeline for a tag read and a tag write; a third for the loop, unrolled"),
        index_operation: estimate(3, "as by address"),
        whole_operation_per_line: estimate(3, "it is a loop of operations by index"),
        window_map: estimate(40, "two page-table entries, a wired TLB entry written and later overwritten, with hazard barriers"),
        fault: estimate(200, "general exception, registers saved and restored, the handler's search"),
    },
    CostModel {
        name: "p5600",
        core: "MIPS P5600, 1.2 GHz, 2 MiB L2",
        hit: estimate(1, "it issues one load or store each cycle, out of order"),
        l2_fill: estimate(18, "the coherence manager's L2, pipelined, at the core's clock"),
        memory_fill: estimate(130, "about 110 ns at 1.2 GHz"),
        write_back: estimate(8, "32 bytes over the 128-bit path to the L2, plus arbitration"),
        write_through: estimate(4, "the path to the L2 takes a word per few cycles"),
        uncached: estimate(100, "a single beat, but the full latency"),
        snoop: estimate(30, "an intervention through the coherence manager: the L2's latency and another core's tag look-up"),
        tlb_refill: estimate(40, "the hardware page-table walker reads two levels from the L2"),
        tlb_drop: estimate(30, "TLBINV and barriers in a deep pipeline"),
        line_operation: estimate(
            8,
            "CACHE is not speculated: it waits to graduate, and is globalised through the coherence manager",
        ),
        index_operation: estimate(6, "as by address, but stays on the core"),
        whole_operation_per_line: estimate(6, "it is a loop of operations by index"),
        window_map: estimate(60, "as on the 24Kc, with the barriers of a deeper pipeline"),
        fault: estimate(250, "as on the 24Kc, with the barriers of a deeper pipeline"),
    },
    CostModel {
        name: "arm1136",
        core: "ARM1136, 400 MHz, DDR memory",
        hit: manual(1, "ARM1136JF-S TRM, \"Cycle timings and interlock behavior\": single loads and stores issue in one cycle"),
        l2_fill: estimate(25, "an L210 controller behind the AHB-Lite ports"),
        memory_fill: estimate(50, "about 125 ns to DDR at 400 MHz"),
        write_back: estimate(
            10,
            "the line goes over the 64-bit port in four beats, through the write buffer; often only half of it",
        ),
        write_through: estimate(4, "the write buffer takes a word at the bus's rate"),
        uncached: estimate(40, "a single beat, but the full latency"),
        snoop: estimate(30, "no such core; as the snoop control unit of the ARM11 MPCore"),
        tlb_refill: estimate(80, "the hardware walker reads two descriptors; ARMv6 walks do not look into the L1 caches"),
        tlb_drop: estimate(10, "one coprocessor write and the barrier that waits for it"),
        line_operation: estimate(3, "one coprocessor write with its tag look-up; block operations do a line in about that time"),
        index_operation: estimate(3, "as by address"),
        whole_operation_per_line: estimate(
            1,
            "one blocking instruction walks the tags (ARM1136JF-S TRM, c7), which takes a cycle each at least",
        ),
        window_map: estimate(40, "a page-table entry, cleaned to memory for the walker, and the TLB entry dropped"),
        fault: estimate(200, "data abort, registers saved and restored, the handler's search"),
    },
    CostModel {
        name: "sh7750",
        core: "SH7750, 200 MHz, SDRAM",
        hit: manual(
            1,
            "SH7750 Series Hardware Manual, \"Execution Cycles and Pipeline Stalling\": MOV from and to memory, issue rate 1",
        ),
        l2_fill: estimate(20, "no such core has one"),
        memory_fill: estimate(24, "SDRAM at half the core's clock: row, column, then four beats of 64 bits"),
        write_back: estimate(12, "four beats of 64 bits at half the core's clock; the write-back buffer hides the latency"),
        write_through: estimate(4, "one beat of the bus at half the core's clock, buffered"),
        uncached: estimate(20, "a single beat, but the full latency"),
        snoop: estimate(20, "no such core"),
        tlb_refill: estimate(60, "an exception, a walk in software of two levels, LDTLB"),
        tlb_drop: estimate(15, "the UTLB's address array is written from an uncached area"),
        line_operation: manual(
            1,
            "SH7750 Series Hardware Manual, \"Execution Cycles\": OCBI, OCBP, OCBWB issue rate 1; their latency of up to 5 is the write-back's",
        ),
        index_operation: estimate(5, "a store to the cache's memory-mapped address array, from an uncached area"),
        whole_operation_per_line: estimate(5, "it is a loop of operations by index"),
        window_map: estimate(40, "a page-table entry and LDTLB, and a purge of the address array"),
        fault: estimate(120, "exception, registers saved and restored (one bank is switched), the handler's search"),
    },
];

/// The model of this name, ignoring case.
#[must_use]
pub fn cost_model(name: &str) -> Option<&'static CostModel> {
    COSTS.iter().find(|model| model.name.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_figure_says_where_it_comes_from() {
        for model in COSTS {
            for (name, figure) in model.iter() {
                let (Source::Manual(says) | Source::Estimate(says)) = figure.source;
                assert!(figure.cycles > 0 && says.len() > 10, "{} {name}", model.name);
            }
        }
    }

    #[test]
    fn models_are_found_by_their_own_names_in_any_case() {
        for model in COSTS {
            assert_eq!(cost_model(&model.name.to_ascii_uppercase()), Some(model));
        }
        assert_eq!(cost_model("z80"), None);
    }

    #[test]
    fn every_counter_that_takes_time_is_paid_for_once() {
        let data = CacheGeometry::new(32 << 10, 4, 32).unwrap();
        let code = CacheGeometry::new(16 << 10, 4, 32).unwrap();
        let one = |cycles| Figure { cycles, source: Source::Estimate("a round number") };
        let price = |counters: &Counters, figure| {
            let model = CostModel {
                hit: figure,
                l2_fill: figure,
                memory_fill: figure,
                write_back: figure,
                write_through: figure,
                uncached: figure,
                snoop: figure,
                tlb_refill: figure,
                tlb_drop: figure,
                line_operation: figure,
                index_operation: figure,
                whole_operation_per_line: figure,
                window_map: figure,
                fault: figure,
                ..COSTS[0]
            };
            model.price(counters, &data, &code).total()
        };
        let counters = Counters {
            loads: 1,
            stores: 1,
            fetches: 1,
            uncached: 1,
            l2_fills: 1,
            memory_fills: 1,
            write_backs: 1,
            written_through: 1,
            snoops: 1,
            tlb_refills: 1,
            tlb_drops: 1,
            faults: 1,
            lines_written_back: 1,
            lines_invalidated: 1,
            lines_written_back_and_invalidated: 1,
            index_operations: 1,
            whole_operations: 1,
            code_lines_invalidated: 1,
            code_index_operations: 1,
            code_whole_operations: 1,
            window_maps: 1,
            work: 1,
            ..Counters::default()
        };
        // 19 things at one figure each, 1024 + 512 lines of whole caches, one cycle of work.
        assert_eq!(price(&counters, one(1)), 19 + 1536 + 1);
        assert_eq!(price(&counters, one(10)), 10 * (19 + 1536) + 1);
        // Reasons for the above, and no costs of their own.
        let reasons =
            Counters { load_misses: 1, store_misses: 1, fetch_misses: 1, evictions: 1, prefetch_fills: 1, ..Counters::default() };
        assert_eq!(price(&reasons, one(1)), 0);
    }
}
