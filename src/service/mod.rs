//! The use cases, a file per resource. A handler of HTTP calls one of them and nothing below.

/// Declares methods that call the method of the same name of the store.
macro_rules! store_methods {
    ($($(#[$doc:meta])* fn $name:ident($($arg:ident: $type:ty),*) -> $output:ty;)+) => {
        $(
            $(#[$doc])*
            pub async fn $name(&self, $($arg: $type),*) -> Result<$output, StoreError> {
                self.store().$name($($arg),*).await
            }
        )+
    };
}

pub mod bookings;
pub mod catalogue;
pub mod queued_requests;
