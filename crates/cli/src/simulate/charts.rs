//! The plots of the HTML report: SVG made here, readable without scripts, in the page's colours.
//!
//! Guarantees: every value drawn is also in a `title` (shown when pointed at) and in a table of the page; colours are never the only
//! sign, since every bar and line is named. Not here: which numbers (`html`).

use maud::{Markup, html};

/// How many colours the page's style has for series.
const SERIES: usize = 10;

/// A bar made of parts.
pub(crate) struct Bar {
    pub(crate) name: String,
    /// One value for each series.
    pub(crate) parts: Vec<f64>,
}

/// The class that the page's style colours series `at` by.
fn series(at: usize) -> String {
    format!("series{}", at % SERIES)
}

fn short(value: f64) -> String {
    match value {
        _ if value >= 1e6 => format!("{:.1}M", value / 1e6),
        _ if value >= 1e4 => format!("{:.0}k", value / 1e3),
        _ if value >= 1e3 => format!("{:.1}k", value / 1e3),
        _ if value >= 10.0 || value == value.trunc() => format!("{value:.0}"),
        _ => format!("{value:.1}"),
    }
}

/// What stands for what.
fn key(names: &[String]) -> Markup {
    html! {
        ul.key {
            @for (at, name) in names.iter().enumerate() {
                li { svg width="12" height="12" aria-hidden="true" { rect.(series(at)) width="12" height="12" {} } " " (name) }
            }
        }
    }
}

const LABELS: f64 = 130.0;
const WIDTH: f64 = 560.0;
const ROW: f64 = 24.0;

/// Horizontal bars, one below the other, each made of the series' parts.
pub(crate) fn stacked(title: &str, names: &[String], bars: &[Bar]) -> Markup {
    let most = bars.iter().map(|bar| bar.parts.iter().sum::<f64>()).fold(0.0, f64::max);
    let scale = if most > 0.0 { WIDTH / most } else { 0.0 };
    let height = ROW * bars.len() as f64;
    html! {
        figure {
            figcaption { (title) }
            (key(names))
            svg.chart viewBox=(format!("0 0 {} {height}", LABELS + WIDTH + 70.0)) role="img" aria-label=(title) {
                @for (row, bar) in bars.iter().enumerate() {
                    @let y = ROW * row as f64;
                    text x=(LABELS - 6.0) y=(y + 16.0) text-anchor="end" { (bar.name) }
                    @let ends = sums(&bar.parts);
                    @for (at, part) in bar.parts.iter().enumerate().filter(|(_, part)| **part > 0.0) {
                        rect.(series(at)) x=(format!("{:.1}", LABELS + scale * (ends[at] - part))) y=(y + 3.0)
                            width=(format!("{:.1}", scale * part)) height=(ROW - 6.0) {
                            title { (bar.name) ": " (names[at]) " " (short(*part)) }
                        }
                    }
                    @let total: f64 = bar.parts.iter().sum();
                    text.value x=(format!("{:.1}", LABELS + scale * total + 5.0)) y=(y + 16.0) { (short(total)) }
                }
            }
        }
    }
}

/// The sum up to and with each.
fn sums(parts: &[f64]) -> Vec<f64> {
    parts
        .iter()
        .scan(0.0, |sum, part| {
            *sum += part;
            Some(*sum)
        })
        .collect()
}

/// Groups of thin bars: one group for each name, one bar in it for each series. The value of `values[group][series]`.
pub(crate) fn grouped(title: &str, names: &[String], groups: &[String], values: &[Vec<f64>]) -> Markup {
    const THIN: f64 = 8.0;
    let most = values.iter().flatten().copied().fold(0.0, f64::max);
    let scale = if most > 0.0 { WIDTH / most } else { 0.0 };
    let group_height = THIN * names.len() as f64 + 10.0;
    let height = group_height * groups.len() as f64;
    html! {
        figure {
            figcaption { (title) }
            (key(names))
            svg.chart viewBox=(format!("0 0 {} {height}", LABELS + WIDTH + 70.0)) role="img" aria-label=(title) {
                @for (group, name) in groups.iter().enumerate() {
                    @let top = group_height * group as f64;
                    text x=(LABELS - 6.0) y=(top + group_height / 2.0) text-anchor="end" { (name) }
                    @for (at, value) in values[group].iter().enumerate() {
                        @let y = top + THIN * at as f64 + 5.0;
                        rect.(series(at)) x=(LABELS) y=(y) width=(format!("{:.1}", (scale * value).max(1.0))) height=(THIN - 1.0) {
                            title { (name) ", " (names[at]) ": " (short(*value)) }
                        }
                        text.small x=(format!("{:.1}", LABELS + scale * value + 4.0)) y=(y + 7.0) { (short(*value)) }
                    }
                }
            }
        }
    }
}

