//! What the program knows beside the judge's ledger: what operations cost, by the simulator's figures for the core that is nearest to the
//! one that is judged, and whose needs are not seen.

use congruent_arch::Arch;
use congruent_machine::cost_model;
use congruent_report::OperationCosts;

/// The costs for a guest of this architecture, with the data cache that was asked for (`dcache`) if it names a core; `None` if neither is
/// priced.
pub(crate) fn operation_costs(arch: Option<Arch>, dcache: Option<&str>) -> Option<OperationCosts> {
    let of_arch = || cost_model(arch?.facts().priced_as?);
    dcache.and_then(cost_model).or_else(of_arch).map(|model| OperationCosts {
        model: model.name,
        line: model.line_operation.cycles,
        index: model.index_operation.cycles,
        whole_per_line: model.whole_operation_per_line.cycles,
    })
}

/// Who may need maintenance on such a guest and is not seen to.
pub(crate) fn unseen(arch: Option<Arch>, fetches_judged: bool) -> Vec<String> {
    let of_arch = arch.map_or(&[][..], |arch| arch.facts().unseen);
    let fetches = (!fetches_judged).then_some("instruction fetches");
    fetches.into_iter().chain(of_arch.iter().copied()).chain(["devices that were not followed"]).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_core_that_is_named_is_paid_for_and_else_one_of_the_architecture() {
        let model = |arch, dcache| operation_costs(Some(arch), dcache).map(|costs| costs.model);
        for arch in Arch::ALL {
            assert_eq!(model(arch, Some("p5600")), Some("p5600"));
            // The name of a model, or none: never one of another architecture.
            assert_eq!(model(arch, Some("32K,4,32")), arch.facts().priced_as);
            assert_eq!(model(arch, None), arch.facts().priced_as);
        }
        assert_eq!(operation_costs(None, None), None);
        assert_eq!(Arch::ALL.map(|arch| arch.facts().priced_as.unwrap_or("none")), ["24kc", "24kc", "arm1136", "sh7750", "none"]);
    }

    #[test]
    fn what_an_architecture_has_unseen_stands_between_fetches_and_devices() {
        let devices = "devices that were not followed";
        assert_eq!(unseen(Some(Arch::Arm), false), ["instruction fetches", "page-table walks by the hardware", devices]);
        assert_eq!(unseen(Some(Arch::Sh4), true), [devices]);
        assert_eq!(unseen(None, true), [devices]);
    }
}
