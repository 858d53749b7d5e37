//! The tree of tasks: under each task its nurseries with their tasks, and the tasks that it started into none.

use serde_json::{json, Value};

use crate::by_number::ByNumber;
use crate::model::task::{State, Task};
use crate::recording::Recording;

use super::tasks::task_json;
use super::Refused;

/// Deeper is only counted: what is nested deeper than this, no reader of JSON takes.
const DEEPEST: u32 = 30;
const NONE: u32 = u32::MAX;

/// Whose task a task is: its nursery's host's, or its parent's. A parent comes before its children, so nobody is his own ancestor.
pub(crate) fn owner(recording: &Recording, position: usize) -> Option<usize> {
    let (model, task) = (recording.model(), &recording.model().tasks()[position]);
    let host = model.scope(task.nursery).and_then(|scope| model.position(scope.host));
    host.filter(|&host| host < position).or_else(|| model.position(task.parent).filter(|&parent| parent < position))
}

/// At most `limit` tasks, from the top; what is left out is counted in entries of the kind "more". `pending`: only tasks that are alive
/// and what leads to them.
pub fn tree(recording: &Recording, limit: u64, pending: bool) -> Result<Value, Refused> {
    let tasks = recording.model().tasks();
    let owners: Vec<Option<usize>> = (0..tasks.len()).map(|position| owner(recording, position)).collect();
    let mut is_in: Vec<bool> = tasks.iter().map(|task| !pending || task.state.is_pending()).collect();
    for position in (0..tasks.len()).rev() {
        if let (true, Some(owner)) = (is_in[position], owners[position]) {
            is_in[owner] = true;
        }
    }
    let branches = Branches::new(&owners, &is_in);
    let mut depth = vec![NONE; tasks.len()];
    // From the top, level by level, until the limit.
    let mut queue: std::collections::VecDeque<(u32, u32)> = branches.roots.iter().map(|&root| (root, 0)).collect();
    let mut left = limit;
    while let (Some((position, level)), true) = (queue.pop_front(), left > 0) {
        depth[position as usize] = level;
        left -= 1;
        if level < DEEPEST {
            queue.extend(branches.of(position).iter().map(|&child| (child, level + 1)));
        }
    }
    let mut show = Show { recording, branches: &branches, depth: &depth };
    Ok(json!({"total": is_in.iter().filter(|is_in| **is_in).count(), "tasks": show.list(&branches.roots)}))
}

/// Children of each, by counting: no list for each task.
pub(super) struct Branches {
    pub roots: Vec<u32>,
    starts: Vec<u32>,
    children: Vec<u32>,
}

impl Branches {
    pub fn new(owners: &[Option<usize>], is_in: &[bool]) -> Branches {
        let mut starts = vec![0u32; owners.len() + 1];
        let members = || (0..owners.len()).filter(|&position| is_in[position]);
        members().filter_map(|position| owners[position]).for_each(|owner| starts[owner + 1] += 1);
        for position in 1..starts.len() {
            starts[position] += starts[position - 1];
        }
        let mut next = starts.clone();
        let mut children = vec![0; *starts.last().unwrap_or(&0) as usize];
        let mut roots = Vec::new();
        for position in members() {
            match owners[position] {
                Some(owner) => {
                    children[next[owner] as usize] = position as u32;
                    next[owner] += 1;
                }
                None => roots.push(position as u32),
            }
        }
        Branches { roots, starts, children }
    }

    pub fn of(&self, position: u32) -> &[u32] {
        let position = position as usize;
        &self.children[self.starts[position] as usize..self.starts[position + 1] as usize]
    }
}

/// Children by their nursery (0: none), each list at the place of its first. Of those of which nothing is shown, there may be thousands.
pub(super) fn lists_of(recording: &Recording, children: &[u32]) -> Vec<(u64, Vec<u32>)> {
    let mut lists: Vec<(u64, Vec<u32>)> = Vec::new();
    let mut places = ByNumber::<u64, usize>::default();
    for &child in children {
        let nursery = recording.model().tasks()[child as usize].nursery;
        let at = *places.entry(nursery).or_insert_with(|| {
            lists.push((nursery, Vec::new()));
            lists.len() - 1
        });
        lists[at].1.push(child);
    }
    lists
}

struct Show<'r> {
    recording: &'r Recording,
    branches: &'r Branches,
    depth: &'r [u32],
}

impl Show<'_> {
    fn list(&mut self, positions: &[u32]) -> Vec<Value> {
        let is_shown = |position: &&u32| self.depth[**position as usize] != NONE;
        let shown: Vec<u32> = positions.iter().filter(is_shown).copied().collect();
        let mut list: Vec<Value> = shown.iter().map(|&position| self.task(position)).collect();
        let left_out: Vec<u32> = positions.iter().filter(|position| !is_shown(position)).copied().collect();
        if !left_out.is_empty() {
            list.push(self.more(left_out));
        }
        list
    }

    fn task(&mut self, position: u32) -> Value {
        let task: &Task = &self.recording.model().tasks()[position as usize];
        let mut value = task_json(self.recording, task);
        value["kind"] = "task".into();
        let lists = lists_of(self.recording, self.branches.of(position));
        let (mut children, mut left_out) = (Vec::new(), Vec::new());
        for (nursery, members) in lists {
            if nursery == 0 {
                children.extend(self.list(&members));
            } else if members.iter().all(|&member| self.depth[member as usize] == NONE) {
                left_out.extend(members);
            } else {
                children.push(self.nursery(nursery, &members));
            }
        }
        if !left_out.is_empty() {
            children.push(self.more(left_out));
        }
        value["children"] = children.into();
        value
    }

    fn nursery(&mut self, nursery: u64, members: &[u32]) -> Value {
        let scope = self.recording.model().scope(nursery);
        json!({
            "kind": "nursery",
            "scope": nursery,
            "place": scope.map_or(Value::Null, |scope| self.recording.place_json(scope.place)),
            "count": members.len(),
            "children": self.list(members),
        })
    }

    /// So many more, with all below them.
    fn more(&self, mut left_out: Vec<u32>) -> Value {
        let (mut count, mut failed) = (0u64, 0u64);
        while let Some(position) = left_out.pop() {
            let task = &self.recording.model().tasks()[position as usize];
            count += 1;
            failed += u64::from(task.state == State::Failed);
            left_out.extend(self.branches.of(position));
        }
        json!({"kind": "more", "count": count, "failed": failed})
    }
}
