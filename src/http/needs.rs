//! What a request needs of its caller. `src/http/routes.rs` states it for each method of each route.

use actix_web::HttpRequest;
use actix_web::http::{Method, header};

use crate::domain::api_key::Scope;
use crate::domain::api_key::caller::{Caller, CallerKind};

use super::problem::{Code, Problem};

/// What a request needs of its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// No key: routes outside of the API.
    Nothing,
    /// The scope `read`, or a publishable key: data without customers.
    Read,
    /// The scope `sell`, a publishable key with the secret of the hold, or a customer's token.
    OwnHold,
    /// The scope `sell`, or a customer's token: data of this customer.
    OwnClaims,
    /// The scope `sell`: data and actions of any customer.
    Sell,
    /// The scope `admin`.
    Admin,
}

impl Needs {
    /// The scope that a secret key must have.
    #[must_use]
    pub fn scope(self) -> Option<Scope> {
        match self {
            Self::Nothing => None,
            Self::Read => Some(Scope::Read),
            Self::OwnHold | Self::OwnClaims | Self::Sell => Some(Scope::Sell),
            Self::Admin => Some(Scope::Admin),
        }
    }

    /// Whether publishable keys may send the request. For an existing hold they need its secret, too
    /// (`ApiRequest::own_hold`).
    #[must_use]
    pub fn allows_publishable(self) -> bool {
        matches!(self, Self::Nothing | Self::Read | Self::OwnHold)
    }

    /// Whether customers may send the request, each for claims of their own.
    #[must_use]
    pub fn allows_customer(self) -> bool {
        self.allows_publishable() || self == Self::OwnClaims
    }

    /// Refuses a caller without the scope; the problem names the scope.
    pub(super) fn check(self, caller: &Caller) -> Result<(), Problem> {
        let Some(scope) = self.scope() else { return Ok(()) };
        let is_allowed = (caller.is_publishable() && self.allows_publishable())
            || (caller.customer.is_some() && self.allows_customer());
        if is_allowed || caller.has(scope) {
            return Ok(());
        }
        let (scope, name) = (scope.as_ref(), &caller.name);
        let has = match caller.kind {
            CallerKind::Publishable => {
                format!("the key `{name}` is publishable, and a page must not do this")
            }
            CallerKind::Customer => "a customer's token does not allow this".to_owned(),
            _ => format!("the key `{name}` has only {}", caller.scopes.names()),
        };
        let detail = format!("this request needs a secret key with the scope {scope}; {has}");
        let challenge = format!("Bearer error=\"insufficient_scope\", scope=\"{scope}\"");
        let supported = Some(Box::new((header::WWW_AUTHENTICATE, challenge)));
        Err(Problem { supported, ..Problem::new(Code::InsufficientScope, detail) })
    }
}

/// What one method of a resource needs.
#[derive(Debug, Clone, Copy)]
pub(super) struct MethodAccess {
    /// The methods, as `Allow` lists them.
    pub(super) methods: &'static str,
    pub(super) needs: Needs,
    /// Whether a publishable key may be in the query, since the client cannot send headers.
    pub(super) key_in_query: bool,
}

/// What the methods of a resource need; part of its application data.
#[derive(Debug, Clone)]
pub(super) struct Access(pub(super) Vec<MethodAccess>);

impl Access {
    /// What the request needs. `None` if the route does not state it, which is a fault of this program.
    pub(super) fn of(request: &HttpRequest) -> Option<MethodAccess> {
        let Self(rows) = request.app_data::<Self>()?;
        rows.iter().find(|row| row.is_for(request.method())).copied()
    }
}

impl MethodAccess {
    fn is_for(&self, method: &Method) -> bool {
        self.methods.split(", ").any(|name| name == method.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::api_key::Scopes;
    use crate::domain::ids::CustomerId;

    const ALL: [Needs; 6] =
        [Needs::Nothing, Needs::Read, Needs::OwnHold, Needs::OwnClaims, Needs::Sell, Needs::Admin];

    fn caller(kind: CallerKind, scopes: &[Scope]) -> Caller {
        let scopes = Scopes::of(scopes.iter().copied());
        Caller { kind, scopes, name: "shop".to_owned(), ..Caller::open() }
    }

    fn allowed(caller: &Caller) -> Vec<Needs> {
        ALL.into_iter().filter(|needs| needs.check(caller).is_ok()).collect()
    }

    #[test]
    fn a_scope_allows_what_it_includes_and_no_more() {
        let secret = |scope| caller(CallerKind::Secret, &[scope]);
        assert_eq!(allowed(&Caller::open()), ALL);
        assert_eq!(allowed(&secret(Scope::Admin)), ALL);
        assert_eq!(allowed(&secret(Scope::Sell)), ALL[..5]);
        assert_eq!(allowed(&secret(Scope::Read)), ALL[..2]);
        assert_eq!(allowed(&caller(CallerKind::Secret, &[])), ALL[..1]);
        assert_eq!(allowed(&caller(CallerKind::Publishable, &[])), ALL[..3]);
        let ada = Caller::of_customer(CustomerId::parse("ada").unwrap(), Vec::new());
        assert_eq!(allowed(&ada), ALL[..4]);
    }

    #[test]
    fn a_refusal_names_the_scope_and_the_key() {
        let refused = Needs::Admin.check(&caller(CallerKind::Secret, &[Scope::Sell])).unwrap_err();
        assert_eq!(
            refused.detail,
            "this request needs a secret key with the scope admin; the key `shop` has only read sell"
        );
        let (name, challenge) = *refused.supported.unwrap();
        assert_eq!(name, header::WWW_AUTHENTICATE);
        assert_eq!(challenge, "Bearer error=\"insufficient_scope\", scope=\"admin\"");
    }
}
