//! `/x/queues/:vhost/:name/pause`, `/resume`

use axum::extract::State;
use ternmq_core::access::Right;
use ternmq_core::error::Kind;
use ternmq_core::error::Refusal;
use ternmq_core::queue::Service;

use crate::auth::Caller;
use crate::fault::Fault;
use crate::reply::{self, Answer};
use crate::request::Names;
use crate::resources::Shared;

pub(crate) async fn pause(
    State(manage): State<Shared>,
    caller: Caller,
    Names((vhost, name)): Names<(String, String)>,
) -> Answer {
    set(&manage, &caller, (&vhost, &name), Service::Paused).await
}

pub(crate) async fn resume(
    State(manage): State<Shared>,
    caller: Caller,
    Names((vhost, name)): Names<(String, String)>,
) -> Answer {
    set(&manage, &caller, (&vhost, &name), Service::Running).await
}

async fn set(
    manage: &Shared,
    caller: &Caller,
    (vhost, name): (&str, &str),
    service: Service,
) -> Answer {
    caller.may(vhost, Right::Configure, (Kind::Queue, name))?;
    let set = manage.broker.set_service(vhost, name, service);
    let lsn = set.map_err(|refusal| match refusal {
        Refusal::NotFound { .. } => Fault::not_found(),
        refusal => Fault::of_refusal(&refusal, vhost, caller.name()),
    })?;
    manage.durable(lsn).await;
    Ok(reply::done())
}
