//! Whether something can be set, apart from whether what it belongs to is there: for whoever sets much at once and wants to
//! know before.

use ternmq_core::access::{Permission, PolicyScope, PolicySpec, TopicPermission, VhostSpec};

use super::change::{
    check_length, check_name, check_password, check_pattern, check_policy, check_tags, check_text,
};
use super::{Admin, AdminRefusal, Password, UserSpec};

/// Each refuses what the `put` of the same name refuses, with [`AdminRefusal::Invalid`].
impl Admin<'_> {
    /// Checks a vhost's name and what is to be set about it.
    pub fn check_vhost(name: &str, spec: &VhostSpec) -> Result<(), AdminRefusal> {
        check_name("virtual host", name)?;
        check_text("description", &spec.description)?;
        check_tags(&spec.tags)
    }

    /// Checks a user's name, password and tags.
    pub fn check_user(name: &str, spec: &UserSpec) -> Result<(), AdminRefusal> {
        check_name("user", name)?;
        check_tags(&spec.tags)?;
        match &spec.password {
            Password::None | Password::Keep => Ok(()),
            Password::Plain(password) => check_password(password),
            Password::Hash(hash) => check_length("password hash", hash.bytes.len()),
        }
    }

    /// Checks the patterns of a permission.
    pub fn check_permission(permission: &Permission) -> Result<(), AdminRefusal> {
        check_pattern(&permission.configure)?;
        check_pattern(&permission.write)?;
        check_pattern(&permission.read)
    }

    /// Checks the exchange's name and the patterns of a topic permission.
    pub fn check_topic_permission(
        exchange: &str,
        permission: &TopicPermission,
    ) -> Result<(), AdminRefusal> {
        check_length("exchange", exchange.len())?;
        check_pattern(&permission.write)?;
        check_pattern(&permission.read)
    }

    /// Checks a policy's name, pattern and definition.
    pub fn check_policy(
        scope: PolicyScope,
        name: &str,
        policy: &PolicySpec,
    ) -> Result<(), AdminRefusal> {
        check_name("policy", name)?;
        check_policy(scope, policy)
    }

    /// Checks the names and the value of a parameter of a component.
    pub fn check_parameter(component: &str, name: &str, value: &str) -> Result<(), AdminRefusal> {
        check_name("component", component)?;
        Self::check_global_parameter(name, value)
    }

    /// Checks the name and the value of a parameter of the node.
    pub fn check_global_parameter(name: &str, value: &str) -> Result<(), AdminRefusal> {
        check_name("parameter", name)?;
        check_text("value", value)
    }
}
