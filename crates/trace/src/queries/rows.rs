//! The tasks as rows of a terminal: a tree of those that are alive, or a list. Of a hundred thousand tasks only the rows that are asked
//! for are made; siblings that were started by the same line are one row, until somebody opens it.

use std::collections::{HashMap, HashSet};

use serde_json::{json, Value};

use crate::event::{Place, Text};
use crate::model::task::{State, Task, WaitsFor};
use crate::recording::Recording;
use crate::words;

use super::tasks::{sorted_by, task_json};
use super::tree::{lists_of, owner, Branches};
use super::{Arguments, Filter, Refused};

/// So many siblings that are alike are still shown one by one.
const ALIKE: u64 = 5;
/// What is nested deeper hangs where it is.
const DEEPEST: usize = 60;

/// A row before it is made into JSON.
struct Row {
    /// Lines that lead to it, in box characters.
    lead: String,
    what: What,
}

enum What {
    Task(u32),
    Nursery {
        scope: u64,
        count: usize,
    },
    /// Tasks that are alike, by their positions.
    Group {
        group: u32,
        members: Vec<u32>,
    },
}

/// Arguments: `flat` (a list without nurseries), `sort` (as for "tasks"; default: by begin), `filter` (as for "tasks"), `all` (also what
/// has ended), `open` (groups to be shown task by task: `["g5"]`), `alike` (how many siblings are shown before they are one row; 0: all),
/// `offset`, `limit`, and `find` (a task's number: the answer says in `found` in which row it is).
pub fn rows(recording: &Recording, given: &Arguments<'_>) -> Result<Value, Refused> {
    let mut filter = Filter::new(recording, given.value("filter"))?;
    let all = given.flag("all")?;
    let tasks = recording.model().tasks();
    let mut is_meant: Vec<bool> =
        tasks.iter().map(|task| (all || task.state.is_pending()) && filter.takes(task)).collect();
    let meant = is_meant.iter().filter(|meant| **meant).count();
    let by = given.text("sort")?;
    let rows = if given.flag("flat")? {
        let found = tasks.iter().zip(&is_meant).filter(|(_, meant)| **meant).map(|(task, _)| task).collect();
        let found = sorted_by(recording, found, by)?;
        let row = |task: &Task| recording.model().position(task.key).map(|position| What::Task(position as u32));
        found.into_iter().filter_map(row).map(|what| Row { lead: String::new(), what }).collect()
    } else {
        let owners: Vec<Option<usize>> = (0..tasks.len()).map(|position| owner(recording, position)).collect();
        for position in (0..tasks.len()).rev() {
            if let (true, Some(owner)) = (is_meant[position], owners[position]) {
                is_meant[owner] = true;
            }
        }
        let alike = match given.number("alike", ALIKE)? {
            0 => u64::MAX,
            alike => alike,
        };
        let open = given.texts("open")?.into_iter().filter_map(|group| group.strip_prefix('g')?.parse().ok()).collect();
        let mut growing = Growing {
            recording,
            branches: Branches::new(&owners, &is_meant),
            order: order_of(recording, by)?,
            alike: alike as usize,
            open,
            rows: Vec::new(),
        };
        let roots = growing.branches.roots.clone();
        growing.siblings(roots, "", true, 0);
        growing.rows
    };
    let found = match given.value("find") {
        None => None,
        Some(_) => {
            let position = recording.model().position(given.task("find")?).map(|position| position as u32);
            let is_it = |row: &Row| match &row.what {
                What::Task(task) => Some(*task) == position,
                What::Group { members, .. } => position.is_some_and(|position| members.contains(&position)),
                What::Nursery { .. } => false,
            };
            rows.iter().position(is_it)
        }
    };
    let (offset, limit) = (given.number("offset", 0)? as usize, given.number("limit", 100)? as usize);
    let shown = rows.iter().skip(offset).take(limit).map(|row| row_json(recording, row)).collect::<Vec<_>>();
    Ok(json!({"total": rows.len(), "tasks": meant, "rows": shown, "found": found}))
}

/// Where each task is in a list of all of them sorted like this; None: as they began.
fn order_of(recording: &Recording, by: &str) -> Result<Option<HashMap<u64, usize>>, Refused> {
    if by.is_empty() || by == "begin" {
        return Ok(None);
    }
    let sorted = sorted_by(recording, recording.model().tasks().iter().collect(), by)?;
    Ok(Some(sorted.into_iter().enumerate().map(|(at, task)| (task.key, at)).collect()))
}

