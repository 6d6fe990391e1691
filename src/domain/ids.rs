//! Identifiers: numbers for what the admin API creates, schedule-scoped UUIDv7s for what customers create.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

use super::clock::EpochMs;
use super::name::{self, NameFault};

/// An event (a show). Decimal in JSON, `bigint` in the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventId(pub i64);

/// A schedule: one performance of an event. Decimal in JSON, `bigint` in the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ScheduleId(pub i64);

/// An API key. Decimal in JSON, `bigint` in the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId(pub i64);

/// A seat's index in the plan of its schedule, from 0; identifies it in maps and streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SeatNumber(pub u32);

/// The error for a text that is not such an identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a valid identifier")]
pub struct InvalidId;

/// The form of the id of an event or a schedule: a positive number of at most 18 digits.
pub const NUMBER_ID_PATTERN: &str = "^[1-9][0-9]{0,17}$";

/// The greatest number of an id.
pub const NUMBER_ID_MAX: i64 = 999_999_999_999_999_999;

/// The form of the id of a hold, a booking, a block or a queued request: its schedule and its uuid.
pub const SCOPED_ID_PATTERN: &str = "^[1-9][0-9]{0,17}-[0-9a-f]{32}$";

macro_rules! number_id {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            /// Parses the form of [`NUMBER_ID_PATTERN`] and no other.
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                let number: i64 = text.parse().map_err(|_| InvalidId)?;
                let is_id = (1..=NUMBER_ID_MAX).contains(&number) && number.to_string() == text;
                is_id.then_some(Self(number)).ok_or(InvalidId)
            }
        }
    };
}

number_id!(EventId);
number_id!(ScheduleId);
number_id!(KeyId);

impl ScheduleId {
    /// The column value of what belongs to no schedule, or to several. Ids begin at 1.
    pub(crate) const NONE: Self = Self(0);
}

macro_rules! scoped_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name {
            /// The schedule it belongs to, which decides the lane without a look-up.
            pub schedule: ScheduleId,
            /// Unique on its own; version 7, so ids sort by creation (RFC 9562 §5.7).
            pub uuid: Uuid,
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}-{}", self.schedule, self.uuid.simple())
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            /// Parses the form of [`SCOPED_ID_PATTERN`], which `Display` writes, and no other.
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                let (schedule, uuid) = text.split_once('-').ok_or(InvalidId)?;
                let id = Self {
                    schedule: schedule.parse()?,
                    uuid: Uuid::try_parse(uuid).map_err(|_| InvalidId)?,
                };
                (id.to_string() == text).then_some(id).ok_or(InvalidId)
            }
        }
    };
}

scoped_id! {
    /// A customer's temporary claim: `42-0198f0c2…`.
    HoldId
}
scoped_id! {
    /// A durable sale.
    BookingId
}
scoped_id! {
    /// House seats taken out of sale.
    BlockId
}
scoped_id! {
    /// A request of the admission queue.
    RequestId
}

impl RequestId {
    /// When the request was accepted, read from its version 7 uuid; zero for another version.
    #[must_use]
    pub fn made_at(self) -> EpochMs {
        let ms = self.uuid.get_timestamp().map(|time| {
            let (seconds, nanos) = time.to_unix();
            seconds.saturating_mul(1_000).saturating_add(u64::from(nanos / 1_000_000))
        });
        EpochMs(ms.and_then(|ms| i64::try_from(ms).ok()).unwrap_or(0))
    }
}

/// A customer, by the shop's own id: 1 to 128 characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CustomerId(String);

/// The most characters a customer id may have.
pub const CUSTOMER_ID_MAX: usize = 128;

impl CustomerId {
    /// The id of a customer in a new claim.
    ///
    /// # Errors
    /// The fault, by the rule of [`name::check_id`].
    pub fn new(text: impl Into<String>) -> Result<Self, NameFault> {
        let text = text.into();
        name::check_id(&text, CUSTOMER_ID_MAX).map(|()| Self(text))
    }

    /// The id of a customer that may have been stored before the present rule: for reads.
    ///
    /// # Errors
    /// If no such id was ever stored.
    pub fn parse(text: impl Into<String>) -> Result<Self, InvalidId> {
        let text = text.into();
        let stored = name::check_stored(&text, CUSTOMER_ID_MAX);
        stored.map(|()| Self(text)).map_err(|_| InvalidId)
    }

    /// The text as the shop wrote it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for CustomerId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        Self::parse(text)
    }
}

/// The beginning of the name of a browser session.
const SESSION: &str = "browser-session-";

impl CustomerId {
    /// A browser session: the customer of a hold until a shop confirms the hold for a customer of its own.
    #[must_use]
    pub fn session(id: Uuid) -> Self {
        Self(format!("{SESSION}{}", id.simple()))
    }

    /// Whether this is a browser session.
    #[must_use]
    pub fn is_session(&self) -> bool {
        let id = self.0.strip_prefix(SESSION);
        id.is_some_and(|id| id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()))
    }
}

/// The random name of a history of the database, eight letters or digits. Each new database, failover and restore
/// begins a history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HistoryId([u8; 8]);

impl HistoryId {
    /// A history for tests.
    #[cfg(test)]
    pub(crate) const TEST: Self = Self(*b"5ea71ock");
}

impl fmt::Display for HistoryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|letter| write!(f, "{}", char::from(*letter)))
    }
}

