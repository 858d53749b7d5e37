//! Events that no program would write: nothing panics, and what is promised of every recording holds.

use proptest::prelude::*;
use serde_json::{json, Value};

use trace::event::{Definition, Event, Key, Kind, Owner, LOOP_SHIFT};
use trace::export::Format;
use trace::graph::{graph, Wanted};
use trace::life::Life;
use trace::model::task::{Outcome, NEVER};
use trace::recording::Limits;
use trace::Recording;

use super::graph::check_layout;

fn key() -> impl Strategy<Value = Key> {
    prop_oneof![
        8 => 1..8u64,
        8 => (1..8u64).prop_map(|number| 1 << LOOP_SHIFT | number),
        1 => Just(0),
        1 => any::<u64>(),
    ]
}

fn number() -> impl Strategy<Value = u32> {
    prop_oneof![8 => 0..8u32, 1 => any::<u32>()]
}

/// Mostly a little after the last event; sometimes before it, sometimes anywhen.
fn step_in_time() -> impl Strategy<Value = i64> {
    prop_oneof![20 => 0..1000i64, 3 => -500..0i64, 1 => any::<i64>()]
}

fn event() -> impl Strategy<Value = (i64, Event)> {
    let kind = prop_oneof![20 => (0..Kind::ALL.len()).prop_map(|at| Kind::ALL[at]), 10 => Just(Kind::Step)];
    (step_in_time(), kind, key(), prop_oneof![4 => key(), 4 => 0..2000u64, 1 => any::<u64>()], number(), number())
        .prop_map(|(later, kind, task, a, b, c)| (later, Event::new(kind, 0, task, a, b, c)))
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    prop::collection::vec(event(), 0..200).prop_map(|events| {
        let mut now: u64 = 1_000_000;
        let timed = events.into_iter().map(|(later, mut event)| {
            now = now.saturating_add_signed(later);
            event.at = now;
            event
        });
        timed.collect()
    })
}

/// What no Segue that we know writes, too.
fn raw() -> impl Strategy<Value = Vec<Event>> {
    let bytes = prop::array::uniform32(any::<u8>()).prop_map(|bytes| Event::from_bytes(&bytes));
    prop::collection::vec(bytes, 0..50)
}

fn define(recording: &mut Recording) {
    for number in 1..8 {
        let text = ["Lock.acquire", "sleep", "a \"b\" <c>; \n", "/x/y.py", "main", "", "É\u{0}"][number as usize - 1];
        recording.define(Definition::Text { number, text: text.into() });
        let place = Definition::Place { number, file: 4, line: number, function: 5, owner: Owner::Program };
        recording.define(place);
    }
}

fn check(mut recording: Recording, is_whole: bool) {
    let model = recording.model();
    let count = |outcome| model.outcomes().of(outcome);
    if is_whole {
        let ended = model.tasks().iter().filter(|task| task.end != NEVER).count() as u64;
        assert_eq!(model.outcomes().total(), model.tasks().len() as u64);
        assert_eq!(ended, count(Outcome::Finished) + count(Outcome::Failed) + count(Outcome::Cancelled));
    }
    let in_groups: u64 = model.groups().all().iter().map(|group| group.outcomes.total()).sum();
    assert_eq!(in_groups, model.outcomes().total());
    for (position, task) in model.tasks().iter().enumerate() {
        assert_eq!(task.state.is_pending(), task.end == NEVER);
        assert!(task.end >= task.begin);
        let mut last = task.begin;
        let mut check = |span: trace::life::Span<'_>| {
            assert!(span.begin >= last && span.end >= span.begin, "{span:?}");
            last = span.end;
        };
        let mut life = Life::of(task);
        for event in recording.history().of_task(task.key, position).filter(|event| event.task() == task.key) {
            life.apply(event, &mut check);
        }
        life.end(task, recording.now(), &mut check);
        let id = trace::words::id(task.key);
        if trace::words::key(&id).is_some() {
            let told = recording.answer("task", &json!({"id": id})).unwrap();
            assert!(told["story"].as_array().unwrap().len() >= 2);
        }
    }
    for question in ["summary", "tasks", "tree", "graph", "timeline", "search", "warnings", "stats"] {
        let answer = recording.answer(question, &Value::Null).unwrap().to_string();
        assert!(serde_json::from_str::<Value>(&answer).is_ok());
    }
    recording.answer("timeline", &json!({"width": 7, "group": true})).unwrap();
    recording.answer("tree", &json!({"limit": 3, "pending": true})).unwrap();
    for limit in [10, 300] {
        let wanted = Wanted { expand: ["g0", "g1", "g2", "n", "x"].into(), focus: "g1", limit, ..Wanted::default() };
        check_layout(&graph(&recording, &wanted));
        check_layout(&graph(&recording, &Wanted { focus: "", ..wanted }));
    }
    for format in Format::ALL {
        recording.export(format, &Wanted::default(), &mut Vec::new()).unwrap();
    }
}

/// Each asks everything, so few by default; more with PROPTEST_CASES=2000.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(80)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), ..ProptestConfig::default() })]

    #[test]
    fn whatever_a_file_says_is_read(events in events()) {
        let mut recording = Recording::new();
        define(&mut recording);
        recording.apply_all(events);
        recording.index();
        check(recording, true);
    }

    #[test]
    fn whatever_a_program_does_is_seen(events in events()) {
        let mut recording = Recording::live(Limits { tasks: 4, events: 50 });
        define(&mut recording);
        events.iter().for_each(|event| recording.apply(*event));
        check(recording, false);
    }

    #[test]
    fn any_bytes_are_read(one in raw(), other in events(), third in raw()) {
        let mut recording = Recording::new();
        [one, other, third].into_iter().for_each(|events| recording.apply_all(events));
        check(recording, true);
    }
}
