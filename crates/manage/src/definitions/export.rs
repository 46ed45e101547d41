//! Everything there is, as a document.

use serde_json::{Map, Value, json};
use ternmq_broker::inspect::{BindingEnd, BindingSnapshot, ExchangeSnapshot, QueueSnapshot};
use ternmq_core::access::PolicyScope;
use ternmq_core::policy::AT_MOST_ONCE_MAX;
use ternmq_core::routing::key::KeySyntax;

use crate::Manage;
use crate::resources::bindings;
use crate::resources::limits::{self, Limits};
use crate::resources::parameters::{self, OPERATOR_POLICY, ParameterRow};
use crate::resources::permissions::{PermissionRow, TopicRow};
use crate::resources::policies::{self, PolicyRow};
use crate::resources::users::UserRow;
use crate::resources::vhosts::Metadata;
use crate::table::TableRef;

/// What stands at the head of every document.
fn head(manage: &Manage) -> Map<String, Value> {
    let announced = manage.broker.announced();
    let head = json!({
        "rabbit_version": announced.version,
        "rabbitmq_version": announced.version,
        "product_name": announced.product,
        "product_version": announced.version,
    });
    match head {
        Value::Object(head) => head,
        _ => Map::new(),
    }
}

/// All of it.
pub(super) fn all(manage: &Manage) -> Value {
    let admin = manage.broker.admin();
    let mut document = head(manage);
    let mut put = |name: &str, value: Value| document.insert(name.to_owned(), value);
    put("rabbitmq_definition_format", "cluster".into());
    put(
        "original_cluster_name",
        parameters::cluster_name(manage).into(),
    );
    put(
        "explanation",
        format!(
            "Definitions of cluster '{}'",
            parameters::cluster_name(manage)
        )
        .into(),
    );
    put("users", values(admin.users().into_iter().map(UserRow::of)));
    let vhosts = admin.vhosts().into_iter().map(|info| {
        json!({
            "name": info.name,
            "description": info.spec.description,
            "tags": info.spec.tags,
            "default_queue_type": info.spec.default_queue_type.as_deref().unwrap_or("classic"),
            "tracing": info.spec.tracing,
            "protected_from_deletion": info.spec.protected,
            "metadata": Metadata::of(&info.spec),
            "limits": [],
        })
    });
    put("vhosts", vhosts.collect());
    put(
        "permissions",
        values(admin.permissions().into_iter().map(PermissionRow::of)),
    );
    put(
        "topic_permissions",
        values(admin.topic_permissions().into_iter().map(TopicRow::of)),
    );
    put(
        "global_parameters",
        values(parameters::globals(manage).into_iter()),
    );
    for (name, items) in Objects::of(manage, None).sections(Form::WithVhosts) {
        put(name, items);
    }
    Value::Object(document)
}

/// What is in one vhost, so that it can be imported into another.
pub(super) fn vhost(manage: &Manage, vhost: &str) -> Option<Value> {
    let admin = manage.broker.admin();
    let info = admin.vhost(vhost)?;
    let limits = admin
        .vhost_limits()
        .into_iter()
        .find(|limits| *limits.name == *vhost);
    let limits = limits
        .map(|info| Limits::of_vhost(&info.limits))
        .unwrap_or_default();
    let mut document = head(manage);
    let mut put = |name: &str, value: Value| document.insert(name.to_owned(), value);
    put("rabbitmq_definition_format", "single_virtual_host".into());
    put("original_vhost_name", vhost.into());
    put(
        "explanation",
        format!("Definitions of virtual host '{vhost}'").into(),
    );
    put("metadata", json!(Metadata::of(&info.spec)));
    put("description", json!(info.spec.description));
    put(
        "default_queue_type",
        json!(info.spec.default_queue_type.as_deref().unwrap_or("classic")),
    );
    put("limits", json!(limits));
    for (name, items) in Objects::of(manage, Some(vhost)).sections(Form::WithoutVhosts) {
        put(name, items);
    }
    Some(Value::Object(document))
}

/// Whether objects say in which vhost they are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Form {
    WithVhosts,
    WithoutVhosts,
}

/// What is in vhosts.
struct Objects {
    parameters: Vec<Value>,
    policies: Vec<Value>,
    queues: Vec<Value>,
    exchanges: Vec<Value>,
    bindings: Vec<Value>,
}

