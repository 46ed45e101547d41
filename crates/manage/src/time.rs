//! Moments as text.

use ternmq_core::id::Timestamp;

const MS_PER_DAY: u64 = 86_400_000;

/// A moment as RFC 3339 has it, with milliseconds: `2026-11-27T05:19:19.275+00:00`.
pub(crate) fn rfc3339(moment: Timestamp) -> String {
    let (year, month, day) = date(moment.0 / MS_PER_DAY);
    let ms = moment.0 % MS_PER_DAY;
    let (hour, minute, second) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1_000 % 60);
    let ms = ms % 1_000;
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}+00:00")
}

/// A moment to the second, as Erlang's tools write it: `2026-11-27 05:19:19`.
pub(crate) fn plain(moment: Timestamp) -> String {
    let mut text = rfc3339(moment).replace('T', " ");
    text.truncate("2026-11-27 05:19:19".len());
    text
}

/// Year, month and day of a number of days since 1970, in the Gregorian calendar. Years are counted from March on, so
/// that a leap day is the last of its year.
fn date(days: u64) -> (u64, u64, u64) {
    /// Days from the first of March of the year 0 to 1970.
    const BEFORE_1970: u64 = 719_468;
    const DAYS_PER_ERA: u64 = 146_097;
    let days = days + BEFORE_1970;
    let (era, day_of_era) = (days / DAYS_PER_ERA, days % DAYS_PER_ERA);
    let leap_days = day_of_era / 1_460 - day_of_era / 36_524 + day_of_era / 146_096;
    let year_of_era = (day_of_era - leap_days) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_in_the_calendar() {
        let cases = [
            (0, "1970-01-01T00:00:00.000+00:00"),
            (951_782_399_999, "2000-02-28T23:59:59.999+00:00"),
            (951_782_400_000, "2000-02-29T00:00:00.000+00:00"),
            (1_795_756_759_275, "2026-11-27T05:19:19.275+00:00"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000+00:00"),
        ];
        for (ms, text) in cases {
            assert_eq!(rfc3339(Timestamp(ms)), text);
        }
        let moment = Timestamp(1_795_756_759_275);
        assert_eq!(plain(moment), "2026-11-27 05:19:19");
    }
}
