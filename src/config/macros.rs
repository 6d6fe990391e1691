//! The macro that declares variables: each once, as a field of its section.
//!
//! ```text
//! variables! {
//!     /// Settings of holds and batches.
//!     pub struct ReservationConfig {
//!         /// commands in one transaction
//!         batch_max: usize = BATCH_MAX.number(256, 1..=4_096),
//!     }
//! }
//! ```
//!
//! `BATCH_MAX` is the variable. Its doc comment is the help text, without a full stop. `number` is the method of
//! [`Reader`](super::reader::Reader) that reads it; its arguments are the default and the range. `seatlock config list`
//! and `docs/configuration.md` are generated from these declarations.

/// Declares a section: a struct with the method `read(reader)`; see the module.
macro_rules! variables {
    (
        $(#[$about:meta])*
        $visible:vis struct $name:ident {
            $(
                $(#[doc = $help:literal])+
                $field:ident: $type:ty =
                    $variable:ident.$read:ident($($argument:expr),* $(,)?)
                    $(.$then:ident($($fallback:expr)?))?
            ),+ $(,)?
        }
    ) => {
        $(#[$about])*
        #[derive(Debug, Clone)]
        $visible struct $name {
            $(
                #[doc = concat!("`", stringify!($variable), "`:", $($help),+, ".")]
                $visible $field: $type,
            )+
        }

        impl $name {
            /// Declares and reads the variables in the order of the fields.
            pub(super) fn read(reader: &mut $crate::config::reader::Reader<'_>) -> Self {
                Self {
                    $(
                        $field: reader.$read(
                            $crate::config::reader::Declaration {
                                name: stringify!($variable),
                                help: concat!($($help),+).trim(),
                            },
                            $($argument),*
                        )$(.$then($($fallback)?))?,
                    )+
                }
            }
        }
    };
}

pub(super) use variables;
