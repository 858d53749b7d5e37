//! Bounded memory for a model that lives as long as its program: what has ended is forgotten, but the failed and the newest.

use std::collections::HashSet;

use crate::event::Key;

use super::task::{flag, State, NEVER};
use super::Model;

/// The nearest ancestors of a task that is kept for itself are kept with it: so many.
const ANCESTORS: u8 = 16;

impl Model {
    /// Leaves all that are alive and, of the others, about half as many as the limit says.
    pub(super) fn tidy(&mut self) {
        let limit = self.limit.unwrap_or(usize::MAX);
        let parents: Vec<Option<usize>> = self.tasks.iter().map(|task| self.index.get(task.parent)).collect();
        // How many ancestors each wants, itself included; 0 is not to be kept.
        let mut wanted = vec![0u8; self.tasks.len()];
        let mut failed_left = limit / 4;
        for (position, task) in self.tasks.iter().enumerate().rev() {
            if task.state.is_pending() || (task.state == State::Failed && failed_left > 0) {
                wanted[position] = ANCESTORS;
                failed_left -= usize::from(task.state == State::Failed);
            }
        }
        for position in (0..self.tasks.len()).rev() {
            // A parent comes before its children, but for nonsense.
            if let Some(parent) = parents[position].filter(|&parent| parent < position) {
                wanted[parent] = wanted[parent].max(wanted[position].saturating_sub(1));
            }
        }
        let ended = |position: usize| !self.tasks[position].state.is_pending();
        let kept = (0..self.tasks.len()).filter(|&position| wanted[position] > 0 && ended(position)).count();
        let mut room = (limit / 2).saturating_sub(kept);
        for wanted in wanted.iter_mut().rev().filter(|wanted| **wanted == 0) {
            if room == 0 {
                break;
            }
            room -= 1;
            *wanted = 1;
        }
        self.keep(&wanted, &parents);
        self.tidy_at = limit.max(2 * self.tasks.len());
        self.forget_what_nobody_names();
    }

    fn keep(&mut self, wanted: &[u8], parents: &[Option<usize>]) {
        // Whom each task's children hang on from now on.
        let mut stands_for: Vec<Key> = Vec::with_capacity(self.tasks.len());
        let mut kept = Vec::with_capacity(self.tasks.len());
        let mut cancels = Vec::new();
        for (position, mut task) in std::mem::take(&mut self.tasks).into_iter().enumerate() {
            match parents[position].filter(|&parent| parent < position) {
                Some(parent) if wanted[parent] == 0 => {
                    task.parent = stands_for[parent];
                    task.flags |= flag::ORPHAN;
                }
                _ => {}
            }
            if wanted[position] == 0 {
                stands_for.push(task.parent);
                continue;
            }
            stands_for.push(task.key);
            if task.cancel != 0 {
                cancels.push(self.cancels[task.cancel as usize - 1]);
                task.cancel = cancels.len() as u32;
            }
            kept.push(task);
        }
        self.index.clear();
        for (position, task) in kept.iter().enumerate() {
            self.index.insert(task.key, position);
        }
        (self.tasks, self.cancels) = (kept, cancels);
    }

    fn forget_what_nobody_names(&mut self) {
        let mut named: HashSet<u64> = self.tasks.iter().map(|task| task.nursery).collect();
        named.extend(self.cancels.iter().map(|cancel| cancel.scope));
        let index = &self.index;
        self.scopes.retain(|number, scope| {
            named.contains(number) || (scope.closed == NEVER && index.get(scope.host).is_some())
        });
        self.held.retain(|_, held| held.holders.iter().any(|holder| index.get(holder.task).is_some()));
        self.whys.retain(|key, _| index.get(*key).is_some());
    }
}
