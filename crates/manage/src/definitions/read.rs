//! From a document to a plan. Whatever cannot be understood is a problem; all problems are gathered.

use std::fmt;

use serde_json::{Map, Value};
use ternmq_broker::admin::{
    LimitInfo, ParameterInfo, PermissionInfo, PolicyInfo, TopicPermissionInfo,
};
use ternmq_broker::inspect::{BindingEnd, BindingSnapshot};
use ternmq_core::policy::without_effect;
use ternmq_core::routing::key::KeySyntax;
use ternmq_core::topology::{BindingOptions, ExchangeDecl, ExchangeKind, QueueDecl};
use ternmq_core::value::Value as Argument;

use super::Plan;
use crate::Manage;
use crate::fault::Fault;
use crate::request::Fields;
use crate::resources::{limits, parameters, permissions, policies, users, vhosts};
use crate::table;

/// Problems that a fault names; the rest is counted.
const PROBLEMS_SHOWN_MAX: usize = 20;

/// Everything that is wrong with a document.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Problems(pub(super) Vec<String>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = &self.0[..self.0.len().min(PROBLEMS_SHOWN_MAX)];
        f.write_str(&shown.join("; "))?;
        match self.0.len() - shown.len() {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}

/// Reads a document. `vhost` is where its objects go that do not say where they are.
pub(super) fn plan(
    manage: &Manage,
    document: &Map<String, Value>,
    vhost: Option<&str>,
) -> Result<Plan, Problems> {
    let mut reader = Reader {
        manage,
        vhost,
        plan: Plan::default(),
        problems: Problems::default(),
    };
    if vhost.is_none() {
        reader.section(document, "users", Reader::user);
        reader.section(document, "vhosts", Reader::vhost);
        reader.section(document, "permissions", Reader::permission);
        reader.section(document, "topic_permissions", Reader::topic_permission);
        reader.section(document, "global_parameters", Reader::global_parameter);
    } else {
        reader.limits_of_vhost(document);
    }
    reader.section(document, "parameters", Reader::parameter);
    reader.section(document, "policies", Reader::policy);
    reader.section(document, "queues", Reader::queue);
    reader.section(document, "exchanges", Reader::exchange);
    reader.section(document, "bindings", Reader::binding);
    if reader.problems.0.is_empty() {
        Ok(reader.plan)
    } else {
        Err(reader.problems)
    }
}

struct Reader<'a> {
    manage: &'a Manage,
    vhost: Option<&'a str>,
    plan: Plan,
    problems: Problems,
}

