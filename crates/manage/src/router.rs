//! Which path is answered by whom; and what holds for every path: the prefix, slashes at the end, browsers.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::uri::PathAndQuery;
use axum::http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use axum::response::IntoResponse as _;
use axum::routing::{delete, get, post, put};
use percent_encoding::percent_decode_str;
use tower::ServiceExt as _;

use crate::Manage;
use crate::fault::Fault;
use crate::machine::{Answering, From, Site};
use crate::resources as r;
use crate::resources::permissions::{PermissionRow, TopicRow};
use crate::{definitions, extra as x};

/// All of the API, as a function from requests to answers.
#[derive(Clone)]
pub struct Api {
    router: Router,
    manage: Arc<Manage>,
}

impl Api {
    /// The API of a node.
    pub fn new(manage: &Arc<Manage>) -> Self {
        let routes = [
            topology(),
            clients(),
            vhosts(),
            users(),
            node(),
            health(),
            absent(),
            extra(),
        ];
        let routes = routes.into_iter().fold(Router::new(), Router::merge);
        let router = Router::new()
            .nest("/api", routes)
            .fallback(async || Fault::not_found())
            .with_state(manage.clone());
        Self {
            router,
            manage: manage.clone(),
        }
    }

    /// Answers a request that comes from there.
    pub async fn answer(
        self,
        mut request: Request<Body>,
        from: IpAddr,
    ) -> Result<Response<Body>, Infallible> {
        let Self { router, manage } = self;
        request.extensions_mut().insert(From(from));
        let origin = request.headers().get(header::ORIGIN).cloned();
        let is_options = request.method() == Method::OPTIONS;
        if !is_well_encoded(request.uri()) {
            return Ok(Fault::bad_request("bad percent encoding in the address").into_response());
        }
        let Some(uri) = within(request.uri(), &manage.config.path_prefix) else {
            return Ok(Fault::not_found().into_response());
        };
        *request.uri_mut() = uri;
        let mut response = router.oneshot(request).await?;
        if response.status() == StatusCode::METHOD_NOT_ALLOWED {
            allow_options(response.headers_mut());
            if is_options {
                *response.status_mut() = StatusCode::OK;
            }
        }
        allow_origin(&mut response, origin.as_ref(), &manage.config, is_options);
        Ok(response)
    }
}

impl Site for Api {
    fn respond(&self, request: Request<Body>, from: IpAddr) -> Answering {
        Box::pin(self.clone().answer(request, from))
    }
}

/// Whether every `%` stands before two digits (RFC 3986 §2.1), and what the path says so is text: names are.
fn is_well_encoded(uri: &Uri) -> bool {
    let is_digit = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_hexdigit);
    let has_digits = |text: &str| {
        let mut parts = text.as_bytes().split(|byte| *byte == b'%').skip(1);
        parts.all(|part| is_digit(part.first()) && is_digit(part.get(1)))
    };
    has_digits(uri.path())
        && has_digits(uri.query().unwrap_or_default())
        && percent_decode_str(uri.path()).decode_utf8().is_ok()
}

/// Every path can be asked what is allowed on it.
fn allow_options(headers: &mut HeaderMap) {
    let others = headers.get(header::ALLOW);
    let others = others.and_then(|others| others.to_str().ok());
    let all = others.map_or_else(
        || "OPTIONS".to_owned(),
        |others| format!("{others},OPTIONS"),
    );
    if let Ok(all) = HeaderValue::try_from(all) {
        headers.insert(header::ALLOW, all);
    }
}

/// The address without the prefix, and without a slash at its end.
fn within(uri: &Uri, prefix: &str) -> Option<Uri> {
    let path = uri.path().strip_prefix(prefix.trim_end_matches('/'))?;
    let path = match path.strip_suffix('/') {
        Some(shorter) if !shorter.is_empty() => shorter,
        _ => path,
    };
    let query = uri
        .query()
        .map(|query| format!("?{query}"))
        .unwrap_or_default();
    let path = PathAndQuery::try_from(format!("{path}{query}")).ok()?;
    Some(Uri::from(path))
}

/// Lets pages of the configured origins read the answer.
fn allow_origin(
    response: &mut Response<Body>,
    origin: Option<&HeaderValue>,
    config: &crate::ManageConfig,
    is_options: bool,
) {
    let headers = response.headers_mut();
    headers.insert(header::VARY, HeaderValue::from_static("origin"));
    let Some(origin) = origin else { return };
    let allowed = |allowed: &String| allowed == "*" || allowed.as_bytes() == origin.as_bytes();
    if !config.cors_origins.iter().any(allowed) {
        return;
    }
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    let yes = HeaderValue::from_static("true");
    headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, yes);
    if is_options {
        let allow = headers.get(header::ALLOW).cloned();
        headers.extend(allow.map(|allow| (header::ACCESS_CONTROL_ALLOW_METHODS, allow)));
        let wanted = HeaderValue::from_static("authorization, content-type");
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, wanted);
        let age = HeaderValue::from(config.cors_max_age_s);
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, age);
    }
}

