//! What the tasks did when, as rows of spans, and the turns of the loops: never more than fits into the width asked for.
//!
//! Where a row has more spans than that, each piece of the width shows what took most of its time, and running wins over waiting if it
//! took a quarter: what is rare is looked for.

use serde_json::{json, Value};

use sched::Nanos;

use crate::event::{Kind, LOOP_SHIFT};
use crate::life::{Life, Span};
use crate::model::task::{State, Task};
use crate::queries::{Arguments, Filter, Refused};
use crate::recording::Recording;
use crate::words;

const MOST_ROWS: u64 = 2000;
const MOST_WIDTH: u64 = 10_000;
/// Running, ready, waiting.
const PENDING_STATES: usize = 3;

/// What is looked at: times of the recording's clock, and pieces of equal length.
#[derive(Clone, Copy)]
struct Window {
    from: Nanos,
    to: Nanos,
    pieces: usize,
}

impl Window {
    fn piece(&self, at: Nanos) -> usize {
        let (at, long) = (u128::from(at.saturating_sub(self.from)), u128::from(self.to - self.from));
        ((at * self.pieces as u128 / long.max(1)) as usize).min(self.pieces - 1)
    }

    fn begin_of(&self, piece: usize) -> Nanos {
        self.from + (u128::from(self.to - self.from) * piece as u128 / self.pieces as u128) as Nanos
    }

    fn has(&self, task: &Task) -> bool {
        task.begin <= self.to && task.end >= self.from
    }
}

pub fn answer(recording: &Recording, given: &Arguments<'_>) -> Result<Value, Refused> {
    let length = recording.since_begin(recording.now()).max(1);
    let from = given.number("from", 0)?.min(length - 1);
    let to = given.number("to", length)?.clamp(from + 1, length);
    let first = recording.model().first();
    let pieces = given.number("width", 1000)?.clamp(1, MOST_WIDTH) as usize;
    let window = Window { from: first + from, to: first + to, pieces };
    let mut filter = Filter::new(recording, given.value("filter"))?;
    let tasks = recording.model().tasks();
    let shown: Vec<usize> = (0..tasks.len()).filter(|&at| window.has(&tasks[at]) && filter.takes(&tasks[at])).collect();
    let (offset, rows) = (given.number("offset", 0)? as usize, given.number("rows", 100)?.min(MOST_ROWS) as usize);
    let (total, rows): (usize, Vec<Value>) = if given.flag("group")? {
        let groups = by_group(tasks, &shown);
        let rows = groups.iter().skip(offset).take(rows);
        (groups.len(), rows.map(|(group, members)| group_row(recording, window, *group, members)).collect())
    } else {
        let rows = shown.iter().skip(offset).take(rows);
        (shown.len(), rows.map(|&position| task_row(recording, window, position)).collect())
    };
    Ok(json!({"from": from, "to": to, "rows": rows, "turns": turns(recording, window), "total_rows": total}))
}

// --- Rows -----------------------------------------------------------------------------------------

/// How long each state took in each piece.
struct Pieces {
    window: Window,
    took: Vec<[Nanos; PENDING_STATES]>,
}

impl Pieces {
    fn new(window: Window) -> Pieces {
        Pieces { window, took: vec![[0; PENDING_STATES]; window.pieces] }
    }

    fn add(&mut self, begin: Nanos, end: Nanos, state: State) {
        let (first, last) = (self.window.piece(begin), self.window.piece(end.max(begin.saturating_add(1)) - 1));
        for piece in first..=last {
            let from = begin.max(self.window.begin_of(piece));
            let to = end.min(self.window.begin_of(piece + 1));
            // What took no time has happened nevertheless.
            let took = &mut self.took[piece][state as usize];
            *took = took.saturating_add(to.saturating_sub(from).max(1));
        }
    }