/// Lines over a few places of the x axis: `values[series][place]`.
pub(crate) fn lines(title: &str, names: &[String], places: &[String], values: &[Vec<f64>]) -> Markup {
    const HEIGHT: f64 = 260.0;
    const LEFT: f64 = 60.0;
    let most = values.iter().flatten().copied().fold(0.0, f64::max).max(f64::MIN_POSITIVE);
    let x = |place: usize| LEFT + WIDTH * (place as f64 + 0.5) / places.len() as f64;
    let y = |value: f64| 10.0 + HEIGHT * (1.0 - value / most);
    html! {
        figure {
            figcaption { (title) }
            (key(names))
            svg.chart viewBox=(format!("0 0 {} {}", LEFT + WIDTH + 110.0, HEIGHT + 40.0)) role="img" aria-label=(title) {
                @for quarter in 0..=4u8 {
                    @let value = most * f64::from(quarter) / 4.0;
                    line.grid x1=(LEFT) x2=(LEFT + WIDTH) y1=(format!("{:.1}", y(value))) y2=(format!("{:.1}", y(value))) {}
                    text.small x=(LEFT - 6.0) y=(format!("{:.1}", y(value) + 3.0)) text-anchor="end" { (short(value)) }
                }
                @for (place, name) in places.iter().enumerate() {
                    text.small x=(format!("{:.1}", x(place))) y=(HEIGHT + 28.0) text-anchor="middle" { (name) }
                }
                @for (at, line) in values.iter().enumerate() {
                    @let points: Vec<String> = line.iter().enumerate().map(|(place, value)| format!("{:.1},{:.1}", x(place), y(*value))).collect();
                    polyline.(format!("stroke{}", at % SERIES)) points=(points.join(" ")) {}
                    @for (place, value) in line.iter().enumerate() {
                        circle.(series(at)) cx=(format!("{:.1}", x(place))) cy=(format!("{:.1}", y(*value))) r="3.5" {
                            title { (names[at]) ", " (places[place]) ": " (short(*value)) }
                        }
                    }
                }
                @for (at, label) in apart(values.iter().map(|line| y(line.last().copied().unwrap_or(0.0)) + 3.0).collect()) {
                    text.small x=(format!("{:.1}", x(places.len() - 1) + 8.0)) y=(format!("{label:.1}")) { (names[at]) }
                }
            }
        }
    }
}

/// Where labels go so that none covers another, each as near to its place as may be: from the lowest up.
fn apart(places: Vec<f64>) -> Vec<(usize, f64)> {
    const GAP: f64 = 10.0;
    let mut labels: Vec<(usize, f64)> = places.into_iter().enumerate().collect();
    labels.sort_by(|(_, a), (_, b)| b.total_cmp(a));
    for at in 1..labels.len() {
        labels[at].1 = labels[at].1.min(labels[at - 1].1 - GAP);
    }
    labels
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        for (value, shown) in
            [(0.0, "0"), (0.25, "0.2"), (3.0, "3"), (12.3, "12"), (1234.0, "1.2k"), (45678.0, "46k"), (7.3e6, "7.3M")]
        {
            assert_eq!(short(value), shown);
        }
    }

    #[test]
    fn labels_do_not_cover_one_another() {
        assert_eq!(apart(vec![100.0, 99.0, 20.0]), [(0, 100.0), (1, 90.0), (2, 20.0)]);
    }

    #[test]
    fn every_value_is_named_and_none_is_outside() {
        let names = ["a".to_owned(), "b<".to_owned()];
        let chart = stacked("cycles", &names, &[Bar { name: "x".to_owned(), parts: vec![1.0, 3.0] }]).into_string();
        assert!(chart.contains("<title>x: a 1</title>") && chart.contains("b&lt; 3"), "{chart}");
        assert!(
            chart.contains("x=\"130.0\"") && chart.contains("width=\"140.0\"") && chart.contains("width=\"420.0\""),
            "{chart}"
        );
        let empty = lines("nothing", &names, &["p".to_owned()], &[vec![0.0], vec![0.0]]).into_string();
        assert!(!empty.contains("NaN") && !empty.contains("inf"), "{empty}");
    }
}
