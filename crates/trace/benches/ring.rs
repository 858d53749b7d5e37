//! How many events a second go through the ring, and how many are lost: `cargo bench -p segue-trace`.
//!
//! One thread writes, as a loop would; another empties the ring into a file, as the recorder's thread does. With
//! `SEGUE_BENCH_DIR` the file is there and not in the folder for temporary files.

use std::fs::File;
use std::hint::black_box;
use std::io::{self, Write};
use std::thread;
use std::time::{Duration, Instant};

use trace::event::{Event, Kind};
use trace::file::Writer;
use trace::ring::{flight, streaming, Counts, Reader};

const COUNT: u64 = 30_000_000;
const MEMORY: usize = 16 << 20;
/// Events a second that the ring must hold.
const WANTED: f64 = 10e6;
/// How often the recorder's thread looks.
const PAUSE: Duration = Duration::from_millis(1);

fn main() {
    println!("{COUNT} events, ring of {} MiB, the reader looks every {PAUSE:?}", MEMORY >> 20);
    println!("{:<44} {:>12} {:>10} {:>10} {:>9}", "", "events/s", "ns/event", "lost", "lost %");
    let (writer, view) = flight(MEMORY);
    row("flight recorder, nobody reads", as_fast_as_possible(|event| writer.push(event)), view.counts());
    let path = std::env::var_os("SEGUE_BENCH_DIR").map_or_else(std::env::temp_dir, Into::into);
    let path = path.join(format!("segue-bench-{}.segue", std::process::id()));
    for (how, pace) in [("as fast as possible", f64::INFINITY), ("at 10 million a second", WANTED)] {
        let (took, counts) = through(io::sink(), pace);
        row(&format!("to nowhere, {how}"), took, counts);
        let (took, counts) = through(File::create(&path).expect("the file can be created"), pace);
        row(&format!("to a file, {how}"), took, counts);
    }
    let _ = std::fs::remove_file(path);
}

fn event(number: u64) -> Event {
    Event::new(Kind::Step, number, 1 << 40 | number & 0xffff, 500, number as u32, 1)
}

fn as_fast_as_possible(push: impl Fn(Event)) -> Duration {
    let begin = Instant::now();
    (0..COUNT).for_each(|number| push(black_box(event(number))));
    begin.elapsed()
}

/// Time until the last event was pushed; what was lost.
fn through(to: impl Write + Send + 'static, pace: f64) -> (Duration, Counts) {
    let (writer, reader) = streaming(MEMORY);
    let reading = thread::spawn(move || empty(reader, to));
    let begin = Instant::now();
    if pace.is_infinite() {
        (0..COUNT).for_each(|number| writer.push(black_box(event(number))));
    } else {
        for number in 0..COUNT {
            while number % 100 == 0 && begin.elapsed().as_secs_f64() < number as f64 / pace {
                std::hint::spin_loop();
            }
            writer.push(black_box(event(number)));
        }
    }
    let took = begin.elapsed();
    drop(writer);
    (took, reading.join().expect("the reader doesn't panic"))
}

fn empty(mut reader: Reader, to: impl Write) -> Counts {
    let mut file = Writer::new(to, "{}").expect("the head can be written");
    loop {
        let closed = reader.is_closed();
        reader.drain(&mut |events| file.events(1, events).expect("events can be written"));
        if closed {
            file.finish().expect("the end can be written");
            return reader.counts();
        }
        thread::sleep(PAUSE);
    }
}

fn row(name: &str, took: Duration, counts: Counts) {
    let (rate, each) = (COUNT as f64 / took.as_secs_f64(), took.as_nanos() as f64 / COUNT as f64);
    let lost = 100.0 * counts.lost as f64 / COUNT as f64;
    println!("{name:<44} {rate:>12.0} {each:>10.2} {:>10} {lost:>9.2}", counts.lost);
}
