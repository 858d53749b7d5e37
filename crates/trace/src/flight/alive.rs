//! What there is at one moment, from the events before it: as little of each task as is needed to go on from there.
//!
//! Like the model it believes nothing; unlike the model it forgets each task as soon as that has ended.

use sched::Nanos;

use crate::by_number::ByNumber;
use crate::event::{phase, Event, Key, Kind, Object, Text, LOOP_SHIFT};

/// Scopes and locks of one task.
const MOST_OF_ONE: usize = 1000;

#[derive(Default)]
pub struct Alive {
    tasks: ByNumber<Key, Known>,
    /// By number: the thread's name, and what the loop does (`event::phase`).
    loops: ByNumber<u32, (Text, u32)>,
}

#[derive(Default)]
struct Known {
    start: Option<Event>,
    name: Text,
    nursery: Object,
    wait: Option<Event>,
    /// Words that belong to the cancellation that comes next.
    why: Option<Event>,
    /// Scopes that are open, what it holds, how it was cancelled.
    more: Vec<Event>,
}

impl Alive {
    pub fn is_empty(&self) -> bool {
        self.tasks.is_empty() && self.loops.is_empty()
    }

    pub fn apply(&mut self, loop_number: u32, event: &Event) {
        let key = event.task();
        match event.kind() {
            Some(Kind::Loop) if event.c == phase::CLOSED => {
                self.loops.remove(&loop_number);
            }
            Some(Kind::Loop) => {
                let known = self.loops.entry(loop_number).or_default();
                *known = (if event.b != 0 { event.b } else { known.0 }, event.c);
            }
            Some(Kind::Finish) => {
                self.tasks.remove(&key);
            }
            // It was destroyed.
            Some(Kind::Unheard) if event.c == 1 => {
                self.tasks.remove(&key);
            }
            Some(Kind::Spawn | Kind::Exists) if key != 0 => {
                self.tasks.insert(key, Known { start: Some(*event), ..Known::default() });
            }
            // Of one whose start was lost, that it waits is worth knowing.
            Some(Kind::Wait | Kind::WaitTask) if key != 0 => {
                self.tasks.entry(key).or_default().wait = Some(*event);
            }
            Some(kind) => {
                if let Some(task) = self.tasks.get_mut(&key) {
                    task.apply(kind, event);
                }
            }
            None => {}
        }
    }

    /// As events of the time `at`: loops, then tasks in the order in which they were made.
    pub fn write<E>(&self, at: Nanos, take: &mut impl FnMut(u32, &[Event]) -> Result<(), E>) -> Result<(), E> {
        let mut loops: Vec<_> = self.loops.iter().collect();
        loops.sort_unstable();
        for (&number, &(thread, phase)) in loops {
            take(number, &[Event::new(Kind::Loop, at, 0, number.into(), thread, phase)])?;
        }
        let mut tasks: Vec<_> = self.tasks.iter().collect();
        tasks.sort_unstable_by_key(|(&key, _)| key);
        let mut events = Vec::new();
        for of_loop in tasks.chunk_by(|(a, _), (b, _)| *a >> LOOP_SHIFT == *b >> LOOP_SHIFT) {
            events.clear();
            of_loop.iter().for_each(|(&key, task)| task.exists(at, key, &mut events));
            of_loop.iter().for_each(|(&key, task)| task.does(at, key, &mut events));
            take((of_loop[0].0 >> LOOP_SHIFT) as u32, &events)?;
        }
        Ok(())
    }

    /// 0 for what isn't known.
    pub fn name_of(&self, task: Key) -> (Text, Text) {
        self.tasks.get(&task).map_or((0, 0), |task| (task.name, task.start.map_or(0, |start| start.c)))
    }
}

impl Known {
    fn apply(&mut self, kind: Kind, event: &Event) {
        match kind {
            Kind::Name => self.name = event.c,
            Kind::Child => self.nursery = event.a,
            Kind::Wake => self.wait = None,
            Kind::Why => self.why = Some(*event),
            Kind::Cancel => {
                // Of several requests the last counts.
                self.more.retain(|known| !matches!(known.kind(), Some(Kind::Cancel | Kind::Why)));
                self.more.extend(self.why.take());
                self.more.push(*event);
            }
            Kind::ScopeOpen | Kind::Hold => {
                // Where events were lost, so were ends of scopes.
                if self.more.len() >= MOST_OF_ONE {
                    self.more.remove(0);
                }
                self.more.push(*event);
            }
            // A nursery's is opened twice, as a cancel scope and as a nursery.
            Kind::ScopeClose => {
                self.more.retain(|known| !(known.kind() == Some(Kind::ScopeOpen) && known.a == event.a))
            }
            Kind::Release => self.releases(event.a),
            _ => {}
        }
    }

    fn releases(&mut self, object: Object) {
        let is_it = |known: &Event| known.kind() == Some(Kind::Hold) && known.a == object;
        if let Some(at) = self.more.iter().rposition(is_it) {
            self.more.remove(at);
        }
    }

    fn exists(&self, at: Nanos, key: Key, to: &mut Vec<Event>) {
        if let Some(start) = self.start {
            to.push(Event::new(Kind::Exists, at, key, start.a, start.b, start.c));
        }
        if self.name != 0 {
            to.push(Event::new(Kind::Name, at, key, 0, 0, self.name));
        }
        // Before the tasks that are in them.
        let scopes = self.more.iter().filter(|event| event.kind() == Some(Kind::ScopeOpen));
        to.extend(scopes.map(|event| moved(event, at)));
    }

    fn does(&self, at: Nanos, key: Key, to: &mut Vec<Event>) {
        if self.nursery != 0 {
            to.push(Event::new(Kind::Child, at, key, self.nursery, 0, 0));
        }
        let others = self.more.iter().filter(|event| event.kind() != Some(Kind::ScopeOpen));
        to.extend(others.chain(&self.wait).map(|event| moved(event, at)));
    }
}

fn moved(event: &Event, at: Nanos) -> Event {
    let mut event = *event;
    event.at = at;
    event
}
