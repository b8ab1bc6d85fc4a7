//! A calendar date, given from outside: this crate reads no clock.

use std::fmt;
use std::str::FromStr;

/// A day of the Gregorian calendar.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Date {
    year: u16,
    month: u8,
    day: u8,
}

/// A text that is no date.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0:?} is no date such as 2027-01-31")]
pub struct NotADate(String);

impl FromStr for Date {
    type Err = NotADate;

    /// `YYYY-MM-DD`, and nothing else.
    fn from_str(text: &str) -> Result<Self, NotADate> {
        let parsed = || {
            let [year, month, day] = <[&str; 3]>::try_from(text.split('-').collect::<Vec<_>>()).ok()?;
            let digits = |part: &str, length| part.len() == length && part.bytes().all(|byte| byte.is_ascii_digit());
            if !(digits(year, 4) && digits(month, 2) && digits(day, 2)) {
                return None;
            }
            let date = Self { year: year.parse().ok()?, month: month.parse().ok()?, day: day.parse().ok()? };
            (1..=12).contains(&date.month).then_some(())?;
            (1..=days(date.year, date.month)).contains(&date.day).then_some(date)
        };
        parsed().ok_or_else(|| NotADate(text.to_owned()))
    }
}

fn days(year: u16, month: u8) -> u8 {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_days_of_the_calendar_are_dates() {
        for good in ["2026-11-22", "2024-02-29", "2000-02-29", "1999-12-31"] {
            assert_eq!(good.parse::<Date>().unwrap().to_string(), good);
        }
        for bad in [
            "",
            "2026-11",
            "2026-11-31",
            "2026-02-29",
            "1900-02-29",
            "2026-13-01",
            "2026-00-01",
            "26-01-01",
            "+026-01-01",
            "2026-1-1",
            "2026-01-01T00:00",
        ] {
            assert_eq!(bad.parse::<Date>(), Err(NotADate(bad.to_owned())));
        }
    }

    #[test]
    fn dates_are_in_the_order_of_the_calendar() {
        let dates = ["2025-12-31", "2026-01-01", "2026-01-31", "2026-02-01"].map(|text| text.parse::<Date>().unwrap());
        assert!(dates.is_sorted());
    }
}
