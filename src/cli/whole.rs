//! Numbers on the command line.

use std::{fmt::Display, ops::RangeInclusive, str::FromStr};

/// Parses a number within `range`.
pub(super) fn whole<T>(range: RangeInclusive<T>) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync + 'static
where
    T: FromStr + PartialOrd + Display + Clone + Send + Sync + 'static,
{
    move |text| {
        let number = text.parse().ok().filter(|number| range.contains(number));
        number.ok_or_else(|| format!("it must be a number from {} to {}", range.start(), range.end()))
    }
}
