//! Carrying out a plan that was checked.

use std::collections::HashMap;

use ternmq_broker::admin::{AdminRefusal, Changed};
use ternmq_broker::mailbox::Mailbox;
use ternmq_broker::{Broker, Client};
use ternmq_core::access::PolicyScope;
use ternmq_core::error::Refusal;
use ternmq_core::id::Lsn;

use super::{Outcome, Plan, Report};
use crate::Manage;
use crate::fault::Fault;

/// Carries the plan out. Returns what became of it, and the record that has to be durable before anybody is told.
pub(super) fn apply(manage: &Manage, plan: &Plan) -> Result<(Report, Lsn), Fault> {
    let mut run = Run {
        broker: &manage.broker,
        report: Report {
            warnings: plan.warnings.clone(),
            ..Report::default()
        },
        lsn: Lsn::NONE,
    };
    run.objects(plan)?;
    run.topology(plan)?;
    Ok((run.report, run.lsn))
}

struct Run<'a> {
    broker: &'a Broker,
    report: Report,
    lsn: Lsn,
}

impl Run<'_> {
    fn note(&mut self, section: &'static str, created: bool, lsn: Lsn) {
        let outcome: &mut Outcome = self.report.sections.entry(section).or_default();
        if created {
            outcome.created += 1;
        } else {
            outcome.existing += 1;
        }
        self.lsn = self.lsn.max(lsn);
    }

    fn changed(
        &mut self,
        section: &'static str,
        changed: Result<Changed, AdminRefusal>,
    ) -> Result<(), Fault> {
        let changed = changed.map_err(|refusal| Fault::of_validated(&refusal))?;
        self.note(section, changed.created, changed.lsn);
        Ok(())
    }

    /// What operators set: owners first.
    fn objects(&mut self, plan: &Plan) -> Result<(), Fault> {
        let admin = self.broker.admin();
        for (name, spec) in &plan.users {
            self.changed("users", admin.put_user(name, spec.clone()))?;
        }
        for (user, limit, max) in &plan.user_limits {
            self.changed("user_limits", admin.put_user_limit(user, *limit, *max))?;
        }
        for (name, spec) in &plan.vhosts {
            self.changed("vhosts", admin.put_vhost(name, spec.clone()))?;
        }
        for info in &plan.vhost_limits {
            let set = admin.set_vhost_limits(&info.name, &info.limits);
            self.changed("vhost_limits", set)?;
        }
        for info in &plan.permissions {
            let put = admin.put_permission(&info.vhost, &info.user, info.permission.clone());
            self.changed("permissions", put)?;
        }
        for info in &plan.topic_permissions {
            let names = (&*info.vhost, &*info.user, &*info.exchange);
            let put = admin.put_topic_permission(names, info.permission.clone());
            self.changed("topic_permissions", put)?;
        }
        for info in &plan.parameters {
            let names = (&*info.component, &*info.vhost, &*info.name);
            self.changed("parameters", admin.put_parameter(names, &info.value))?;
        }
        for (name, value) in &plan.global_parameters {
            self.changed("global_parameters", admin.put_global_parameter(name, value))?;
        }
        let of_users = plan.policies.iter().map(|info| (PolicyScope::User, info));
        let of_operators = plan
            .operator_policies
            .iter()
            .map(|info| (PolicyScope::Operator, info));
        for (scope, info) in of_users.chain(of_operators) {
            let put = admin.put_policy(scope, &info.vhost, &info.name, info.policy.clone());
            self.changed("policies", put)?;
        }
        Ok(())
    }

    /// What is declared already stays, whatever the document says of it.
    fn topology(&mut self, plan: &Plan) -> Result<(), Fault> {
        let mut clients = Clients {
            broker: self.broker,
            by_vhost: HashMap::new(),
        };
        for (vhost, decl) in &plan.queues {
            let client = clients.of(vhost)?;
            let is_there = self.broker.inspect().queue(vhost, &decl.name).is_some();
            if !is_there {
                // Documents have queues that the broker named, too.
                client
                    .on_own_account(|client| client.declare_queue(decl.clone()))
                    .map_err(|refusal| refused(&refusal, vhost))?;
            }
            self.note("queues", !is_there, client.declared());
        }
        for (vhost, decl) in &plan.exchanges {
            let client = clients.of(vhost)?;
            let is_there = self.broker.inspect().exchange(vhost, &decl.name).is_some();
            if !is_there {
                // Exchanges that plugins made have names of the broker's, too.
                client
                    .on_own_account(|client| client.declare_exchange(decl.clone()))
                    .map_err(|refusal| refused(&refusal, vhost))?;
            }
            self.note("exchanges", !is_there, client.declared());
        }
        for binding in &plan.bindings {
            let client = clients.of(&binding.vhost)?;
            let bound = client.bind(&binding.decl());
            let created = bound.map_err(|refusal| refused(&refusal, &binding.vhost))?;
            self.note("bindings", created, client.declared());
        }
        Ok(())
    }
}

/// A connection into each vhost that may do everything.
struct Clients<'a> {
    broker: &'a Broker,
    by_vhost: HashMap<Box<str>, Client>,
}

impl Clients<'_> {
    fn of(&mut self, vhost: &str) -> Result<&mut Client, Fault> {
        if !self.by_vhost.contains_key(vhost) {
            let user = self.broker.system_user();
            let client = self.broker.operate(&user, vhost, Mailbox::new(1));
            let client = client.map_err(|refusal| Fault::bad_request(refusal.to_string()))?;
            self.by_vhost.insert(vhost.into(), client);
        }
        let client = self.by_vhost.get_mut(vhost);
        client.ok_or_else(|| Fault::bad_request("no such vhost"))
    }
}

fn refused(refusal: &Refusal, vhost: &str) -> Fault {
    Fault::bad_request(ternmq_amqp::refusal::explain(refusal, vhost, "").text)
}