    /// How many tasks were running, ready and waiting, on average: `[begin, end, running, ready, waiting]`.
    fn levels(&self, recording: &Recording) -> Vec<Value> {
        let mut levels: Vec<(Nanos, Nanos, [f64; PENDING_STATES])> = Vec::new();
        for (piece, took) in self.took.iter().enumerate().filter(|(_, took)| **took != [0; PENDING_STATES]) {
            let (begin, end) = (self.window.begin_of(piece), self.window.begin_of(piece + 1));
            let long = end.saturating_sub(begin).max(1) as f64;
            let level = took.map(|took| (took as f64 / long * 100.0).round() / 100.0);
            match levels.last_mut() {
                Some((_, last, same)) if *last == begin && *same == level => *last = end,
                _ => levels.push((begin, end, level)),
            }
        }
        let json = |(begin, end, [running, ready, waiting]): (Nanos, Nanos, [f64; PENDING_STATES])| {
            json!([recording.since_begin(begin), recording.since_begin(end), running, ready, waiting])
        };
        levels.into_iter().map(json).collect()
    }

    fn spans(&self) -> Vec<(Nanos, Nanos, State)> {
        let mut spans: Vec<(Nanos, Nanos, State)> = Vec::new();
        for (piece, took) in self.took.iter().enumerate() {
            let all = took.iter().fold(0, |sum: Nanos, took| sum.saturating_add(*took));
            if all == 0 {
                continue;
            }
            let [running, ready, waiting] = *took;
            let state = if running >= all / 4 && running > 0 {
                State::Running
            } else if ready > waiting {
                State::Ready
            } else {
                State::Waiting
            };
            let (begin, end) = (self.window.begin_of(piece), self.window.begin_of(piece + 1));
            match spans.last_mut() {
                Some((_, last, same)) if *last == begin && *same == state => *last = end,
                _ => spans.push((begin, end, state)),
            }
        }
        spans
    }
}

/// Tells the parts of a task's spans that are in the window.
fn spans_of<'r>(recording: &'r Recording, window: Window, position: usize, mut tell: impl FnMut(Span<'r>)) {
    let task = &recording.model().tasks()[position];
    let mut clipped = |span: Span<'r>| {
        if span.end >= window.from && span.begin < window.to {
            tell(Span { begin: span.begin.max(window.from), end: span.end.min(window.to), ..span });
        }
    };
    let mut life = Life::of(task);
    for event in recording.history().of_task(task.key, position) {
        if event.task() == task.key {
            life.apply(event, &mut clipped);
        }
    }
    life.end(task, recording.now(), &mut clipped);
}

fn task_row(recording: &Recording, window: Window, position: usize) -> Value {
    let task = &recording.model().tasks()[position];
    let mut exact: Vec<Span<'_>> = Vec::new();
    let mut pieces: Option<Pieces> = None;
    spans_of(recording, window, position, |span| match &mut pieces {
        Some(pieces) => pieces.add(span.begin, span.end, span.state),
        None => {
            exact.push(span);
            if exact.len() > window.pieces {
                let mut many = Pieces::new(window);
                exact.iter().for_each(|span| many.add(span.begin, span.end, span.state));
                pieces = Some(many);
            }
        }
    });
    let spans = match pieces {
        Some(pieces) => spans_json(recording, &pieces.spans()),
        None => exact.iter().map(|span| span_json(recording, span)).collect(),
    };
    json!({
        "task": words::id(task.key),
        "label": recording.name(task),
        "coroutine": recording.coroutine(task),
        "state": task.state.name(),
        "begin": recording.since_begin(task.begin),
        "end": recording.since_begin(task.end.min(recording.now())),
        "spans": spans,
    })
}