struct Growing<'r> {
    recording: &'r Recording,
    branches: Branches,
    order: Option<HashMap<u64, usize>>,
    alike: usize,
    open: HashSet<u32>,
    rows: Vec<Row>,
}

impl Growing<'_> {
    fn siblings(&mut self, mut members: Vec<u32>, lead: &str, is_top: bool, depth: usize) {
        let tasks = self.recording.model().tasks();
        if let Some(order) = &self.order {
            members.sort_by_key(|&position| order.get(&tasks[position as usize].key).copied().unwrap_or(usize::MAX));
        }
        let mut sizes: HashMap<u32, usize> = HashMap::new();
        for &position in &members {
            *sizes.entry(tasks[position as usize].group).or_default() += 1;
        }
        let mut items: Vec<What> = Vec::new();
        let mut groups: HashMap<u32, usize> = HashMap::new();
        for position in members {
            let group = tasks[position as usize].group;
            if sizes[&group] <= self.alike {
                items.push(What::Task(position));
                continue;
            }
            match groups.get(&group).map(|&at| &mut items[at]) {
                Some(What::Group { members, .. }) => members.push(position),
                _ => {
                    groups.insert(group, items.len());
                    items.push(What::Group { group, members: vec![position] });
                }
            }
        }
        let last = items.len().saturating_sub(1);
        for (at, item) in items.into_iter().enumerate() {
            self.item(item, lead, is_top, at == last, depth);
        }
    }

    fn item(&mut self, item: What, lead: &str, is_top: bool, is_last: bool, depth: usize) {
        let (own, below) = leads(lead, is_top, is_last, depth);
        match item {
            What::Task(position) => {
                self.rows.push(Row { lead: own, what: What::Task(position) });
                self.children(position, &below, depth + 1);
            }
            What::Group { group, members } => {
                let is_open = self.open.contains(&group);
                let shown = if is_open { members.clone() } else { Vec::new() };
                self.rows.push(Row { lead: own, what: What::Group { group, members } });
                let last = shown.len().saturating_sub(1);
                for (at, position) in shown.into_iter().enumerate() {
                    self.item(What::Task(position), &below, false, at == last, depth + 1);
                }
            }
            What::Nursery { .. } => {}
        }
    }

    fn children(&mut self, position: u32, lead: &str, depth: usize) {
        let lists = lists_of(self.recording, self.branches.of(position));
        let last = lists.len().saturating_sub(1);
        for (at, (scope, members)) in lists.into_iter().enumerate() {
            if scope == 0 {
                // Those of no nursery, between those that are in one.
                let members_last = at == last;
                self.siblings_in_between(members, lead, members_last, depth);
                continue;
            }
            let (own, below) = leads(lead, false, at == last, depth);
            self.rows.push(Row { lead: own, what: What::Nursery { scope, count: members.len() } });
            self.siblings(members, &below, false, depth + 1);
        }
    }

    fn siblings_in_between(&mut self, members: Vec<u32>, lead: &str, is_end: bool, depth: usize) {
        let from = self.rows.len();
        self.siblings(members, lead, false, depth);
        if is_end {
            return;
        }
        // More follows: what was drawn as the last is none.
        let (end, line) = (format!("{lead}└─ "), format!("{lead}   "));
        let Some(at) = (from..self.rows.len()).rev().find(|&at| self.rows[at].lead == end) else { return };
        for row in &mut self.rows[at..] {
            if row.lead == end {
                row.lead = format!("{lead}├─ ");
            } else if row.lead.starts_with(&line) {
                row.lead = format!("{lead}│  {}", &row.lead[line.len()..]);
            }
        }
    }
}

/// Of an item and of what hangs on it.
fn leads(lead: &str, is_top: bool, is_last: bool, depth: usize) -> (String, String) {
    if is_top || depth > DEEPEST {
        return (lead.to_owned(), lead.to_owned());
    }
    let (own, below) = if is_last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
    (format!("{lead}{own}"), format!("{lead}{below}"))
}

fn row_json(recording: &Recording, row: &Row) -> Value {
    let mut made = match &row.what {
        What::Task(position) => {
            let mut task = task_json(recording, &recording.model().tasks()[*position as usize]);
            task["kind"] = "task".into();
            task
        }
        What::Nursery { scope, count } => {
            let known = recording.model().scope(*scope);
            json!({
                "kind": "nursery",
                "scope": scope,
                "place": known.map_or(Value::Null, |scope| recording.place_json(scope.place)),
                "count": count,
            })
        }
        What::Group { group, members } => group_json(recording, *group, members),
    };
    made["lead"] = row.lead.as_str().into();
    made
}

