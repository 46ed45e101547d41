//! Whether a plan can be carried out: everything that objects refer to is in the plan or there already, and every
//! declaration would be accepted.

use std::collections::HashSet;

use ternmq_broker::inspect::BindingEnd;
use ternmq_core::access::PolicyScope;
use ternmq_core::policy::{QueueSettings, check_definition};
use ternmq_core::topology::{Destination, is_predeclared_exchange};

use super::Plan;
use super::read::Problems;
use crate::Manage;
use crate::request::declared_name;

/// Returns the plan, or everything that is in its way.
pub(super) fn check(manage: &Manage, plan: Plan) -> Result<Plan, Problems> {
    let mut problems = Vec::new();
    check_owners(manage, &plan, &mut problems);
    check_patterns(&plan, &mut problems);
    check_policies(&plan, &mut problems);
    check_declarations(&plan, &mut problems);
    check_bindings(manage, &plan, &mut problems);
    if problems.is_empty() {
        Ok(plan)
    } else {
        Err(Problems(problems))
    }
}

fn check_owners(manage: &Manage, plan: &Plan, problems: &mut Vec<String>) {
    let admin = manage.broker.admin();
    let mut vhosts: HashSet<Box<str>> = admin.vhosts().into_iter().map(|info| info.name).collect();
    vhosts.extend(plan.vhosts.iter().map(|(name, _)| name.clone()));
    let mut users: HashSet<Box<str>> = admin.users().into_iter().map(|info| info.name).collect();
    users.extend(plan.users.iter().map(|(name, _)| name.clone()));
    let all_policies = plan.policies.iter().chain(&plan.operator_policies);
    let places = plan
        .permissions
        .iter()
        .map(|p| &p.vhost)
        .chain(plan.topic_permissions.iter().map(|p| &p.vhost))
        .chain(plan.vhost_limits.iter().map(|(vhost, ..)| vhost))
        .chain(plan.parameters.iter().map(|p| &p.vhost))
        .chain(all_policies.map(|p| &p.vhost))
        .chain(plan.queues.iter().map(|(vhost, _)| vhost))
        .chain(plan.exchanges.iter().map(|(vhost, _)| vhost))
        .chain(plan.bindings.iter().map(|b| &b.vhost));
    let missing: HashSet<&Box<str>> = places.filter(|vhost| !vhosts.contains(*vhost)).collect();
    problems.extend(
        missing
            .into_iter()
            .map(|vhost| format!("no_such_vhost '{vhost}'")),
    );
    let owners = plan
        .permissions
        .iter()
        .map(|p| &p.user)
        .chain(plan.topic_permissions.iter().map(|p| &p.user));
    let missing: HashSet<&Box<str>> = owners.filter(|user| !users.contains(*user)).collect();
    problems.extend(
        missing
            .into_iter()
            .map(|user| format!("no_such_user '{user}'")),
    );
}

fn check_patterns(plan: &Plan, problems: &mut Vec<String>) {
    let mut check = |pattern: &str, whose: &dyn Fn() -> String| {
        if let Err(error) = fancy_regex::Regex::new(pattern) {
            problems.push(format!("{}: invalid regexp '{pattern}': {error}", whose()));
        }
    };
    for info in &plan.permissions {
        let whose = || format!("permission of '{}' in vhost '{}'", info.user, info.vhost);
        let permission = &info.permission;
        for pattern in [&permission.configure, &permission.write, &permission.read] {
            check(pattern, &whose);
        }
    }
    for info in &plan.topic_permissions {
        let (user, vhost, exchange) = (&info.user, &info.vhost, &info.exchange);
        let whose =
            || format!("topic permission of '{user}' on exchange '{exchange}' in vhost '{vhost}'");
        for pattern in [&info.permission.write, &info.permission.read] {
            check(pattern, &whose);
        }
    }
    for info in plan.policies.iter().chain(&plan.operator_policies) {
        let whose = || format!("policy '{}' in vhost '{}'", info.name, info.vhost);
        check(&info.policy.pattern, &whose);
    }
}

fn check_policies(plan: &Plan, problems: &mut Vec<String>) {
    let of_users = plan.policies.iter().map(|info| (PolicyScope::User, info));
    let of_operators = plan.operator_policies.iter();
    let of_operators = of_operators.map(|info| (PolicyScope::Operator, info));
    for (scope, info) in of_users.chain(of_operators) {
        if let Err(fault) = check_definition(scope, &info.policy.definition) {
            let (name, vhost) = (&info.name, &info.vhost);
            problems.push(format!("policy '{name}' in vhost '{vhost}': {fault}"));
        }
    }
}

fn check_declarations(plan: &Plan, problems: &mut Vec<String>) {
    for (vhost, decl) in &plan.queues {
        if let Err(refusal) = QueueSettings::from_decl(decl) {
            let explained = ternmq_amqp::refusal::explain(&refusal, vhost, "");
            problems.push(explained.text);
        }
        check_declared_name("queue", vhost, &decl.name, problems);
    }
    for (vhost, decl) in &plan.exchanges {
        let name = &*decl.name;
        if name.starts_with("amq.") && !is_predeclared_exchange(name) {
            problems.push(format!(
                "exchange name '{name}' contains reserved prefix 'amq.*'"
            ));
        }
        check_declared_name("exchange", vhost, name, problems);
    }
}

fn check_declared_name(kind: &str, vhost: &str, name: &str, problems: &mut Vec<String>) {
    match declared_name(kind, name) {
        Ok(name) if name.is_empty() => {
            problems.push(format!("{kind} without a name in vhost '{vhost}'"));
        }
        Ok(_) => {}
        Err(fault) => problems.push(fault.reason().trim_end().to_owned()),
    }
}

fn check_bindings(manage: &Manage, plan: &Plan, problems: &mut Vec<String>) {
    let inspect = manage.broker.inspect();
    let exchanges: HashSet<(&str, &str)> = plan
        .exchanges
        .iter()
        .map(|(vhost, decl)| (&**vhost, &*decl.name))
        .collect();
    let queues: HashSet<(&str, &str)> = plan
        .queues
        .iter()
        .map(|(vhost, decl)| (&**vhost, &*decl.name))
        .collect();
    let is_exchange = |vhost: &str, name: &str| {
        exchanges.contains(&(vhost, name))
            || is_predeclared_exchange(name)
            || inspect.exchange(vhost, name).is_some()
    };
    for binding in &plan.bindings {
        let vhost = &*binding.vhost;
        if !is_exchange(vhost, &binding.source) {
            problems.push(format!(
                "no exchange '{}' in vhost '{vhost}'",
                binding.source
            ));
        }
        let (kind, name, is_there) = match &binding.destination {
            BindingEnd::Queue(name) => {
                let declared = queues.contains(&(vhost, &**name));
                (
                    "queue",
                    name,
                    declared || inspect.queue(vhost, name).is_some(),
                )
            }
            BindingEnd::Exchange(name) => ("exchange", name, is_exchange(vhost, name)),
        };
        if !is_there {
            problems.push(format!("no {kind} '{name}' in vhost '{vhost}'"));
        }
        debug_assert!(matches!(
            binding.destination.as_destination(),
            Destination::Queue(_) | Destination::Exchange(_)
        ));
    }
}
