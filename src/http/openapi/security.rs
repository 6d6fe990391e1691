//! What each operation needs of its caller, in the OpenAPI document. It comes from the table of routes.

use utoipa::Modify;
use utoipa::openapi::OpenApi;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};

use crate::http::routes::{self, RouteRow};

/// A key as a bearer token.
const BEARER: &str = "api_key";

/// A customer's token.
const TOKEN: &str = "customer_token";

/// A publishable key in the query of a stream.
const QUERY: &str = "publishable_key";

pub(super) struct Security;

impl Modify for Security {
    fn modify(&self, document: &mut OpenApi) {
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer);
        let about =
            "`ADMIN_API_KEY`, or a key of the database; without `ADMIN_API_KEY` none is needed.";
        let bearer = bearer.description(Some(about)).build();
        let token = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT");
        let about = "A token of the shop's identity provider, if the service has one: its subject is the customer.";
        let token = token.description(Some(about)).build();
        let query = ApiKeyValue::with_description("key", "a publishable key; for `EventSource`");
        let components = document.components.get_or_insert_default();
        components.add_security_scheme(BEARER, SecurityScheme::Http(bearer));
        components.add_security_scheme(TOKEN, SecurityScheme::Http(token));
        components.add_security_scheme(QUERY, SecurityScheme::ApiKey(ApiKey::Query(query)));
        for row in routes::table() {
            let item = document.paths.paths.get_mut(&row.path);
            if let Some(operation) = item.and_then(|item| operation_mut(item, row.method)) {
                describe(operation, &row);
            }
        }
    }
}

fn operation_mut<'a>(item: &'a mut PathItem, method: &str) -> Option<&'a mut Operation> {
    let operation = match method {
        "GET" => &mut item.get,
        "POST" => &mut item.post,
        "PUT" => &mut item.put,
        "DELETE" => &mut item.delete,
        "PATCH" => &mut item.patch,
        _ => return None,
    };
    operation.as_mut()
}

fn describe(operation: &mut Operation, row: &RouteRow) {
    if row.needs.scope().is_none() {
        operation.security = Some(Vec::new());
        return;
    }
    let none = Vec::<String>::new;
    let mut security = vec![SecurityRequirement::new(BEARER, none())];
    if row.needs.allows_customer() {
        security.push(SecurityRequirement::new(TOKEN, none()));
    }
    if row.key_in_query && row.needs.allows_publishable() {
        security.push(SecurityRequirement::new(QUERY, none()));
    }
    operation.security = Some(security);
}
