//! What the node tells clients and tools about itself.

/// How the node announces itself, the same in every protocol and in the management API.
///
/// Clients and tools choose by product and version what they do, so these name RabbitMQ and the version of it whose
/// behaviour is followed; whoever looks for TernMQ finds it in what a protocol says besides.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Announced {
    /// The product whose dialect is spoken.
    pub product: Box<str>,
    /// Its version.
    pub version: Box<str>,
    /// The cluster that the node is one of, until somebody names it otherwise.
    pub cluster_name: Box<str>,
}
