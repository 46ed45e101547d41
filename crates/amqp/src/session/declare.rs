//! Declaring: exchanges, queues and bindings.

use amq_protocol::protocol::{AMQPClass, exchange, queue};
use amq_protocol::types::{FieldTable, ShortString};
use ternmq_broker::{DeleteIf, QueueInfo};
use ternmq_core::error::Refusal;
use ternmq_core::policy::QueueKind;
use ternmq_core::routing::key::KeySyntax;
use ternmq_core::topology::{
    BindingDecl, BindingOptions, Destination, ExchangeDecl, ExchangeKind, QueueDecl,
    check_client_queue_name,
};

use super::{Answer, Context, Session, arguments, reply_to, unimplemented_method};
use crate::error::{Fault, not_implemented};

impl Session {
    pub(super) fn on_exchange(
        &mut self,
        method: exchange::AMQPMethod,
        cx: &mut Context<'_>,
    ) -> Result<(), Fault> {
        use exchange::AMQPMethod as Exchange;
        let (answer, nowait) = match method {
            Exchange::Declare(mut declare) => {
                strip_line_ends(&mut declare.exchange);
                declare_exchange(&declare, cx)?;
                (Exchange::DeclareOk(exchange::DeclareOk {}), declare.nowait)
            }
            Exchange::Delete(mut delete) => {
                strip_line_ends(&mut delete.exchange);
                cx.client
                    .delete_exchange(delete.exchange.as_str(), delete.if_unused)
                    .map_err(|refusal| cx.refused(&refusal))?;
                (Exchange::DeleteOk(exchange::DeleteOk {}), delete.nowait)
            }
            Exchange::Bind(mut bind) => {
                strip_line_ends(&mut bind.source);
                strip_line_ends(&mut bind.destination);
                let destination = Destination::Exchange(bind.destination.as_str());
                let ends = (bind.source.as_str(), destination, bind.routing_key.as_str());
                add_binding(ends, &bind.arguments, cx)?;
                (Exchange::BindOk(exchange::BindOk {}), bind.nowait)
            }
            Exchange::Unbind(mut unbind) => {
                strip_line_ends(&mut unbind.source);
                strip_line_ends(&mut unbind.destination);
                let destination = Destination::Exchange(unbind.destination.as_str());
                let ends = (
                    unbind.source.as_str(),
                    destination,
                    unbind.routing_key.as_str(),
                );
                remove_binding(ends, &unbind.arguments, cx)?;
                (Exchange::UnbindOk(exchange::UnbindOk {}), unbind.nowait)
            }
            _ => return Err(unimplemented_method()),
        };
        self.answer(
            &AMQPClass::Exchange(answer),
            Answer::from_nowait(nowait),
            cx,
        );
        Ok(())
    }

    pub(super) fn on_queue(
        &mut self,
        method: queue::AMQPMethod,
        cx: &mut Context<'_>,
    ) -> Result<(), Fault> {
        use queue::AMQPMethod as Queue;
        let (answer, nowait) = match method {
            Queue::Declare(mut declare) => {
                strip_line_ends(&mut declare.queue);
                return self.declare_queue(&declare, cx);
            }
            Queue::Bind(mut bind) => {
                strip_line_ends(&mut bind.exchange);
                strip_line_ends(&mut bind.queue);
                let queue = self.visible_queue(&bind.queue, cx)?;
                // Without either name the key is the queue's too.
                let is_short =
                    bind.queue.as_str().is_empty() && bind.routing_key.as_str().is_empty();
                let key = if is_short {
                    queue
                } else {
                    bind.routing_key.as_str()
                };
                let ends = (bind.exchange.as_str(), Destination::Queue(queue), key);
                add_binding(ends, &bind.arguments, cx)?;
                (Queue::BindOk(queue::BindOk {}), bind.nowait)
            }
            Queue::Unbind(mut unbind) => {
                strip_line_ends(&mut unbind.exchange);
                strip_line_ends(&mut unbind.queue);
                let queue = self.queue_name(&unbind.queue)?;
                let is_short =
                    unbind.queue.as_str().is_empty() && unbind.routing_key.as_str().is_empty();
                let key = if is_short {
                    queue
                } else {
                    unbind.routing_key.as_str()
                };
                let ends = (unbind.exchange.as_str(), Destination::Queue(queue), key);
                remove_binding(ends, &unbind.arguments, cx)?;
                (Queue::UnbindOk(queue::UnbindOk {}), false)
            }
            Queue::Purge(purge) => {
                let queue = self.visible_queue(&purge.queue, cx)?;
                let purged = cx
                    .client
                    .purge_queue(queue)
                    .map_err(|refusal| cx.refused(&refusal))?;
                let message_count = count(purged);
                (
                    Queue::PurgeOk(queue::PurgeOk { message_count }),
                    purge.nowait,
                )
            }
            Queue::Delete(mut delete) => {
                strip_line_ends(&mut delete.queue);
                let message_count = count(self.delete_queue(&delete, cx)?);
                (
                    Queue::DeleteOk(queue::DeleteOk { message_count }),
                    delete.nowait,
                )
            }
            _ => return Err(unimplemented_method()),
        };
        self.answer(&AMQPClass::Queue(answer), Answer::from_nowait(nowait), cx);
        Ok(())
    }

    fn answer(&self, class: &AMQPClass, answer: Answer, cx: &mut Context<'_>) {
        if answer == Answer::Wanted {
            self.reply(class, cx);
        }
    }

