//! Every report is earned: for the first hazard of every short sequence there is a schedule, and a line with real bytes that
//! goes through it returns old bytes (or loses new ones, where a write is threatened).

use alloc::vec::Vec;
use std::println;

use congruent_geometry::CacheGeometry;
use congruent_machine::{Line, Schedules, Shape, Step};
use congruent_trace::Site;

use super::{Place, every_step, found_by};
use crate::{Config, Shadow};

/// Tries every sequence of `left` more events; returns how many reports were earned.
fn earn(model: &Schedules, shape: Shape, place: Place, shadow: &Shadow, so_far: &mut Vec<Step>, left: usize) -> u64 {
    let colours: Vec<usize> = (0..shape.colours.into()).collect();
    let mut earned = 0;
    for step in every_step(shape) {
        let mut shadow = shadow.clone();
        let event = place.event(step, &colours, Site(1 + so_far.len() as u32));
        let [read, written] = place.named(&found_by(&mut shadow, &event));
        so_far.push(step);
        if read | written != 0 {
            let witness =
                model.witness(so_far).unwrap_or_else(|| panic!("no schedule of {so_far:?} shows {read:#b} {written:#b}"));
            let mut line = Line::new(shape);
            let mut old = 0;
            for step in &witness.moves {
                old = line.make(*step).unwrap_or_else(|error| panic!("{error} at {step:?} of {:?}", witness.moves));
            }
            if read != 0 {
                assert!(old != 0 && old & !read == 0, "{:?} returned {old:#b}, reported {read:#b}", witness.moves);
            } else {
                // The newer bytes are written back first, the older ones over them.
                let own = match step {
                    Step::Access(_, colour, _) => Some(colour),
                    _ => None,
                };
                let order: Vec<u8> = own.into_iter().chain((0..shape.colours).filter(|colour| Some(*colour) != own)).collect();
                let destroyed = line.destroyed_if_written_back(&order);
                assert!(destroyed & written != 0, "{:?} destroyed {destroyed:#b}, reported {written:#b}", witness.moves);
            }
            earned += 1;
        } else if left > 1 {
            earned += earn(model, shape, place, &shadow, so_far, left - 1);
        }
        so_far.pop();
    }
    earned
}

#[test]
fn every_first_hazard_of_four_events_can_be_shown_with_real_bytes() {
    for (shape, length) in
        [(Shape::new(2, 2, 1), 4), (Shape { groups_per_unit: 1, ..Shape::new(2, 2, 1) }, 4), (Shape::new(2, 1, 2), 4)]
    {
        let geometry = CacheGeometry::with_page(2048 * u32::from(shape.ways), shape.ways.into(), 128, 1024).unwrap();
        let geometry = geometry.with_write_back_unit(128 / u32::from(shape.units())).unwrap();
        let model = Schedules::new(shape, Vec::new());
        let shadow = Shadow::new(Config::new(geometry));
        let place = Place::new(geometry, 2, 1, shape.groups);
        let earned = earn(&model, shape, place, &shadow, &mut Vec::new(), length);
        println!("{shape:?}: {earned} reports earned");
        assert!(earned > 1000, "{shape:?}: only {earned} reports: the sequences are not what they should be");
    }
}