/// Exchanges, queues and what goes through them.
fn topology() -> Router<r::Shared> {
    Router::new()
        .route("/exchanges", get(r::exchanges::list))
        .route("/exchanges/{vhost}", get(r::exchanges::list_in_vhost))
        .route(
            "/exchanges/{vhost}/{name}",
            get(r::exchanges::get)
                .put(r::exchanges::put)
                .delete(r::exchanges::delete),
        )
        .route(
            "/exchanges/{vhost}/{name}/publish",
            post(r::publish::publish),
        )
        .route(
            "/exchanges/{vhost}/{name}/bindings/source",
            get(r::bindings::list_from_exchange),
        )
        .route(
            "/exchanges/{vhost}/{name}/bindings/destination",
            get(r::bindings::list_to_exchange),
        )
        .route("/queues", get(r::queues::list))
        .route("/queues/detailed", get(r::queues::list))
        .route(
            "/queues/quorum/{vhost}/{name}/status",
            get(r::queues::quorum_status),
        )
        .route("/queues/{vhost}", get(r::queues::list_in_vhost))
        .route(
            "/queues/{vhost}/{name}",
            get(r::queues::get)
                .put(r::queue_changes::put)
                .delete(r::queue_changes::delete),
        )
        .route(
            "/queues/{vhost}/{name}/bindings",
            get(r::bindings::list_to_queue),
        )
        .route(
            "/queues/{vhost}/{name}/contents",
            delete(r::queue_changes::purge),
        )
        .route(
            "/queues/{vhost}/{name}/actions",
            post(r::queue_changes::action),
        )
        .route("/queues/{vhost}/{name}/get", post(r::get::get))
        .route("/bindings", get(r::bindings::list))
        .route("/bindings/{vhost}", get(r::bindings::list_in_vhost))
        .route(
            "/bindings/{vhost}/e/{source}/{kind}/{destination}",
            get(r::bindings::list_between).post(r::bindings::post),
        )
        .route(
            "/bindings/{vhost}/e/{source}/{kind}/{destination}/{key}",
            get(r::bindings::get).delete(r::bindings::delete),
        )
}

/// Who is connected.
fn clients() -> Router<r::Shared> {
    Router::new()
        .route("/connections", get(r::connections::list))
        .route(
            "/connections/{name}",
            get(r::connections::get).delete(r::connections::close),
        )
        .route(
            "/connections/username/{user}",
            get(r::connections::list_of_user).delete(r::connections::close_of_user),
        )
        .route(
            "/connections/{name}/channels",
            get(r::channels::list_of_connection),
        )
        .route(
            "/connections/{name}/sessions",
            get(r::connections::sessions),
        )
        .route("/channels", get(r::channels::list))
        .route("/channels/{name}", get(r::channels::get))
        .route("/consumers", get(r::consumers::list))
        .route("/consumers/{vhost}", get(r::consumers::list_in_vhost))
}

/// Vhosts, and what may be set about them and in them.
fn vhosts() -> Router<r::Shared> {
    Router::new()
        .route("/vhosts", get(r::vhosts::list))
        .route(
            "/vhosts/{vhost}",
            get(r::vhosts::get)
                .put(r::vhosts::put)
                .delete(r::vhosts::delete),
        )
        .route(
            "/vhosts/{vhost}/permissions",
            get(r::permissions::list_of_vhost::<PermissionRow>),
        )
        .route(
            "/vhosts/{vhost}/topic-permissions",
            get(r::permissions::list_of_vhost::<TopicRow>),
        )
        .route(
            "/vhosts/{vhost}/connections",
            get(r::connections::list_in_vhost),
        )
        .route("/vhosts/{vhost}/channels", get(r::channels::list_in_vhost))
        .route("/vhosts/{vhost}/start/{node}", post(r::vhosts::start))
        .route(
            "/vhosts/{vhost}/deletion/protection",
            post(r::vhosts::protect).delete(r::vhosts::unprotect),
        )
        .route("/vhost-limits", get(r::limits::list_vhosts))
        .route("/vhost-limits/{vhost}", get(r::limits::list_vhost))
        .route(
            "/vhost-limits/{vhost}/{limit}",
            put(r::limits::put_vhost).delete(r::limits::delete_vhost),
        )
        .merge(policies())
        .route("/parameters", get(r::parameters::list))
        .route(
            "/parameters/{component}",
            get(r::parameters::list_component),
        )
        .route(
            "/parameters/{component}/{vhost}",
            get(r::parameters::list_component_in_vhost),
        )
        .route(
            "/parameters/{component}/{vhost}/{name}",
            get(r::parameters::get)
                .put(r::parameters::put)
                .delete(r::parameters::delete),
        )
}

