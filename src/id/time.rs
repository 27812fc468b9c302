//! Time: an instant, a clock that tests can move, and the dates of partial precision that health messages carry.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

/// An instant in UTC, to the millisecond.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct Timestamp(i64);

impl Timestamp {
    /// From milliseconds since 1970-01-01T00:00:00Z.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since 1970-01-01T00:00:00Z.
    pub fn as_millis(self) -> i64 {
        self.0
    }

    /// Seconds since 1970-01-01T00:00:00Z, rounded down.
    pub fn as_secs(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// RFC 3339 in UTC with milliseconds: `2026-11-22T15:00:00.000Z` (xs:dateTime of SAML, WS-Security and ATNA).
    pub fn to_rfc3339(self) -> String {
        self.jiff().strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
    }

    /// Reads xs:dateTime with any offset. A time without a zone is taken as UTC. Years before 1 are refused: no message
    /// means one, and no wire format of ours can say it.
    pub fn from_rfc3339(text: &str) -> Option<Self> {
        const YEAR_ONE: i64 = -62_135_596_800_000;
        let text = text.trim();
        let instant = match text.parse::<jiff::Timestamp>() {
            Ok(instant) => instant,
            Err(_) => text.parse::<DateTime>().ok()?.to_zoned(TimeZone::UTC).ok()?.timestamp(),
        };
        Some(Self(instant.as_millisecond())).filter(|at| at.0 >= YEAR_ONE)
    }

    /// HL7 v3 and v2 form with an offset: `20261122150000+0000`.
    pub fn to_hl7(self) -> String {
        self.jiff().strftime("%Y%m%d%H%M%S+0000").to_string()
    }

    /// XDS DTM: UTC without a zone, `20261122150000` (ITI TF-3: Table 4.2.3.1.7-2).
    pub fn to_dtm(self) -> String {
        self.jiff().strftime("%Y%m%d%H%M%S").to_string()
    }

    /// Time since an earlier instant; zero if that is in the future.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// Later by a duration.
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)))
    }

    /// Earlier by a duration.
    pub fn minus(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)))
    }

    fn jiff(self) -> jiff::Timestamp {
        jiff::Timestamp::from_millisecond(self.0).unwrap_or(jiff::Timestamp::UNIX_EPOCH)
    }
}

/// Where time comes from: the system, or a clock that a test sets and moves.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System,
    Manual(Arc<AtomicI64>),
}

impl Clock {
    /// The system's clock.
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that stands still at an instant until it is moved. Clones move together.
    pub fn fixed(at: Timestamp) -> Self {
        Self(Source::Manual(Arc::new(AtomicI64::new(at.0))))
    }

    /// The instant now.
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            #[expect(clippy::disallowed_methods, reason = "the one place that asks the system")]
            Source::System => Timestamp(jiff::Timestamp::now().as_millisecond()),
            Source::Manual(at) => Timestamp(at.load(Ordering::SeqCst)),
        }
    }

    /// Sets a fixed clock; does nothing to the system's.
    pub fn set(&self, to: Timestamp) {
        if let Source::Manual(at) = &self.0 {
            at.store(to.0, Ordering::SeqCst);
        }
    }

    /// Moves a fixed clock forward; does nothing to the system's.
    pub fn advance(&self, by: Duration) {
        self.set(self.now().plus(by));
    }
}

/// A date or time of partial precision, in UTC: `YYYY[MM[DD[hh[mm[ss]]]]]` (HL7 TS, XDS DTM).
///
/// Precision is kept: `1984` is a year and not its first day. A zone in the text moves the value to UTC when it has
/// at least minutes; a date alone is a date wherever it is read.
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "SmolStr", into = "SmolStr")]
pub struct Dtm(SmolStr);

/// Why a text is not a date.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not a date of the form YYYY[MM[DD[hh[mm[ss]]]]]")]
pub struct NotADate;

impl Dtm {
    /// Reads HL7 digits with optional fraction and zone, and ISO 8601 (`1981-01-01`, `2026-11-22T10:03:03.653Z`),
    /// which live partners send where digits are required.
    pub fn lenient(text: &str) -> Result<Self, NotADate> {
        let text = text.trim();
        if text.len() > 40 || !text.is_ascii() {
            return Err(NotADate);
        }
        if text.get(4..5) == Some("-") {
            return Self::from_iso(text);
        }
        let zone_at = text.find(['+', '-', 'Z']).unwrap_or(text.len());
        let (time, zone) = text.split_at(zone_at);
        let digits = time.split('.').next().unwrap_or_default();
        Self::build(digits, zone)
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The date part, at most eight digits.
    pub fn date(&self) -> &str {
        &self.0[..self.0.len().min(8)]
    }

    /// The year, month and day, as far as they are known.
    pub fn ymd(&self) -> (u16, Option<u8>, Option<u8>) {
        let part = |range: std::ops::Range<usize>| self.0.get(range).and_then(|digits| digits.parse::<u8>().ok());
        (self.0[..4].parse().unwrap_or(0), part(4..6), part(6..8))
    }

    /// The first second that the value can mean, as 14 digits: compare a lower bound with this.
    pub fn earliest(&self) -> String {
        const LOW: &str = "00000101000000";
        format!("{}{}", self.0, &LOW[self.0.len()..])
    }

    /// The last second that the value can mean, as 14 digits: compare an upper bound with this. A month is taken to
    /// have 31 days, which is right for comparison.
    pub fn latest(&self) -> String {
        const HIGH: &str = "99991231235959";
        format!("{}{}", self.0, &HIGH[self.0.len()..])
    }

    /// `YYYY[-MM[-DD]]` as FHIR and people write dates.
    pub fn iso_date(&self) -> String {
        let digits = self.date();
        let mut text = digits[..4].to_owned();
        for range in [4..6, 6..8] {
            if let Some(part) = digits.get(range) {
                text.push('-');
                text.push_str(part);
            }
        }
        text
    }

    fn from_iso(text: &str) -> Result<Self, NotADate> {
        if let (true, Some(instant)) = (text.contains('T'), Timestamp::from_rfc3339(text)) {
            return Ok(Self(instant.to_dtm().into()));
        }
        let date = text.split(['T', 'Z', '+']).next().unwrap_or_default();
        let digits: String = date.split('-').collect();
        Self::build(&digits, "")
    }

    fn build(digits: &str, zone: &str) -> Result<Self, NotADate> {
        if !matches!(digits.len(), 4 | 6 | 8 | 10 | 12 | 14) || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(NotADate);
        }
        let part = |from: usize, default: i8| match digits.get(from..from + 2) {
            Some(two) => two.parse::<i8>().unwrap_or(-1),
            None => default,
        };
        let year: i16 = digits[..4].parse().map_err(|_| NotADate)?;
        let civil = DateTime::new(year, part(4, 1), part(6, 1), part(8, 0), part(10, 0), part(12, 0).min(59), 0)
            .map_err(|_| NotADate)?;
        let offset = zone_minutes(zone)?;
        if digits.len() < 12 || offset == 0 {
            return Ok(Self(digits.into()));
        }
        let utc = civil.checked_sub(jiff::Span::new().minutes(offset)).map_err(|_| NotADate)?;
        Ok(Self(utc.strftime("%Y%m%d%H%M%S").to_string()[..digits.len()].into()))
    }
}

