//! Sums as JSON: per place of code, per thing waited for, per callback, per loop.

use serde_json::{json, Value};

use crate::model::totals::{unpair, Loop, Took, Totals};
use crate::recording::Recording;
use crate::words;

/// So many entries of each table, the heaviest first.
const MOST: usize = 200;

pub fn stats(recording: &Recording) -> Value {
    let totals = recording.model().totals();
    let mut code: Vec<_> = totals.code.iter().collect();
    code.sort_by_key(|(&key, code)| (std::cmp::Reverse((code.busy, code.started)), key));
    let code = code.into_iter().take(MOST).map(|(&key, code)| {
        let (coroutine, place) = unpair(key);
        json!({
            "coroutine": recording.code_name(coroutine),
            "place": recording.place_json(place),
            "started": code.started,
            "finished": code.finished,
            "failed": code.failed,
            "cancelled": code.cancelled,
            "pending": code.started.saturating_sub(code.finished + code.failed + code.cancelled),
            "steps": code.steps,
            "busy": code.busy,
            "longest_step": code.longest_step,
            "wakes": code.wakes,
        })
    });
    let mut queues: Vec<_> = totals.queues.iter().collect();
    queues.sort_by_key(|(&object, &(items, _))| (std::cmp::Reverse(items), object));
    let queues = queues.into_iter().take(MOST).map(
        |(&object, &(items, place))| json!({"object": object, "items": items, "place": recording.place_json(place)}),
    );
    json!({
        "code": code.collect::<Vec<_>>(),
        "waits": sorted(recording, totals.waits.iter()),
        "callbacks": sorted(recording, totals.callbacks.iter()),
        "queues": queues.collect::<Vec<_>>(),
        "loops": recording.model().loops().iter().map(|of_loop| loop_json(recording, of_loop)).collect::<Vec<_>>(),
    })
}

fn sorted<'t>(recording: &Recording, table: impl Iterator<Item = (&'t u64, &'t Took)>) -> Vec<Value> {
    let mut entries: Vec<_> = table.collect();
    entries.sort_by_key(|(&key, took)| (std::cmp::Reverse(took.total), key));
    let entry = |(&key, took): (&u64, &Took)| {
        let (what, place) = unpair(key);
        let what = match recording.tables.text(what) {
            _ if what == Totals::TASK => "task".to_owned(),
            "" => "unknown".to_owned(),
            what => words::one_line(what),
        };
        let place = recording.place_json(place);
        json!({"what": what, "place": place, "count": took.count, "total": took.total, "longest": took.longest})
    };
    entries.into_iter().take(MOST).map(entry).collect()
}

pub fn loop_json(recording: &Recording, of_loop: &Loop) -> Value {
    let (turns, delays) = (&of_loop.turns, &of_loop.delays);
    json!({
        "loop": of_loop.number,
        "thread": recording.tables.text(of_loop.thread),
        "state": if of_loop.closed { "closed" } else if of_loop.runs { "running" } else { "stopped" },
        "turns": turns.took.count,
        "jobs": of_loop.jobs,
        "busy": turns.took.total,
        "waited": of_loop.waited,
        "lost": of_loop.lost,
        "turn": {
            "p50": turns.quantile(0.5), "p99": turns.quantile(0.99),
            "longest": turns.took.longest, "longest_at": recording.since_begin(of_loop.longest_turn_at),
        },
        "lag": {
            "count": delays.took.count, "total": delays.took.total,
            "p50": delays.quantile(0.5), "p99": delays.quantile(0.99), "longest": delays.took.longest,
            "shorter_than": delays.shorter_than().collect::<Vec<_>>(),
        },
    })
}