fn group_json(recording: &Recording, group: u32, members: &[u32]) -> Value {
    let tasks = || members.iter().map(|&position| &recording.model().tasks()[position as usize]);
    let mut states = serde_json::Map::new();
    for state in State::ALL {
        let count = tasks().filter(|task| task.state == state).count();
        if count > 0 {
            states.insert(state.name().to_owned(), count.into());
        }
    }
    let mut waits: HashMap<(WaitsFor, Text, Place), (u64, u64)> = HashMap::new();
    for task in tasks().filter(|task| task.state == State::Waiting) {
        let (count, since) = waits.entry((task.wait, task.wait_what, task.wait_at)).or_insert((0, u64::MAX));
        *count += 1;
        *since = (*since).min(task.since);
    }
    let most = waits.into_iter().max_by_key(|&((_, what, place), (count, _))| (count, what, place));
    let waits_for = most.map(|((wait, what, place), (count, since))| {
        let what = if wait == WaitsFor::Task { "a task".to_owned() } else { words::thing(recording.tables.text(what)) };
        json!({
            "thing": what,
            "place": recording.place_json(place),
            "count": count,
            "since": recording.since_begin(since),
        })
    });
    let first = tasks().next();
    json!({
        "kind": "group",
        "group": format!("g{group}"),
        "count": members.len(),
        "coroutine": first.map(|task| recording.coroutine(task)),
        "started_at": first.map_or(Value::Null, |task| recording.place_json(task.started_at)),
        "states": states,
        "waits_for": waits_for,
        "busy": tasks().map(|task| task.busy).sum::<u64>(),
        "steps": tasks().map(|task| u64::from(task.steps)).sum::<u64>(),
        "wakes": tasks().map(|task| u64::from(task.wakes)).sum::<u64>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{scope, Definition, Event, Kind};

    /// Task 1 with two tasks of its own around a nursery of ten and one more.
    fn sample() -> Recording {
        let mut recording = Recording::new();
        recording.define(Definition::Text { number: 1, text: "main".into() });
        recording.define(Definition::Text { number: 2, text: "fetch".into() });
        recording.define(Definition::Text { number: 3, text: "single".into() });
        let mut at = 0;
        let mut tell = |kind, task, a, b, c| {
            at += 1;
            recording.apply(Event::new(kind, at, task, a, b, c));
        };
        tell(Kind::Spawn, 1, 0, 0, 1);
        tell(Kind::Spawn, 2, 1, 0, 3);
        tell(Kind::ScopeOpen, 1, 77, 0, scope::NURSERY);
        for task in 10..20 {
            tell(Kind::Spawn, task, 1, 0, 2);
            tell(Kind::Child, task, 77, 0, 0);
        }
        tell(Kind::Spawn, 30, 1, 0, 3);
        recording
    }

    fn lines(recording: &Recording, arguments: Value) -> Vec<String> {
        let answer = recording.answer("rows", &arguments).unwrap();
        let line = |row: &Value| {
            let word = |name: &str| row[name].as_str().unwrap_or("").to_owned();
            format!("{}{} {}{}", word("lead"), word("kind"), word("id"), row["count"])
        };
        answer["rows"].as_array().unwrap().iter().map(line).collect()
    }

    #[test]
    fn siblings_that_are_alike_are_one_row() {
        let expected = ["task 0.1null", "├─ task 0.2null", "├─ task 0.30null", "└─ nursery 10", "   └─ group 10"];
        assert_eq!(lines(&sample(), json!({})), expected);
    }

    #[test]
    fn an_opened_group_shows_its_tasks_and_a_filter_what_leads_to_what_it_finds() {
        let opened = lines(&sample(), json!({"open": ["g2"], "offset": 5, "limit": 2}));
        assert_eq!(opened, ["      ├─ task 0.10null", "      ├─ task 0.11null"]);
        assert_eq!(lines(&sample(), json!({"filter": "0.30"})), ["task 0.1null", "└─ task 0.30null"]);
    }

    #[test]
    fn a_list_is_sorted_and_has_no_nurseries() {
        let listed = lines(&sample(), json!({"flat": true, "sort": "-begin", "limit": 2}));
        assert_eq!(listed, ["task 0.30null", "task 0.19null"]);
        let answer = sample().answer("rows", &json!({"find": "0.12", "limit": 0})).unwrap();
        assert_eq!((answer["found"].as_u64(), answer["total"].as_u64()), (Some(4), Some(5)));
    }
}
