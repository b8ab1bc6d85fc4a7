//! What the program knows beside the judge's ledger: what operations cost, by the simulator's figures for the core that is nearest to the
//! one that is judged, and whose needs are not seen.

use congruent_machine::cost_model;
use congruent_report::OperationCosts;

/// The costs for a guest of architecture `target`, with the data cache that was asked for (`dcache`) if it names a core.
pub(crate) fn operation_costs(target: &str, dcache: Option<&str>) -> OperationCosts {
    let of_target = match target {
        "arm" | "armeb" => "arm1136",
        "sh4" | "sh4eb" => "sh7750",
        _ => "24kc",
    };
    let model =
        dcache.and_then(cost_model).or_else(|| cost_model(of_target)).expect("the simulator has a model of each of these");
    OperationCosts {
        model: model.name,
        line: model.line_operation.cycles,
        index: model.index_operation.cycles,
        whole_per_line: model.whole_operation_per_line.cycles,
    }
}

/// Who may need maintenance on such a guest and is not seen to.
pub(crate) fn unseen(target: &str, fetches_judged: bool) -> Vec<String> {
    // ARMv6 walks do not look into the level-1 caches, so kernels write page tables back for them.
    let walks = matches!(target, "arm" | "armeb").then_some("page-table walks by the hardware");
    let fetches = (!fetches_judged).then_some("instruction fetches");
    fetches.into_iter().chain(walks).chain(["devices that were not followed"]).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_core_that_is_named_is_paid_for_and_else_one_of_the_architecture() {
        let model = |target, dcache| operation_costs(target, dcache).model;
        assert_eq!(model("mipsel", Some("p5600")), "p5600");
        assert_eq!(
            ["mips", "arm", "sh4", "hppa"].map(|target| model(target, Some("32K,4,32"))),
            ["24kc", "arm1136", "sh7750", "24kc"]
        );
        assert_eq!(model("arm", None), "arm1136");
    }
}
