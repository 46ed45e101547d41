//! Whether a plan can be carried out: everything that objects refer to is in the plan or there already, and every
//! declaration would be accepted.

use std::collections::HashSet;

use ternmq_broker::admin::Admin;
use ternmq_core::access::PolicyScope;

use super::Plan;
use super::read::Problems;
use super::rehearse::rehearse;
use crate::Manage;

/// Returns the plan, or everything that is in its way.
pub(super) fn check(manage: &Manage, plan: Plan) -> Result<Plan, Problems> {
    let mut problems = Vec::new();
    check_owners(manage, &plan, &mut problems);
    check_objects(&plan, &mut problems);
    rehearse(manage, &plan, &mut problems);
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
        .chain(plan.vhost_limits.iter().map(|info| &info.name))
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

/// Names, patterns, definitions: whatever can be wrong with an object by itself.
fn check_objects(plan: &Plan, problems: &mut Vec<String>) {
    let users = plan.users.iter().map(|(name, spec)| {
        let checked = Admin::check_user(name, spec);
        (format!("user '{name}'"), checked)
    });
    let vhosts = plan.vhosts.iter().map(|(name, spec)| {
        let checked = Admin::check_vhost(name, spec);
        (format!("vhost '{name}'"), checked)
    });
    let permissions = plan.permissions.iter().map(|info| {
        let checked = Admin::check_permission(&info.permission);
        (of_user("permission", &info.user, &info.vhost), checked)
    });
    let topics = plan.topic_permissions.iter().map(|info| {
        let checked = Admin::check_topic_permission(&info.exchange, &info.permission);
        (
            of_user("topic permission", &info.user, &info.vhost),
            checked,
        )
    });
    let parameters = plan.parameters.iter().map(|info| {
        let (component, name, vhost) = (&info.component, &info.name, &info.vhost);
        let checked = Admin::check_parameter(component, name, &info.value);
        let subject = format!("parameter '{name}' of '{component}' in vhost '{vhost}'");
        (subject, checked)
    });
    let globals = plan.global_parameters.iter().map(|(name, value)| {
        let checked = Admin::check_global_parameter(name, value);
        (format!("global parameter '{name}'"), checked)
    });
    let of_users = plan.policies.iter().map(|info| (PolicyScope::User, info));
    let of_operators = plan.operator_policies.iter();
    let of_operators = of_operators.map(|info| (PolicyScope::Operator, info));
    let policies = of_users.chain(of_operators).map(|(scope, info)| {
        let checked = Admin::check_policy(scope, &info.name, &info.policy);
        let subject = format!("policy '{}' in vhost '{}'", info.name, info.vhost);
        (subject, checked)
    });
    let all = users
        .chain(vhosts)
        .chain(permissions)
        .chain(topics)
        .chain(parameters)
        .chain(globals)
        .chain(policies);
    problems.extend(all.filter_map(|(subject, checked)| {
        let refusal = checked.err()?;
        Some(format!("{subject}: {refusal}"))
    }));
}

fn of_user(kind: &str, user: &str, vhost: &str) -> String {
    format!("{kind} of user '{user}' in vhost '{vhost}'")
}
