//! The queues from which an agent takes jobs, in the order in which it looks at them.

use pool_core::Priority;
use pool_core::remote::TaskKey;

use crate::keys::Keys;

/// The names of the queues: those of a higher priority first, and within a priority each task first in turn.
#[derive(Debug)]
pub(super) struct Queues {
    names: Vec<String>,
    tasks: usize,
}

impl Queues {
    pub(super) fn new(keys: &Keys, tasks: &[TaskKey]) -> Queues {
        let of = |priority| tasks.iter().map(move |task| keys.queue(task, priority));
        // A server looks at them in this order, and takes from the first that has any.
        let names = [Priority::High, Priority::Normal, Priority::Low].into_iter().flat_map(of).collect();
        Queues { names, tasks: tasks.len() }
    }

    /// The names for the next take.
    pub(super) fn in_turn(&mut self) -> &[String] {
        // Else the tasks in front would starve those behind.
        self.names.chunks_mut(self.tasks.max(1)).for_each(|names| names.rotate_left(1));
        &self.names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_task_is_first_in_turn_within_its_priority() {
        let task = |name: &str| TaskKey { name: name.to_owned(), signature: 1 };
        let mut queues = Queues::new(&Keys::new("n"), &[task("f"), task("g")]);
        let mut words = || {
            queues
                .in_turn()
                .iter()
                .map(|name| name.split(':').skip(3).take(2).collect())
                .collect::<Vec<Vec<_>>>()
                .concat()
                .join(" ")
        };
        assert_eq!(words(), "high g high f normal g normal f low g low f");
        assert_eq!(words(), "high f high g normal f normal g low f low g");
    }
}