/// With what it waits for, and where.
fn span_json(recording: &Recording, span: &Span<'_>) -> Value {
    let (begin, end) = (recording.since_begin(span.begin), recording.since_begin(span.end));
    match span.wait {
        Some(wait) => {
            let what = match wait.kind() {
                Some(Kind::WaitTask) => format!("{} to end", recording.who(wait.a)),
                _ => match recording.tables.text(wait.c) {
                    what if what == "sleep" || what.ends_with(".sleep") => "sleep".to_owned(),
                    what => words::thing(what),
                },
            };
            json!([begin, end, span.state.name(), what + &recording.at(", at ", wait.b)])
        }
        None => json!([begin, end, span.state.name()]),
    }
}

fn spans_json(recording: &Recording, spans: &[(Nanos, Nanos, State)]) -> Vec<Value> {
    let json = |&(begin, end, state): &(Nanos, Nanos, State)| {
        json!([recording.since_begin(begin), recording.since_begin(end), state.name()])
    };
    spans.iter().map(json).collect()
}

/// Groups in the order of their first tasks.
fn by_group(tasks: &[Task], shown: &[usize]) -> Vec<(u32, Vec<usize>)> {
    let mut places = crate::by_number::ByNumber::<u64, usize>::default();
    let mut groups: Vec<(u32, Vec<usize>)> = Vec::new();
    for &position in shown {
        let group = tasks[position].group;
        let at = *places.entry(group.into()).or_insert_with(|| {
            groups.push((group, Vec::new()));
            groups.len() - 1
        });
        groups[at].1.push(position);
    }
    groups
}

fn group_row(recording: &Recording, window: Window, group: u32, members: &[usize]) -> Value {
    let tasks = recording.model().tasks();
    let mut pieces = Pieces::new(window);
    for &member in members {
        spans_of(recording, window, member, |span| pieces.add(span.begin, span.end, span.state));
    }
    let mut outcomes = crate::model::task::Outcomes::default();
    members.iter().for_each(|&member| outcomes.add(tasks[member].state.outcome(), 1));
    let name = recording.coroutine(&tasks[members[0]]);
    json!({
        "group": format!("g{group}"),
        "label": format!("{name} ×{}", words::count(members.len() as u64)),
        "place": recording.place_json(tasks[members[0]].started_at),
        "count": members.len(),
        "outcomes": crate::graph::outcomes_json(&outcomes),
        "spans": spans_json(recording, &pieces.spans()),
        "levels": pieces.levels(recording),
    })
}

// --- Turns ----------------------------------------------------------------------------------------

/// `[begin, took, jobs, loop]`: of too many, the longest of each piece, with the jobs of all of them.
fn turns(recording: &Recording, window: Window) -> Vec<Value> {
    let mut turns: Vec<Turn> = Vec::new();
    let mut longest: Vec<Option<Turn>> = Vec::new();
    for turn in recording.history().turns() {
        let (begin, took) = (turn.at, turn.a);
        if begin > window.to || begin.saturating_add(took) < window.from {
            continue;
        }
        turns.push(Turn { begin, took, jobs: turn.b.into(), of_loop: (turn.task() >> LOOP_SHIFT).max(1) });
        if turns.len() > window.pieces {
            merge(&mut longest, &mut turns, window);
        }
    }
    if !longest.is_empty() {
        merge(&mut longest, &mut turns, window);
        turns = longest.into_iter().flatten().collect();
    }
    let json = |turn: Turn| json!([recording.since_begin(turn.begin), turn.took, turn.jobs, turn.of_loop]);
    turns.into_iter().map(json).collect()
}

#[derive(Clone, Copy)]
struct Turn {
    begin: Nanos,
    took: Nanos,
    jobs: u64,
    of_loop: u64,
}

fn merge(longest: &mut Vec<Option<Turn>>, turns: &mut Vec<Turn>, window: Window) {
    longest.resize(window.pieces, None);
    for turn in turns.drain(..) {
        let piece = &mut longest[window.piece(turn.begin)];
        let jobs = piece.map_or(0, |piece| piece.jobs);
        let longer = piece.filter(|longest| longest.took >= turn.took).unwrap_or(turn);
        *piece = Some(Turn { jobs: jobs + turn.jobs, ..longer });
    }
}