    fn declare_queue(
        &mut self,
        declare: &queue::Declare,
        cx: &mut Context<'_>,
    ) -> Result<(), Fault> {
        let declared = if let Some(found) = reply_to::declare(declare.queue.as_str(), cx) {
            found
        } else if declare.passive {
            cx.client.check_queue(declare.queue.as_str())
        } else {
            let decl = QueueDecl {
                name: declare.queue.as_str().into(),
                // What goes with its connection survives nothing: two declarations do not differ in that.
                durable: declare.durable && !declare.exclusive,
                exclusive: declare.exclusive.then(|| cx.client.id()),
                auto_delete: declare.auto_delete,
                arguments: arguments::headers(&declare.arguments),
            };
            check_client_queue_name(&decl.name).and_then(|()| cx.client.declare_queue(decl))
        };
        let QueueInfo {
            name,
            messages,
            consumers,
            ..
        } = declared.map_err(|refusal| cx.refused(&refusal))?;
        if !declare.nowait
            && let Ok(queue) = ShortString::try_new(&*name)
        {
            let ok = queue::DeclareOk {
                queue,
                message_count: count(messages),
                consumer_count: count(consumers),
            };
            self.reply(&AMQPClass::Queue(queue::AMQPMethod::DeclareOk(ok)), cx);
        }
        self.last_queue = Some(name);
        Ok(())
    }

    /// Deleting a queue that does not exist is fine.
    fn delete_queue(&self, delete: &queue::Delete, cx: &mut Context<'_>) -> Result<u64, Fault> {
        let queue = self.queue_name(&delete.queue)?;
        if reply_to::is_hidden(queue) {
            return Ok(0);
        }
        if delete.if_unused || delete.if_empty {
            check_conditional_delete(queue, delete.if_unused, cx)?;
        }
        let only = DeleteIf {
            unused: delete.if_unused,
            empty: delete.if_empty,
        };
        match cx.client.delete_queue(queue, only) {
            Ok(messages) => Ok(messages),
            Err(Refusal::NotFound { .. }) => Ok(0),
            Err(refusal) => Err(cx.refused(&refusal)),
        }
    }
}

/// Quorum queues are deleted whatever they hold and whoever uses them: RabbitMQ's cannot tell in time.
fn check_conditional_delete(queue: &str, if_unused: bool, cx: &Context<'_>) -> Result<(), Fault> {
    match cx.client.queue(queue).map(|queue| queue.kind()) {
        Ok(QueueKind::Quorum) => {
            let vhost = cx.client.vhost();
            let flag = if if_unused { "if-unused" } else { "if-empty" };
            Err(not_implemented(format!(
                "cannot delete queue '{queue}' in vhost '{vhost}'. queue.delete operations with {flag} flag \
                 set are not supported by quorum queues"
            )))
        }
        // Whatever else is wrong, deleting it says so.
        Ok(QueueKind::Classic) | Err(_) => Ok(()),
    }
}

fn add_binding(
    ends: (&str, Destination<'_>, &str),
    table: &FieldTable,
    cx: &mut Context<'_>,
) -> Result<(), Fault> {
    let arguments = arguments::headers(table);
    let bound = cx.client.bind(&binding(ends, &arguments));
    bound.map(drop).map_err(|refusal| cx.refused(&refusal))
}

/// Undoing what is not there is fine.
fn remove_binding(
    ends: (&str, Destination<'_>, &str),
    table: &FieldTable,
    cx: &mut Context<'_>,
) -> Result<(), Fault> {
    if matches!(ends.1, Destination::Queue(queue) if reply_to::is_hidden(queue)) {
        return Ok(());
    }
    let arguments = arguments::headers(table);
    match cx.client.unbind(&binding(ends, &arguments)) {
        Ok(_) | Err(Refusal::NotFound { .. }) => Ok(()),
        Err(refusal) => Err(cx.refused(&refusal)),
    }
}

fn binding<'a>(
    (source, destination, key): (&'a str, Destination<'a>, &'a str),
    arguments: &'a ternmq_core::value::Headers,
) -> BindingDecl<'a> {
    BindingDecl {
        source,
        destination,
        key: key.as_bytes(),
        syntax: KeySyntax::Dotted,
        arguments,
        options: BindingOptions::default(),
    }
}

fn declare_exchange(declare: &exchange::Declare, cx: &mut Context<'_>) -> Result<(), Fault> {
    let name = declare.exchange.as_str();
    let declared = if declare.passive {
        cx.client.check_exchange(name)
    } else {
        match ExchangeKind::parse(declare.kind.as_str()) {
            None => Err(Refusal::UnknownExchangeType(declare.kind.as_str().into())),
            Some(kind) => cx
                .client
                .declare_exchange(ExchangeDecl {
                    name: name.into(),
                    kind,
                    durable: declare.durable,
                    auto_delete: declare.auto_delete,
                    internal: declare.internal,
                    arguments: arguments::headers(&declare.arguments),
                    declared_by: Box::default(),
                })
                .map(drop),
        }
    };
    declared.map_err(|refusal| cx.refused(&refusal))
}

/// Names have no line ends, as RabbitMQ's have none: declaring, binding and deleting passes over them.
fn strip_line_ends(name: &mut ShortString) {
    const LINE_ENDS: [char; 2] = ['\r', '\n'];
    if name.as_str().contains(LINE_ENDS) {
        let stripped = name.as_str().replace(LINE_ENDS, "");
        *name = ShortString::try_new(stripped).unwrap_or_default();
    }
}

/// Counts beyond what the wire can say count as its most.
fn count(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
