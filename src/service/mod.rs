//! The use cases, a file per resource. An HTTP handler calls one of them, and no lower layer.

/// Declares methods that call the store method of the same name.
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