fn policies() -> Router<r::Shared> {
    use r::policies::{OfOperators, OfUsers};
    Router::new()
        .merge(policies_at::<OfUsers>("/policies"))
        .merge(policies_at::<OfOperators>("/operator-policies"))
}

fn policies_at<S: r::policies::Scope>(path: &str) -> Router<r::Shared> {
    use r::policies::{delete, get as one, list, list_in_vhost, put};
    Router::new()
        .route(path, get(list::<S>))
        .route(&format!("{path}/{{vhost}}"), get(list_in_vhost::<S>))
        .route(
            &format!("{path}/{{vhost}}/{{name}}"),
            get(one::<S>).put(put::<S>).delete(delete::<S>),
        )
}

/// Users, and what they may do.
fn users() -> Router<r::Shared> {
    Router::new()
        .route("/users", get(r::users::list))
        .route(
            "/users/without-permissions",
            get(r::users::without_permissions),
        )
        .route("/users/bulk-delete", post(r::users::bulk_delete))
        .route(
            "/users/{user}",
            get(r::users::get)
                .put(r::users::put)
                .delete(r::users::delete),
        )
        .route(
            "/users/{user}/permissions",
            get(r::permissions::list_of_user::<PermissionRow>),
        )
        .route(
            "/users/{user}/topic-permissions",
            get(r::permissions::list_of_user::<TopicRow>),
        )
        .route("/user-limits", get(r::limits::list_users))
        .route("/user-limits/{user}", get(r::limits::list_user))
        .route(
            "/user-limits/{user}/{limit}",
            put(r::limits::put_user).delete(r::limits::delete_user),
        )
        .route("/permissions", get(r::permissions::list::<PermissionRow>))
        .route(
            "/permissions/{vhost}/{user}",
            get(r::permissions::get)
                .put(r::permissions::put)
                .delete(r::permissions::delete),
        )
        .route("/topic-permissions", get(r::permissions::list::<TopicRow>))
        .route(
            "/topic-permissions/{vhost}/{user}",
            get(r::permissions::get_topic)
                .put(r::permissions::put_topic)
                .delete(r::permissions::delete_topic),
        )
        .route(
            "/topic-permissions/{vhost}/{user}/{exchange}",
            get(r::permissions::get_topic_of_exchange)
                .delete(r::permissions::delete_topic_of_exchange),
        )
}

/// The node, and who asks.
fn node() -> Router<r::Shared> {
    Router::new()
        .route("/whoami", get(r::whoami::whoami))
        .route("/auth", get(r::whoami::auth))
        .route("/login", post(r::whoami::login))
        .route("/version", get(r::whoami::version))
        .route("/extensions", get(r::whoami::extensions))
        .route("/overview", get(r::overview::get))
        .route("/nodes", get(r::nodes::list))
        .route("/nodes/{node}", get(r::nodes::get))
        .route("/nodes/{node}/memory", get(r::memory::get))
        .route(
            "/nodes/{node}/memory/relative",
            get(r::memory::get_relative),
        )
        .route(
            "/cluster-name",
            get(r::parameters::get_cluster_name).put(r::parameters::put_cluster_name),
        )
        .route("/global-parameters", get(r::parameters::list_global))
        .route(
            "/global-parameters/{name}",
            get(r::parameters::get_global)
                .put(r::parameters::put_global)
                .delete(r::parameters::delete_global),
        )
        .route(
            "/definitions",
            get(definitions::export).post(definitions::import),
        )
        .route(
            // The old name.
            "/all-configuration",
            get(definitions::export).post(definitions::import),
        )
        .route(
            "/definitions/{vhost}",
            get(definitions::export_vhost).post(definitions::import_vhost),
        )
        .route("/feature-flags", get(r::features::list))
        .route("/feature-flags/{name}/enable", put(r::features::enable))
        .route("/auth/attempts/{node}", get(r::features::auth_attempts))
        .route(
            "/auth/attempts/{node}/source",
            get(r::features::auth_attempts_by_source),
        )
        .route(
            "/auth/hash_password/{password}",
            get(r::features::hash_password),
        )
        .route("/reset", delete(r::features::reset))
        .route("/reset/{node}", delete(r::features::reset_node))
        .route("/rebalance/queues", post(r::features::rebalance))
}