impl Reader<'_> {
    fn section(
        &mut self,
        document: &Map<String, Value>,
        name: &str,
        read: impl Fn(&mut Self, &Fields) -> Result<(), Fault>,
    ) {
        let items = match document.get(name) {
            None | Some(Value::Null) => return,
            Some(Value::Array(items)) => items,
            Some(_) => {
                self.problems.0.push(format!("{name} is no list"));
                return;
            }
        };
        for (index, item) in items.iter().enumerate() {
            let problem = match item {
                Value::Object(fields) => {
                    let fields = Fields(fields.clone());
                    read(self, &fields)
                        .err()
                        .map(|fault| (fault, shown_name(&fields)))
                }
                _ => Some((Fault::bad_request("not an object"), String::new())),
            };
            if let Some((fault, named)) = problem {
                let reason = fault.bare_reason();
                self.problems
                    .0
                    .push(format!("{name}[{index}]{named}: {reason}"));
            }
        }
    }

    /// Where an object is.
    fn place(&self, fields: &Fields) -> Result<Box<str>, Fault> {
        match self.vhost {
            Some(vhost) => Ok(vhost.into()),
            None => Ok(fields.text("vhost")?.into()),
        }
    }

    fn user(&mut self, fields: &Fields) -> Result<(), Fault> {
        let name: Box<str> = fields.text("name")?.into();
        self.plan.users.push((name.clone(), users::spec(fields)?));
        for (limit, value) in object(fields, "limits")? {
            let max = limits::user_max(limit, value)?;
            self.plan
                .user_limits
                .push((name.clone(), limits::user_limit(limit)?, max));
        }
        Ok(())
    }

    fn vhost(&mut self, fields: &Fields) -> Result<(), Fault> {
        let name = fields.text("name")?;
        let now = self.manage.broker.admin().vhost(name).map(|info| info.spec);
        let spec = vhosts::spec(fields, now.as_ref())?;
        self.plan.vhosts.push((name.into(), spec));
        Ok(())
    }

    fn permission(&mut self, fields: &Fields) -> Result<(), Fault> {
        self.plan.permissions.push(PermissionInfo {
            vhost: self.place(fields)?,
            user: fields.text("user")?.into(),
            permission: permissions::permission(fields)?,
        });
        Ok(())
    }

    fn topic_permission(&mut self, fields: &Fields) -> Result<(), Fault> {
        let (exchange, permission) = permissions::topic_permission(fields)?;
        self.plan.topic_permissions.push(TopicPermissionInfo {
            vhost: self.place(fields)?,
            user: fields.text("user")?.into(),
            exchange: exchange.into(),
            permission,
        });
        Ok(())
    }

    fn global_parameter(&mut self, fields: &Fields) -> Result<(), Fault> {
        let name = fields.text("name")?;
        let value = fields.required("value")?.to_string();
        self.plan
            .global_parameters
            .push((name.into(), value.into()));
        Ok(())
    }

    /// Limits and operators' policies are parameters here, and objects of their own elsewhere.
    fn parameter(&mut self, fields: &Fields) -> Result<(), Fault> {
        let vhost = self.place(fields)?;
        let (component, name) = (fields.text("component")?, fields.text("name")?);
        let value = fields.required("value")?;
        match component {
            limits::COMPONENT => {
                let Value::Object(limits) = value else {
                    return Err(Fault::bad_request("limits are no object"));
                };
                self.limits(&vhost, limits)?;
            }
            parameters::OPERATOR_POLICY => {
                let Value::Object(policy) = value else {
                    return Err(Fault::bad_request("the policy is no object"));
                };
                let policy = self.read_policy(&vhost, name, &Fields(policy.clone()))?;
                self.plan.operator_policies.push(policy);
            }
            _ => {
                parameters::check(component, name, value)?;
                self.plan.parameters.push(ParameterInfo {
                    component: component.into(),
                    vhost,
                    name: name.into(),
                    value: value.to_string().into(),
                });
            }
        }
        Ok(())
    }

    fn limits(&mut self, vhost: &str, limits: &Map<String, Value>) -> Result<(), Fault> {
        let limits = limits.iter();
        let limits = limits
            .map(|(name, value)| {
                Ok::<_, Fault>((limits::vhost_limit(name)?, limits::max(name, value)?))
            })
            .collect::<Result<_, _>>()?;
        self.plan.vhost_limits.push(LimitInfo {
            name: vhost.into(),
            limits,
        });
        Ok(())
    }

    fn limits_of_vhost(&mut self, document: &Map<String, Value>) {
        // Every document of one vhost has the field, also those of vhosts without limits.
        if let (Some(vhost), Some(Value::Object(limits))) = (self.vhost, document.get("limits"))
            && !limits.is_empty()
            && let Err(fault) = self.limits(vhost, limits)
        {
            self.problems
                .0
                .push(format!("limits: {}", fault.bare_reason()));
        }
    }

    fn policy(&mut self, fields: &Fields) -> Result<(), Fault> {
        let vhost = self.place(fields)?;
        let policy = self.read_policy(&vhost, fields.text("name")?, fields)?;
        self.plan.policies.push(policy);
        Ok(())
    }

    /// What mirrored queues of RabbitMQ 3 had is kept, as such a policy still stands before those of lower priority.
    fn read_policy(
        &mut self,
        vhost: &str,
        name: &str,
        fields: &Fields,
    ) -> Result<PolicyInfo, Fault> {
        let policy = policies::spec(fields)?;
        let idle: Vec<&str> = without_effect(&policy.definition).collect();
        if !idle.is_empty() {
            let idle = idle.join(", ");
            self.plan.warnings.push(format!(
                "policy '{name}' in vhost '{vhost}': without effect here: {idle}"
            ));
        }
        Ok(info(vhost, name, policy))
    }

    fn queue(&mut self, fields: &Fields) -> Result<(), Fault> {
        let mut arguments = table::from_json(fields.get("arguments"))?;
        let vhost = self.place(fields)?;
        if let Some(kind) = fields.optional_text("type")?
            && arguments.get("x-queue-type").is_none()
            && kind != &*self.default_queue_type(&vhost)
        {
            arguments.push("x-queue-type", Argument::text(kind));
        }
        let decl = QueueDecl {
            name: fields.text("name")?.into(),
            durable: fields.flag("durable")?,
            exclusive: None,
            auto_delete: fields.flag("auto_delete")?,
            arguments,
        };
        self.plan.queues.push((vhost, decl));
        Ok(())
    }

    /// What a queue of that vhost will be that does not say of which type it is.
    fn default_queue_type(&self, vhost: &str) -> Box<str> {
        let mut planned = self.plan.vhosts.iter().rev();
        let planned = planned.find(|(name, _)| **name == *vhost);
        let spec = planned.map(|(_, spec)| spec.clone());
        let there = || {
            self.manage
                .broker
                .admin()
                .vhost(vhost)
                .map(|info| info.spec)
        };
        let default = spec.or_else(there).and_then(|spec| spec.default_queue_type);
        default.unwrap_or(vhosts::DEFAULT_QUEUE_TYPE.into())
    }

    fn exchange(&mut self, fields: &Fields) -> Result<(), Fault> {
        let kind = fields.text("type")?;
        let unknown = || Fault::bad_request(format!("unknown exchange type '{kind}'"));
        let decl = ExchangeDecl {
            name: fields.text("name")?.into(),
            kind: ExchangeKind::parse(kind).ok_or_else(unknown)?,
            durable: fields.flag("durable")?,
            auto_delete: fields.flag("auto_delete")?,
            internal: fields.flag("internal")?,
            arguments: table::from_json(fields.get("arguments"))?,
            declared_by: Box::default(),
        };
        self.plan.exchanges.push((self.place(fields)?, decl));
        Ok(())
    }

    fn binding(&mut self, fields: &Fields) -> Result<(), Fault> {
        let name = fields.text("destination")?;
        let destination = match fields.text("destination_type")? {
            "queue" => BindingEnd::Queue(name.into()),
            "exchange" => BindingEnd::Exchange(name.into()),
            other => {
                return Err(Fault::bad_request(format!(
                    "unknown destination type '{other}'"
                )));
            }
        };
        let source = fields.text("source")?;
        if source.is_empty() {
            // Every queue is bound to the default exchange as it is.
            return Ok(());
        }
        self.plan.bindings.push(BindingSnapshot {
            vhost: self.place(fields)?,
            source: source.into(),
            destination,
            key: fields
                .optional_text("routing_key")?
                .unwrap_or_default()
                .as_bytes()
                .into(),
            syntax: KeySyntax::Dotted,
            arguments: table::from_json(fields.get("arguments"))?,
            options: BindingOptions::default(),
        });
        Ok(())
    }
}

fn info(vhost: &str, name: &str, policy: ternmq_core::access::PolicySpec) -> PolicyInfo {
    PolicyInfo {
        vhost: vhost.into(),
        name: name.into(),
        policy,
    }
}

/// A field that is an object, or nothing; old documents write an empty list.
fn object<'a>(
    fields: &'a Fields,
    name: &str,
) -> Result<impl Iterator<Item = (&'a String, &'a Value)>, Fault> {
    let found = match fields.get(name) {
        None => None,
        Some(Value::Array(list)) if list.is_empty() => None,
        Some(Value::Object(object)) => Some(object),
        Some(_) => return Err(Fault::bad_request(format!("{name} is no object"))),
    };
    Ok(found.into_iter().flatten())
}

fn shown_name(fields: &Fields) -> String {
    let name = fields
        .get("name")
        .or_else(|| fields.get("user"))
        .or_else(|| fields.get("source"));
    let name = name.and_then(Value::as_str);
    name.map(|name| format!(" '{name}'")).unwrap_or_default()
}
