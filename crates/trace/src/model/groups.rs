//! Tasks that are alike as one: those with the same parent group, code and place. What a graph shows of a hundred thousand tasks.
//!
//! A task whose code and place a group further up has too belongs to that group: a program that starts itself again and again, or
//! two parts that start each other, make as many groups as there are places in the source.

use crate::by_number::ByNumber;
use crate::event::{Place, Text};

use super::task::{Outcome, Outcomes, State, Task};
use super::totals::pair;

pub type GroupNumber = u32;
pub const NO_GROUP: GroupNumber = u32::MAX;
const MOST: usize = 100_000;
const MOST_EDGES: usize = 1_000_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Group {
    pub parent: GroupNumber,
    pub coroutine: Text,
    pub place: Place,
    /// Where the nursery was opened that its tasks belong to, if they belong to one.
    pub nursery: Option<Place>,
    pub depth: u32,
    pub outcomes: Outcomes,
    /// The text of the last failure or, where nothing failed, cancellation.
    pub why: Text,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Edge {
    Spawned,
    Awaits,
    Woke,
    Cancelled,
}

impl Edge {
    pub const ALL: [Edge; 4] = [Edge::Spawned, Edge::Awaits, Edge::Woke, Edge::Cancelled];

    pub fn name(self) -> &'static str {
        match self {
            Edge::Spawned => "spawned",
            Edge::Awaits => "awaits",
            Edge::Woke => "woke",
            Edge::Cancelled => "cancelled",
        }
    }
}

#[derive(Default)]
pub struct Groups {
    all: Vec<Group>,
    /// By parent, then coroutine and place.
    numbers: ByNumber<(u32, u64), GroupNumber>,
    edges: [ByNumber<u64, u64>; 4],
}

impl Groups {
    pub fn all(&self) -> &[Group] {
        &self.all
    }

    /// The group of a new task, which is counted in it.
    pub fn join(&mut self, parent: GroupNumber, coroutine: Text, place: Place) -> GroupNumber {
        let code = pair(coroutine, place);
        let number = match self.numbers.get(&(parent, code)) {
            Some(&number) => number,
            None => {
                let number = self.make(parent, coroutine, place);
                self.numbers.insert((parent, code), number);
                number
            }
        };
        self.all[number as usize].outcomes.add(Outcome::Pending, 1);
        if parent != NO_GROUP {
            self.link(Edge::Spawned, parent, number);
        }
        number
    }

    fn make(&mut self, parent: GroupNumber, coroutine: Text, place: Place) -> GroupNumber {
        let mut above = parent;
        while let Some(group) = self.all.get(above as usize) {
            if (group.coroutine, group.place) == (coroutine, place) {
                return above;
            }
            above = group.parent;
        }
        if self.all.len() >= MOST {
            // Of so many that no picture shows them: the first stands for all.
            return 0;
        }
        let depth = self.all.get(parent as usize).map_or(0, |group| group.depth + 1);
        self.all.push(Group { parent, coroutine, place, nursery: None, depth, outcomes: Outcomes::default(), why: 0 });
        self.all.len() as GroupNumber - 1
    }

    /// A task turns out to belong to another.
    pub fn leave(&mut self, task: &Task) {
        if let Some(group) = self.all.get_mut(task.group as usize) {
            group.outcomes.remove(task.state.outcome());
        }
    }

    pub fn ended(&mut self, task: &Task) {
        if let Some(group) = self.all.get_mut(task.group as usize) {
            group.outcomes.ended(task.state.outcome());
            // A failure says more than the cancellations that came of it.
            let is_more = task.state == State::Failed || group.outcomes.of(Outcome::Failed) == 0;
            if task.why != 0 && is_more {
                group.why = task.why;
            }
        }
    }

    pub fn in_nursery(&mut self, group: GroupNumber, opened_at: Place) {
        if let Some(group) = self.all.get_mut(group as usize) {
            group.nursery.get_or_insert(opened_at);
        }
    }

    #[inline]
    pub fn link(&mut self, edge: Edge, from: GroupNumber, to: GroupNumber) {
        let edges = &mut self.edges[edge as usize];
        let ends = pair(from, to);
        if let Some(count) = edges.get_mut(&ends) {
            *count += 1;
        } else if edges.len() < MOST_EDGES {
            edges.insert(ends, 1);
        }
    }

    pub fn edges(&self, edge: Edge) -> impl Iterator<Item = (GroupNumber, GroupNumber, u64)> + '_ {
        self.edges[edge as usize].iter().map(|(&ends, &count)| ((ends >> 32) as u32, ends as u32, count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_starts_itself_is_one_group() {
        let mut groups = Groups::default();
        let mut last = groups.join(NO_GROUP, 1, 0);
        for _ in 0..1000 {
            last = groups.join(last, 2, 5);
            last = groups.join(last, 3, 6);
        }
        assert_eq!(groups.all().len(), 3);
        assert_eq!(groups.all().iter().map(|group| group.outcomes.total()).collect::<Vec<_>>(), [1, 1000, 1000]);
        let mut edges: Vec<_> = groups.edges(Edge::Spawned).collect();
        edges.sort();
        assert_eq!(edges, [(0, 1, 1), (1, 2, 1000), (2, 1, 999)]);
    }
}