impl FromStr for HistoryId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let letters = <[u8; 8]>::try_from(text.as_bytes()).map_err(|_| InvalidId)?;
        letters.iter().all(u8::is_ascii_alphanumeric).then_some(Self(letters)).ok_or(InvalidId)
    }
}

/// A version, or an item of a list, in one history. In another history it has another meaning or none. Its text form
/// is `5ea71ock.17`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InHistory<T> {
    /// The history.
    pub history: HistoryId,
    /// The version or item.
    pub at: T,
}

impl<T: fmt::Display> fmt::Display for InHistory<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.history, self.at)
    }
}

impl<T: FromStr> FromStr for InHistory<T> {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let (history, at) = text.split_once('.').ok_or(InvalidId)?;
        Ok(Self { history: history.parse()?, at: at.parse().map_err(|_| InvalidId)? })
    }
}

/// A batch of the booking engine. All runs of a batch have the same id, and a lost COMMIT is resolved by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BatchId(pub Uuid);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::string::string_regex;

    use super::*;

    proptest! {
        #[test]
        fn no_text_makes_the_parsers_panic(text in "[0-9+-]{0,20}-?[0-9a-fA-F-]{0,40}|.{0,40}") {
            if let Ok(id) = text.parse::<ScheduleId>() {
                prop_assert_eq!(id.to_string(), text.as_str());
            }
            if let Ok(id) = text.parse::<HoldId>() {
                prop_assert_eq!(id.to_string(), text.as_str());
            }
            if let Ok(customer) = text.parse::<CustomerId>() {
                prop_assert_eq!(customer.as_str(), text.as_str());
            }
        }

        #[test]
        fn a_text_of_the_form_of_an_id_is_one(
            number in string_regex(NUMBER_ID_PATTERN.trim_matches(['^', '$'])).unwrap(),
            scoped in string_regex(SCOPED_ID_PATTERN.trim_matches(['^', '$'])).unwrap(),
        ) {
            prop_assert!(number.parse::<EventId>().is_ok());
            prop_assert!(scoped.parse::<HoldId>().is_ok());
        }

        #[test]
        fn an_id_is_read_as_it_was_written(schedule in 1..=NUMBER_ID_MAX, uuid in any::<u128>()) {
            let schedule = ScheduleId(schedule);
            prop_assert_eq!(schedule.to_string().parse(), Ok(schedule));
            let booking = BookingId { schedule, uuid: Uuid::from_u128(uuid) };
            prop_assert_eq!(booking.to_string().parse(), Ok(booking));
            // Every uuid has a time, or zero.
            let request = RequestId { schedule, uuid: booking.uuid };
            prop_assert!(request.made_at().0 >= 0);
        }
    }

    #[test]
    fn an_id_has_one_spelling() {
        assert_eq!("42".parse(), Ok(ScheduleId(42)));
        for wrong in ["", "0", "-1", "+1", "042", " 1", "1x", "1000000000000000000"] {
            assert_eq!(wrong.parse::<ScheduleId>(), Err(InvalidId), "{wrong:?}");
        }
    }

    #[test]
    fn a_scoped_id_carries_its_schedule() {
        let id = HoldId { schedule: ScheduleId(7), uuid: Uuid::from_u128(5) };
        assert_eq!(id.to_string(), "7-00000000000000000000000000000005");
        assert_eq!(id.to_string().parse(), Ok(id));
        for wrong in ["7", "7-", "-5", "7-5", "7-0000000000000000000000000000000G"] {
            assert_eq!(wrong.parse::<HoldId>(), Err(InvalidId), "{wrong:?}");
        }
        assert_eq!("7-ABCDEF00000000000000000000000005".parse::<HoldId>(), Err(InvalidId));
    }

    #[test]
    fn a_position_in_a_history_is_read_as_it_is_written() {
        let position = InHistory { history: HistoryId::TEST, at: ScheduleId(17) };
        assert_eq!(position.to_string(), "5ea71ock.17");
        assert_eq!(position.to_string().parse(), Ok(position));
        for wrong in
            ["17", "5ea71ock", "5ea71ock.", ".17", "5ea71oc.17", "5ea71oc-.17", "5ea71ock.x"]
        {
            assert_eq!(wrong.parse::<InHistory<ScheduleId>>(), Err(InvalidId), "{wrong:?}");
        }
    }

    #[test]
    fn a_customer_id_is_short_and_printable() {
        assert!(CustomerId::parse("käufer 😀").is_ok());
        assert!(CustomerId::parse("x".repeat(128)).is_ok());
        for wrong in [String::new(), "x".repeat(129), "a\0b".into(), "a\nb".into()] {
            assert_eq!(CustomerId::parse(wrong), Err(InvalidId));
        }
    }

    #[test]
    fn a_browser_session_is_recognized_by_its_whole_name() {
        assert!(CustomerId::session(Uuid::from_u128(7)).is_session());
        for other in
            ["ada", "browser-session-", "browser-session-7", &format!("{SESSION}{:0>33}", 1)]
        {
            assert!(!CustomerId::parse(other).unwrap().is_session(), "{other}");
        }
    }

    #[test]
    fn a_customer_whose_name_looks_like_another_is_found_but_not_entered() {
        for odd in [" ada", "ada ", "a\u{200B}da", "ａda", "Zoe\u{308}", "ada\u{A0}"] {
            assert!(CustomerId::parse(odd).is_ok());
            assert!(CustomerId::new(odd).is_err(), "{odd:?}");
        }
        assert!(CustomerId::new("Zoë").is_ok());
    }
}