fn health() -> Router<r::Shared> {
    Router::new()
        .route("/aliveness-test/{vhost}", get(r::health::aliveness))
        .route("/healthchecks/node", get(r::health::in_service))
        .route("/healthchecks/node/{node}", get(r::health::node))
        .route("/health/checks/alarms", get(r::health::alarms))
        .route("/health/checks/local-alarms", get(r::health::alarms))
        .route(
            "/health/checks/certificate-expiration/{within}/{unit}",
            get(r::health::certificate_expiration),
        )
        .route(
            "/health/checks/port-listener/{port}",
            get(r::health::port_listener),
        )
        .route(
            "/health/checks/protocol-listener/{protocols}",
            get(r::health::protocol_listener),
        )
        .route(
            "/health/checks/virtual-hosts",
            get(r::health::virtual_hosts),
        )
        .route(
            "/health/checks/node-is-mirror-sync-critical",
            get(r::health::alone),
        )
        .route(
            "/health/checks/node-is-quorum-critical",
            get(r::health::alone),
        )
        .route(
            "/health/checks/quorum-queues-without-elected-leaders/all-vhosts",
            get(r::health::leaders),
        )
        .route(
            "/health/checks/quorum-queues-without-elected-leaders/all-vhosts/pattern/{pattern}",
            get(r::health::leaders),
        )
        .route(
            "/health/checks/quorum-queues-without-elected-leaders/vhost/{vhost}",
            get(r::health::leaders_in_vhost),
        )
        .route(
            "/health/checks/quorum-queues-without-elected-leaders/vhost/{vhost}/pattern/{pattern}",
            get(r::health::leaders_in_vhost_matching),
        )
        .route("/health/checks/is-in-service", get(r::health::in_service))
        .route(
            "/health/checks/below-node-connection-limit",
            get(r::health::below_connection_limit),
        )
        .route(
            "/health/checks/ready-to-serve-clients",
            get(r::health::ready),
        )
        .route(
            "/health/checks/reached-target-cluster-size",
            get(r::health::in_service),
        )
        .route(
            "/health/checks/metadata-store/initialized",
            get(r::health::in_service),
        )
        .route(
            "/health/checks/metadata-store/initialized/with-data",
            get(r::health::in_service),
        )
}

/// What RabbitMQ does not have.
fn extra() -> Router<r::Shared> {
    Router::new()
        .route("/x/queues/{vhost}/{name}/messages", get(x::browse::ready))
        .route(
            "/x/queues/{vhost}/{name}/in-flight",
            get(x::browse::in_flight),
        )
        .route("/x/queues/{vhost}/{name}/pause", post(x::pause::pause))
        .route("/x/queues/{vhost}/{name}/resume", post(x::pause::resume))
        .route("/x/queues/{vhost}/{name}/redrive", post(x::redrive::start))
        .route("/x/mqtt/sessions/{vhost}", get(x::sessions::list))
        .route(
            "/x/mqtt/sessions/{vhost}/{client}",
            get(x::sessions::get).delete(x::sessions::end),
        )
        .route("/x/mqtt/shares/{vhost}", get(x::sessions::shares))
        .route("/x/tasks", get(x::redrive::list))
        .route(
            "/x/tasks/{id}",
            get(x::redrive::get).delete(x::redrive::stop),
        )
        .route("/x/delayed/{vhost}", get(x::delayed::list))
        .route("/x/delayed/{vhost}/{id}", delete(x::delayed::cancel))
        .route("/x/retained/{vhost}", get(x::retained::list))
        .route("/x/retained/{vhost}/{topic}", delete(x::retained::forget))
        .route(
            "/x/explain-route/{vhost}/{exchange}",
            post(x::explain::explain),
        )
}

/// What only RabbitMQ has, and tools list all the same.
fn absent() -> Router<r::Shared> {
    use r::features::{absent, none, none_in_vhost};
    let lists = [
        "/federation-links",
        "/federation-links/state/down",
        "/stream/connections",
        "/stream/publishers",
        "/stream/consumers",
        "/stream/super-streams",
        "/traces",
        "/trace-files",
    ];
    let in_vhosts = [
        "/federation-links/{vhost}",
        "/federation-links/{vhost}/state/down",
        "/stream/connections/{vhost}",
        "/stream/publishers/{vhost}",
        "/stream/consumers/{vhost}",
        "/traces/{vhost}",
    ];
    let mut router = Router::new()
        .route("/deprecated-features", get(r::deprecated::list))
        .route("/deprecated-features/used", get(r::deprecated::list_used))
        .route("/shovels", get(r::shovels::list))
        .route("/shovels/{vhost}", get(r::shovels::list_in_vhost))
        .route(
            "/shovels/vhost/{vhost}/{name}",
            get(r::shovels::get).delete(r::shovels::delete),
        )
        .route("/shovels/vhost/{vhost}/{name}/restart", delete(absent));
    for path in lists {
        router = router.route(path, get(none));
    }
    for path in in_vhosts {
        router = router.route(path, get(none_in_vhost));
    }
    router
}