impl Objects {
    fn of(manage: &Manage, vhost: Option<&str>) -> Self {
        let admin = manage.broker.admin();
        let inspect = manage.broker.inspect();
        let is_in = |name: &str| vhost.is_none_or(|vhost| vhost == name);
        let mut rows: Vec<ParameterRow> = admin
            .parameters()
            .into_iter()
            .map(ParameterRow::of)
            .collect();
        let operators = admin.policies(PolicyScope::Operator).into_iter();
        rows.extend(operators.map(|info| policies::as_parameter(info, OPERATOR_POLICY)));
        rows.extend(limits::as_parameters(admin));
        rows.retain(|row| is_in(&row.vhost));
        let user_policies = admin.policies(PolicyScope::User).into_iter();
        let user_policies = user_policies.filter(|info| is_in(&info.vhost));
        let mut queues = inspect.queues(vhost);
        queues.retain(is_lasting);
        queues.sort_by(|a, b| (a.vhost(), a.name()).cmp(&(b.vhost(), b.name())));
        let lasting = |vhost: &str, name: &str| {
            let found = queues.binary_search_by(|q| (q.vhost(), q.name()).cmp(&(vhost, name)));
            found.is_ok()
        };
        let bindings = inspect.bindings(vhost).into_iter().filter(|binding| {
            let leads = match &binding.destination {
                BindingEnd::Queue(name) => lasting(&binding.vhost, name),
                BindingEnd::Exchange(_) => true,
            };
            leads && !binding.source.is_empty() && binding.syntax == KeySyntax::Dotted
        });
        let exchanges = inspect.exchanges(vhost).into_iter().filter(is_declared);
        Self {
            parameters: rows.iter().map(|row| json!(row)).collect(),
            policies: user_policies
                .map(|info| json!(PolicyRow::of(info)))
                .collect(),
            exchanges: exchanges
                .map(|exchange| exchange_value(&exchange))
                .collect(),
            bindings: bindings.map(|binding| binding_value(&binding)).collect(),
            queues: queues.iter().map(queue_value).collect(),
        }
    }

    fn sections(self, form: Form) -> [(&'static str, Value); 5] {
        let sections = [
            ("parameters", self.parameters),
            ("policies", self.policies),
            ("queues", self.queues),
            ("exchanges", self.exchanges),
            ("bindings", self.bindings),
        ];
        sections.map(|(name, mut items)| {
            if form == Form::WithoutVhosts {
                for item in &mut items {
                    if let Value::Object(fields) = item {
                        fields.remove("vhost");
                    }
                }
            }
            (name, Value::Array(items))
        })
    }
}

/// Queues that go with their connection, and those that sessions keep, are made by whoever needs them.
fn is_lasting(queue: &QueueSnapshot) -> bool {
    let decl = queue.decl();
    decl.exclusive.is_none() && decl.arguments.get(AT_MOST_ONCE_MAX).is_none()
}

/// Predeclared ones are there anyway.
fn is_declared(exchange: &ExchangeSnapshot) -> bool {
    let name = &exchange.decl.name;
    !name.is_empty() && !name.starts_with("amq.")
}

fn queue_value(queue: &QueueSnapshot) -> Value {
    let decl = queue.decl();
    json!({
        "name": decl.name,
        "vhost": queue.vhost(),
        "type": queue.settings.kind.name(),
        "durable": decl.durable,
        "auto_delete": decl.auto_delete,
        "arguments": TableRef(&decl.arguments),
    })
}

fn exchange_value(exchange: &ExchangeSnapshot) -> Value {
    let decl = &exchange.decl;
    json!({
        "name": decl.name,
        "vhost": exchange.vhost,
        "type": decl.kind.name(),
        "durable": decl.durable,
        "auto_delete": decl.auto_delete,
        "internal": decl.internal,
        "arguments": TableRef(&decl.arguments),
    })
}

fn binding_value(binding: &BindingSnapshot) -> Value {
    let kind = match binding.destination {
        BindingEnd::Queue(_) => "queue",
        BindingEnd::Exchange(_) => "exchange",
    };
    json!({
        "source": binding.source,
        "vhost": binding.vhost,
        "destination": binding.destination.name(),
        "destination_type": kind,
        "routing_key": bindings::routing_key(binding),
        "arguments": TableRef(&binding.arguments),
    })
}

fn values<T: serde::Serialize>(items: impl Iterator<Item = T>) -> Value {
    items.map(|item| json!(item)).collect()
}
