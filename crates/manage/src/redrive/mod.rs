//! Sending dead letters back: tasks that run beside everything else, a few messages at a time.

mod order;
mod task;

use std::collections::BTreeMap;

use parking_lot::Mutex;
use ternmq_broker::{Broker, Client};
use ternmq_core::id::Timestamp;

pub(crate) use order::Order;
pub(crate) use task::Progress;
use task::Task;

/// Tasks that are remembered, those included that have ended.
const TASKS_MAX: usize = 64;
/// How often a running task goes on, in milliseconds.
const STEP_MS: u64 = 50;

/// Names a task.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, serde::Serialize)]
pub(crate) struct TaskId(pub(crate) u64);

/// All tasks.
#[derive(Default)]
pub(crate) struct Redrives(Mutex<Tasks>);

#[derive(Default)]
struct Tasks {
    last_id: u64,
    by_id: BTreeMap<TaskId, Task>,
}

impl Redrives {
    /// Begins a task, if there is room for one more. `total` is how many messages there are to look at.
    pub(crate) fn start(
        &self,
        order: Order,
        client: Client,
        (total, now): (u64, Timestamp),
    ) -> Option<Progress> {
        let mut tasks = self.0.lock();
        if tasks.by_id.len() >= TASKS_MAX {
            let ended = tasks.by_id.iter().find(|(_, task)| !task.is_running());
            let ended = ended.map(|(id, _)| *id)?;
            tasks.by_id.remove(&ended);
        }
        tasks.last_id += 1;
        let id = TaskId(tasks.last_id);
        let task = Task::new(id, order, client, (total, now));
        let progress = task.progress();
        tasks.by_id.insert(id, task);
        Some(progress)
    }

    /// How far all of them are.
    pub(crate) fn all(&self) -> Vec<Progress> {
        self.0.lock().by_id.values().map(Task::progress).collect()
    }

    /// How far one is.
    pub(crate) fn get(&self, id: TaskId) -> Option<Progress> {
        self.0.lock().by_id.get(&id).map(Task::progress)
    }

    /// Ends a task before its time. Returns whether it ran.
    pub(crate) fn stop(&self, id: TaskId, now: Timestamp) -> bool {
        let mut tasks = self.0.lock();
        tasks.by_id.get_mut(&id).is_some_and(|task| task.stop(now))
    }

    /// When a task wants to go on.
    pub(crate) fn due_at(&self) -> Option<Timestamp> {
        let tasks = self.0.lock();
        tasks
            .by_id
            .values()
            .filter_map(|task| task.due_at(STEP_MS))
            .min()
    }

    /// Lets every task that is due go on for a while.
    pub(crate) fn run(&self, broker: &Broker, now: Timestamp) {
        let mut tasks = self.0.lock();
        for task in tasks.by_id.values_mut() {
            if task.due_at(STEP_MS).is_some_and(|at| at <= now) {
                task.run(broker, now);
            }
        }
    }
}