/// `+0530` as minutes east of UTC.
fn zone_minutes(zone: &str) -> Result<i64, NotADate> {
    let (sign, digits) = match zone.as_bytes().first() {
        None => return Ok(0),
        Some(b'Z') => return if zone.len() == 1 { Ok(0) } else { Err(NotADate) },
        Some(b'-') => (-1, &zone[1..]),
        Some(_) => (1, &zone[1..]),
    };
    let digits = digits.replace(':', "");
    if digits.len() != 4 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(NotADate);
    }
    let (hours, minutes): (i64, i64) =
        (digits[..2].parse().map_err(|_| NotADate)?, digits[2..].parse().map_err(|_| NotADate)?);
    if hours > 14 || minutes > 59 { Err(NotADate) } else { Ok(sign * (hours * 60 + minutes)) }
}

impl FromStr for Dtm {
    type Err = NotADate;

    fn from_str(text: &str) -> Result<Self, NotADate> {
        Self::build(text, "")
    }
}

impl TryFrom<SmolStr> for Dtm {
    type Error = NotADate;

    fn try_from(text: SmolStr) -> Result<Self, NotADate> {
        text.parse()
    }
}

impl From<Dtm> for SmolStr {
    fn from(dtm: Dtm) -> Self {
        dtm.0
    }
}

impl fmt::Debug for Dtm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A date of birth is patient data, and a date alone does not say whether it is one.
        f.write_str("Dtm(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_dates_that_partners_send() {
        for (text, digits) in [
            ("1984", "1984"),
            ("198401", "198401"),
            ("19840125", "19840125"),
            ("1981-01-01", "19810101"),
            ("1981-01", "198101"),
            ("2026-11-22T10:03:03.653Z", "20261122100303"),
            ("2026-11-22T10:03:03+02:00", "20261122080303"),
            ("20081120151159+0900", "20081120061159"),
            ("20081120151159.1234", "20081120151159"),
            ("202601010000-0500", "202601010500"),
            ("19840125+0900", "19840125"),
            ("20260115143000Z", "20260115143000"),
        ] {
            assert_eq!(Dtm::lenient(text).unwrap().as_str(), digits, "{text:?}");
        }
    }

    #[test]
    fn refuses_what_is_not_a_date() {
        for text in ["", "19", "198413", "19840230", "1984012", "abcd", "19840101250000", "$dob$", "20260115143000+99"]
        {
            assert_eq!(Dtm::lenient(text), Err(NotADate), "{text:?}");
        }
    }

    #[test]
    fn partial_dates_cover_their_whole_span() {
        let year: Dtm = "2026".parse().unwrap();
        assert_eq!((year.earliest(), year.latest()), ("20260101000000".into(), "20261231235959".into()));
        let minute: Dtm = "202601151430".parse().unwrap();
        assert_eq!((minute.earliest(), minute.latest()), ("20260115143000".into(), "20260115143059".into()));
    }

    #[test]
    fn instants_are_written_as_each_wire_wants_them() {
        let instant = Timestamp::from_rfc3339("2026-11-22T10:00:00.5-05:00").unwrap();
        assert_eq!(instant.to_rfc3339(), "2026-11-22T15:00:00.500Z");
        assert_eq!(instant.to_hl7(), "20261122150000+0000");
        assert_eq!(instant.to_dtm(), "20261122150000");
        assert_eq!(Timestamp::from_rfc3339("2026-11-22T15:00:00.500"), Some(instant));
        for text in ["yesterday", "-002027-11-10", "-002027-11-10T00:00:00Z", "0000-12-31T23:59:59Z"] {
            assert_eq!(Timestamp::from_rfc3339(text), None, "{text:?}");
        }
        let first = Timestamp::from_rfc3339("0001-01-01T00:00:00Z").unwrap();
        assert_eq!(Timestamp::from_rfc3339(&first.to_rfc3339()), Some(first));
    }

    #[test]
    fn a_fixed_clock_moves_only_when_told() {
        let clock = Clock::fixed(Timestamp::from_millis(1_000));
        let twin = clock.clone();
        clock.advance(Duration::from_secs(2));
        assert_eq!(twin.now(), Timestamp::from_millis(3_000));
    }
}
