//! A queue's settings: its own ones, and what policies make of them.

use ternmq_core::id::{Lsn, Timestamp};
use ternmq_core::policy::{QueueSettings, Subject};

use super::{QueueCell, State};
use crate::policies::{Policies, PolicyStatus};
use crate::work::Work;

/// What there is to know beside the settings in force, of a queue that policies are about.
pub(super) struct UnderPolicy {
    /// What was declared, and adjusted since.
    own: QueueSettings,
    status: PolicyStatus,
}

impl State {
    /// The settings that are to be in force under that.
    fn settings_under(&mut self, cell: &QueueCell, status: PolicyStatus) -> QueueSettings {
        let own = match self.policy.take() {
            Some(before) => before.own,
            None => self.queue.settings().clone(),
        };
        if status == PolicyStatus::default() {
            return own;
        }
        let settings = own.under_policy(&cell.decl, &status.effective);
        self.policy = Some(Box::new(UnderPolicy { own, status }));
        settings
    }

    /// Whether these are not older than those in force.
    fn takes(&mut self, version: Lsn) -> bool {
        let takes = self.policies_version <= version;
        self.policies_version = self.policies_version.max(version);
        takes
    }
}

impl QueueCell {
    /// Puts what policies say about the queue in force, unless newer ones are.
    pub(crate) fn apply_policies(&self, policies: &Policies, work: &mut Work, now: Timestamp) {
        let status = policies.about(Subject::Queue(self.kind), &self.name);
        let mut state = self.state.lock();
        if !state.takes(policies.version()) {
            return;
        }
        let before = state.queue.resident_bytes();
        let settings = state.settings_under(self, status);
        if *state.queue.settings() != settings {
            state.queue.set_settings(settings, now, &mut work.effects);
        }
        state.gather(work, before);
    }

    /// As [`Self::apply_policies`], for a queue that nobody uses yet: nothing follows.
    pub(crate) fn adopt_policies(&self, policies: &Policies) {
        let status = policies.about(Subject::Queue(self.kind), &self.name);
        self.adopt_status(policies.version(), status);
    }

    /// The same with what was found out before.
    pub(crate) fn adopt_status(&self, version: Lsn, status: PolicyStatus) {
        let mut state = self.state.lock();
        if state.takes(version) {
            let settings = state.settings_under(self, status);
            state.queue.adopt_settings(settings);
        }
    }

    /// What policies say about the queue.
    pub(crate) fn policy_status(&self) -> PolicyStatus {
        let state = self.state.lock();
        let policy = state.policy.as_ref();
        policy.map_or_else(PolicyStatus::default, |policy| policy.status.clone())
    }

    /// Changes the queue's own settings.
    pub(crate) fn adjust(
        &self,
        work: &mut Work,
        now: Timestamp,
        adjust: impl FnOnce(&mut QueueSettings),
    ) {
        let mut state = self.state.lock();
        let before = state.queue.resident_bytes();
        let settings = if let Some(policy) = &mut state.policy {
            adjust(&mut policy.own);
            let UnderPolicy { own, status } = &**policy;
            own.under_policy(&self.decl, &status.effective)
        } else {
            let mut settings = state.queue.settings().clone();
            adjust(&mut settings);
            settings
        };
        state.queue.set_settings(settings, now, &mut work.effects);
        state.gather(work, before);
    }
}
