//! What is to be said beside a verdict, in sentences: that findings may have one cause, that something is not known, what is not judged at all.
//!
//! Not here: what a source could not observe, which it says itself ([`Run::limits`]).

use congruent_shadow::{Finding, PartyKind, Stats};

use crate::run::Run;

/// What the guest's core says of itself and its sweeps show that is less than the modelled cache, if either is.
pub(crate) fn core(run: &Run<'_>) -> Option<String> {
    let Stats { step, sweep, .. } = run.stats;
    let (size, line) = (run.geometry.size(), run.geometry.line());
    let shown = [
        (sweep != 0 && sweep < size).then(|| format!("its sweeps by index reach {sweep} of {size} bytes")),
        (step > line).then(|| format!("it goes through its cache by {step} bytes over lines of {line}")),
    ];
    let shown = shown.into_iter().flatten().collect::<Vec<_>>().join(", and ");
    let shown = (!shown.is_empty()).then(|| {
        let follows = if run.core.is_none() { "; whatever is found may follow from that alone" } else { "" };
        format!("the guest maintains a smaller cache than the modelled one, or one with longer lines: {shown}{follows}")
    });
    let said: Vec<String> = run.core.iter().cloned().chain(shown).collect();
    (!said.is_empty()).then(|| said.join(". Indeed "))
}

/// What is not known because of so many writes that were noticed by their outcome alone.
pub(crate) fn unknown(unseen_writes: u64) -> Option<String> {
    let (times, this) = match unseen_writes {
        0 => return None,
        1 => ("Once".to_owned(), "that page"),
        times => (format!("{times} times"), "those pages"),
    };
    Some(format!(
        "{times} a page of memory was not what it was when the guest threw away what its cache held of it: a device that is not followed has written \
         there. Whether the guest then read old bytes in {this} is not known, and not reported; nor is what such devices read"
    ))
}

/// What the judge leaves out by itself, whatever the source saw.
pub(crate) fn limits_of_the_judge(run: &Run<'_>) -> impl Iterator<Item = String> {
    let stored = |finding: &Finding| finding.producer.is_some_and(|producer| producer.kind == PartyKind::Store);
    let last_store = "Of a producer that stored through the cache it is known that it was the last to store to the line: the bytes that were read \
                      may have been stored by another access before.";
    let speculation = "Fills that no access asked for are not judged: on a core that fills lines speculatively, what is invalidated only before \
                       a device writes to it may be old again afterwards. For caches of one colour, --speculative judges them.";
    let dropped = (run.stats.taken_as_dropped > 0).then(|| {
        format!(
            "Times that a frame had something in the cache under more virtual addresses than are told apart: {}. What was held under one of \
             them was taken as written back and dropped, and hazards with it were not seen.",
            run.stats.taken_as_dropped
        )
    });
    let said = [run.findings.iter().any(stored).then_some(last_store), (!run.behaviour.speculative).then_some(speculation)];
    said.into_iter().flatten().map(str::to_owned).chain(dropped)
}
