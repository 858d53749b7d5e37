//! A recording comes back from its file as it was written, and of a damaged file comes back what is not damaged.

use std::io::{self, Read};

use proptest::prelude::*;
use trace::event::{Definition, Event, Kind, Owner, LOOP_SHIFT, SIZE};
use trace::file::{Block, Contents, Error, Reader, Writer, BLOCK_MAGIC, LIMIT, LONGEST_TEXT, MAGIC, VERSION};

const INFO: &str = r#"{"program":"app.py"}"#;
const HEAD: usize = 16;
const BLOCK_HEAD: usize = 24;

fn event(number: u64) -> Event {
    Event::new(Kind::Wake, number, (1 << LOOP_SHIFT) + number, number * 3, 7, number as u32)
}

fn text(number: u32, text: &str) -> Definition {
    Definition::Text { number, text: text.into() }
}

/// A file of `blocks` blocks of events of five events each, with definitions before each; finished.
fn file(blocks: u64) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new(), INFO).unwrap();
    for block in 0..blocks {
        writer.definitions(&[text(block as u32 + 1, "worker"), place(block as u32 + 1)]).unwrap();
        writer.events(1, &(block * 5..block * 5 + 5).map(event).collect::<Vec<_>>()).unwrap();
        writer.flush().unwrap();
    }
    writer.finish().unwrap()
}

fn place(number: u32) -> Definition {
    Definition::Place { number, file: 1, line: 10 * number, function: 2, owner: Owner::Library }
}

fn block(contents: u32, loop_number: u32, body: &[u8]) -> Vec<u8> {
    let mut block = BLOCK_MAGIC.to_vec();
    for number in [contents, loop_number, body.len() as u32, crc32fast::hash(body)] {
        block.extend_from_slice(&number.to_le_bytes());
    }
    block.extend_from_slice(&crc32fast::hash(&block).to_le_bytes());
    block.extend_from_slice(body);
    block
}

/// Where each block begins, and the end of the last.
fn borders(file: &[u8]) -> Vec<usize> {
    let mut borders = vec![HEAD];
    while *borders.last().unwrap() < file.len() {
        let at = *borders.last().unwrap();
        let length = u32::from_le_bytes(file[at + 12..at + 16].try_into().unwrap());
        borders.push(at + BLOCK_HEAD + length as usize);
    }
    borders
}

/// Gives as many bytes as are asked for, but at most so many; then an error, if there is one.
struct Slow<'a>(&'a [u8], usize, Option<io::ErrorKind>);

impl Read for Slow<'_> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let count = to.len().min(self.1).min(self.0.len());
        let (now, later) = self.0.split_at(count);
        to[..count].copy_from_slice(now);
        self.0 = later;
        match self.2 {
            Some(kind) if count == 0 => Err(kind.into()),
            _ => Ok(count),
        }
    }
}

#[test]
fn what_was_written_is_read() {
    let mut writer = Writer::new(Vec::new(), "{}").unwrap();
    writer.information(INFO).unwrap();
    writer.definitions(&[text(1, "app.py"), text(2, "ham & \u{1f95a}"), place(1)]).unwrap();
    let late = Event::new(Kind::Turn, 5, 0, 100, 3, 0);
    writer.events(1, &[event(10), late]).unwrap();
    writer.events(2, &[Event::new(Kind::Lost, 7, 0, 40, 0, 0), event(10), event(3)]).unwrap();
    let bytes = writer.finish().unwrap();
    for step in [1, 7, usize::MAX] {
        let recording = Contents::read(Slow(&bytes, step, None)).unwrap();
        assert_eq!(recording.info, INFO);
        assert_eq!((recording.tables.text(1), recording.tables.text(2)), ("app.py", "ham & \u{1f95a}"));
        let row = recording.tables.place(1).unwrap();
        assert_eq!((row.file, row.line, row.function, row.owner), (1, 10, 2, Owner::Library));
        let turn = Event::new(Kind::Turn, 5, 1 << LOOP_SHIFT, 100, 3, 0);
        let lost = Event::new(Kind::Lost, 7, 2 << LOOP_SHIFT, 40, 0, 0);
        assert_eq!(recording.events, [event(3), lost, event(10), event(10), turn]);
        assert_eq!((recording.lost, recording.skipped, recording.complete), (40, 0, true));
        assert_eq!(recording.damage, [""; 0]);
    }
}

#[test]
fn many_events_are_many_blocks_and_definitions_come_first() {
    let mut writer = Writer::new(Vec::new(), "").unwrap();
    let events: Vec<_> = (0..10_000).map(event).collect();
    writer.events(1, &events[..3]).unwrap();
    writer.definitions(&[text(1, "a")]).unwrap();
    writer.events(1, &events[3..]).unwrap();
    let bytes = writer.finish().unwrap();
    let mut reader = Reader::new(&bytes[..]).unwrap();
    let blocks: Vec<_> = reader.by_ref().collect();
    assert_eq!(blocks[..2], [Block::Information("".into()), Block::Definitions(vec![text(1, "a")])]);
    let sizes = blocks[2..].iter().map(|block| match block {
        Block::Events { loop_number: 1, events } => events.len(),
        other => panic!("{other:?}"),
    });
    assert_eq!(sizes.collect::<Vec<_>>(), [2048, 2048, 2048, 2048, 1808]);
    assert!(reader.is_complete());
}

#[test]
fn long_texts_are_cut_between_characters_and_long_information_is_refused() {
    let long = "\u{20ac}".repeat(LONGEST_TEXT);
    let mut writer = Writer::new(Vec::new(), "").unwrap();
    writer.definitions(&vec![text(1, &format!("ab{long}")); 40]).unwrap();
    let recording = Contents::read(&writer.finish().unwrap()[..]).unwrap();
    let expected = format!("ab{}", &long[..LONGEST_TEXT - 3]);
    assert!(recording.tables.text(1) == expected && recording.complete);
    assert_eq!(Writer::new(Vec::new(), &"x".repeat(LIMIT)).err().map(|e| e.kind()), None);
    let refused = Writer::new(Vec::new(), &"x".repeat(LIMIT + 1)).err();
    assert_eq!(refused.map(|e| e.kind()), Some(io::ErrorKind::InvalidInput));
}

#[test]
fn a_file_that_was_cut_off_is_read_up_to_the_last_whole_block() {
    let bytes = file(4);
    let borders = borders(&bytes);
    assert_eq!(borders.len(), 1 + 1 + 4 * 2 + 1);
    for length in 0..bytes.len() {
        let cut = Contents::read(&bytes[..length]);
        if length < HEAD {
            assert!(matches!(cut, Err(Error::Cut { bytes }) if bytes == length));
            continue;
        }
        let cut = cut.unwrap();
        let whole = borders.iter().filter(|&&border| border <= length).count() - 1;
        let blocks_of_events = whole.saturating_sub(1) / 2;
        assert_eq!(cut.events, (0..blocks_of_events as u64 * 5).map(event).collect::<Vec<_>>());
        assert_eq!((cut.complete, &cut.damage[..]), (false, &[][..]));
    }
}

#[test]
fn every_damaged_byte_is_noticed_and_costs_one_block_at_most() {
    let bytes = file(3);
    let (borders, whole) = (borders(&bytes), Contents::read(&bytes[..]).unwrap());
    for at in 0..bytes.len() {
        for mask in [0x01, 0x80, 0xff] {
            let mut bytes = bytes.clone();
            bytes[at] ^= mask;
            let read = Contents::read(&bytes[..]).unwrap();
            assert!(!read.damage.is_empty(), "byte {at}");
            let damaged = borders.iter().rposition(|&border| border <= at).map_or(0, |place| borders[place]);
            assert!(read.damage[0].starts_with(&format!("at byte {damaged}: ")), "{:?}", read.damage);
            assert!(read.events.len() + 5 >= whole.events.len());
            assert!(read.events.iter().all(|event| whole.events.contains(event)));
            assert_eq!(read.complete, at < borders[borders.len() - 2]);
        }
    }
}

#[test]
fn the_damage_is_told_in_words() {
    let bytes = file(2);
    let at = borders(&bytes)[3];
    let (mut wrong, mut missing, mut hole) = (bytes.clone(), bytes.clone(), bytes.clone());
    wrong[at + 30] ^= 1;
    missing.drain(at + 50..at + 60);
    hole[at..at + 10].fill(0);
    let length = borders(&bytes)[4] - at;
    for (bytes, what, left_out) in [
        (&wrong, "the checksum of a block (definitions) is wrong", length),
        (&missing, "the checksum of a block (definitions) is wrong", length - 10),
        (&hole, "no block begins here", length),
    ] {
        let read = Contents::read(&bytes[..]).unwrap();
        assert_eq!(read.damage, [format!("at byte {at}: {what}; {left_out} bytes are left out")]);
        assert!(read.events.len() == 10 && read.complete);
    }
    let (before, after) = (borders(&bytes)[4], borders(&bytes)[5]);
    let read = Contents::read(&[&bytes[..before], &bytes[after..]].concat()[..]).unwrap();
    assert_eq!(read.damage, [format!("at byte {before}: 5 of 10 events are missing")]);
    let read = Contents::read(&[&bytes[..], b"?"].concat()[..]).unwrap();
    assert_eq!(read.damage, [format!("at byte {}: something follows the end", bytes.len())]);
    let read = Contents::read(Slow(&bytes[..at + 10], 100, Some(io::ErrorKind::TimedOut))).unwrap();
    assert_eq!(read.damage, [format!("at byte {}: reading failed: timed out", at + 10)]);
    assert!(!read.complete);
}

#[test]
fn two_files_in_one_lose_only_what_is_between() {
    // A process was killed in the middle of a block, and another went on writing behind it.
    let (bytes, at) = (file(2), borders(&file(2))[4]);
    let joined = [&bytes[..at + 40], &bytes[at..]].concat();
    let read = Contents::read(&joined[..]).unwrap();
    assert_eq!(
        read.damage,
        [format!("at byte {at}: the checksum of a block (events) is wrong; 40 bytes are left out")]
    );
    assert!(read.events.len() == 10 && read.complete);
}

#[test]
fn what_is_no_recording_is_refused() {
    let why = |bytes: &[u8]| Contents::read(bytes).map(|_| ()).unwrap_err().to_string();
    assert_eq!(why(b""), "it was cut off at byte 0, within its head: there is nothing to be read");
    assert_eq!(why(b"{}"), "it is not a recording: at byte 0 it doesn't begin as one");
    assert_eq!(why(&[b'x'; 5000]), "it is not a recording: at byte 0 it doesn't begin as one");
    let as_text = file(2).split(|&byte| byte == b'\r').collect::<Vec<_>>().concat();
    assert_eq!(why(&as_text), "at byte 5 its line ends were changed: it was transferred as text, not as it is");
    let mut newer = [&MAGIC[..], &(VERSION + 1).to_le_bytes()].concat();
    newer.extend_from_slice(&crc32fast::hash(&newer).to_le_bytes());
    assert_eq!(why(&newer), "it was written by a newer Segue: its format is 2, this one reads 1");
    assert!(why(&[]).len() > 10 && Contents::open("no/such/file".as_ref()).is_err());
}

#[test]
fn what_a_newer_segue_adds_is_left_out_and_counted() {
    let mut bytes = file(1);
    bytes.truncate(borders(&bytes)[3]);
    let end = [1 + 5 + 1, 0, 0, 0, 0, 0, 0, 0, 99, 99];
    let mut newer = event(6).to_bytes();
    newer[15] = 200;
    // A text, a kind of definition that is not known, a place with more than there is today.
    let mut definitions = vec![1, 7, 0, 0, 0, 8, 0, 0, 0, b'a', b'b', b'c', 77, 2, 0, 0, 0, 1, 1, 2, 20, 0, 0, 0];
    definitions.extend_from_slice(&[9, 0, 0, 0, 1, 0, 0, 0, 5, 0, 0, 0, 2, 0, 0, 0, 1, 50, 60, 70]);
    bytes.extend_from_slice(&block(1234, 0, b"something"));
    bytes.extend_from_slice(&block(2, 0, &definitions));
    bytes.extend_from_slice(&block(3, 1, &[newer, event(5).to_bytes()].concat()));
    bytes.extend_from_slice(&block(4, 0, &end));
    let read = Contents::read(&bytes[..]).unwrap();
    assert_eq!((&read.damage[..], read.complete, read.skipped), (&[][..], true, 3));
    assert_eq!(read.events, (0..6).map(event).collect::<Vec<_>>());
    assert_eq!((read.tables.text(8), read.tables.place(9).map(|row| row.line)), ("abc", Some(5)));
}

#[test]
fn a_block_that_claims_to_be_huge_takes_no_memory_and_is_passed_over() {
    let bytes = file(2);
    let (at, behind) = (borders(&bytes)[4], borders(&bytes)[5]);
    let mut huge = BLOCK_MAGIC.to_vec();
    for number in [3, 1, u32::MAX, 0] {
        huge.extend_from_slice(&u32::to_le_bytes(number));
    }
    huge.extend_from_slice(&crc32fast::hash(&huge).to_le_bytes());
    let read = Contents::read(&[&bytes[..at], &huge, &bytes[behind..]].concat()[..]).unwrap();
    let damage = ["no block begins here; 24 bytes are left out".to_string(), "5 of 10 events are missing".into()];
    assert_eq!(read.damage, [format!("at byte {at}: {}", damage[0]), format!("at byte {}: {}", at + 24, damage[1])]);
}

#[derive(Debug, Clone)]
enum Harm {
    Flip(usize, u8),
    Cut(usize),
    Remove(usize, usize),
    Insert(usize, Vec<u8>),
    Zero(usize, usize),
    Double(usize, usize),
}

fn harm() -> impl Strategy<Value = Harm> {
    let (at, some) = (any::<usize>(), 1usize..300);
    prop_oneof![
        3 => (at, 1u8..).prop_map(|(at, mask)| Harm::Flip(at, mask)),
        1 => at.prop_map(Harm::Cut),
        1 => (at, some.clone()).prop_map(|(at, count)| Harm::Remove(at, count)),
        1 => (at, proptest::collection::vec(any::<u8>(), 1..100)).prop_map(|(at, bytes)| Harm::Insert(at, bytes)),
        1 => (at, some.clone()).prop_map(|(at, count)| Harm::Zero(at, count)),
        1 => (at, some).prop_map(|(at, count)| Harm::Double(at, count)),
    ]
}

fn do_harm(bytes: &mut Vec<u8>, harm: &Harm) {
    let length = bytes.len();
    let place = |at: usize| at % (length + 1);
    let range = |at: usize, count: usize| place(at)..length.min(place(at) + count);
    match *harm {
        Harm::Flip(at, mask) if !bytes.is_empty() => {
            let at = at % bytes.len();
            bytes[at] ^= mask;
        }
        Harm::Flip(..) => {}
        Harm::Cut(at) => bytes.truncate(place(at)),
        Harm::Remove(at, count) => drop(bytes.drain(range(at, count))),
        Harm::Insert(at, ref some) => drop(bytes.splice(place(at)..place(at), some.iter().copied())),
        Harm::Zero(at, count) => bytes[range(at, count)].fill(0),
        Harm::Double(at, count) => {
            let some = bytes[range(at, count)].to_vec();
            drop(bytes.splice(place(at)..place(at), some));
        }
    }
}

proptest! {
    #[test]
    fn of_a_damaged_file_nothing_comes_back_that_was_not_in_it(
        blocks in 0u64..8, harms in proptest::collection::vec(harm(), 1..6), step in 1usize..5000)
    {
        let original = file(blocks);
        let mut bytes = original.clone();
        harms.iter().for_each(|harm| do_harm(&mut bytes, harm));
        if let Ok(read) = Contents::read(Slow(&bytes, step, None)) {
            prop_assert!(read.events.iter().all(|e| *e == event(e.at) && e.at < 5 * blocks));
            prop_assert!(read.tables.places().all(|(number, row)| row.line == 10 * number));
            prop_assert!(read.tables.texts().all(|(_, text)| text == "worker"));
            prop_assert!(bytes == original || !read.complete || !read.damage.is_empty()
                || harms.iter().any(|harm| matches!(harm, Harm::Double(..))));
        } else {
            prop_assert!(bytes[..bytes.len().min(HEAD)] != original[..HEAD]);
        }
    }

    #[test]
    fn one_hole_costs_no_more_than_the_blocks_that_it_touches(at in HEAD.., count in 1usize..600) {
        let bytes = file(8);
        let (at, borders) = (HEAD + at % (bytes.len() - HEAD), borders(&bytes));
        let end = bytes.len().min(at + count);
        let mut removed = bytes.clone();
        removed.drain(at..end);
        let mut zero = bytes.clone();
        zero[at..end].fill(0);
        // Blocks of events: 2 (after the information and definitions), 4, 6, ...
        let touched = |block: u64| borders[block as usize * 2 + 2] < end && at < borders[block as usize * 2 + 3];
        for bytes in [removed, zero] {
            let read = Contents::read(&bytes[..]).unwrap();
            let whole = (0..8).filter(|&block| !touched(block)).flat_map(|block| block * 5..block * 5 + 5);
            prop_assert!(whole.map(event).all(|event| read.events.contains(&event)));
        }
    }

    #[test]
    fn any_bytes_are_read_without_panic(junk in proptest::collection::vec(any::<u8>(), 0..2000)) {
        let _ = Contents::read(&junk[..]);
        let _ = Contents::read(&[&file(0)[..HEAD], &junk].concat()[..]);
    }

    #[test]
    fn any_contents_with_right_checksums_are_read_without_panic(
        blocks in proptest::collection::vec((0u32..6, any::<u32>(), proptest::collection::vec(any::<u8>(), 0..200)), 0..6))
    {
        let mut bytes = file(0)[..HEAD].to_vec();
        for (contents, loop_number, body) in &blocks {
            bytes.extend_from_slice(&block(*contents, *loop_number, body));
        }
        let read = Contents::read(&bytes[..]).unwrap();
        let most: usize = blocks.iter().map(|(_, _, body)| body.len() / SIZE).sum();
        prop_assert!(read.events.len() <= most);
    }

    #[test]
    fn events_of_loops_come_back_in_the_order_of_writing(
        drains in proptest::collection::vec((1u32..4, proptest::collection::vec(0u64..50, 0..30)), 0..20), flushes: bool)
    {
        let mut writer = Writer::new(Vec::new(), "").unwrap();
        let (mut all, mut count) = (Vec::new(), 0);
        for (loop_number, times) in &drains {
            let numbered = times.iter().map(|&at| {
                count += 1;
                Event::new(Kind::Step, at, u64::from(*loop_number) << LOOP_SHIFT | 1, count, 0, 0)
            });
            let events: Vec<_> = numbered.collect();
            writer.events(*loop_number, &events).unwrap();
            if flushes {
                writer.flush().unwrap();
            }
            all.extend(events);
        }
        all.sort_by_key(Event::written);
        let read = Contents::read(&writer.finish().unwrap()[..]).unwrap();
        prop_assert_eq!(read.events, all);
        prop_assert!(read.complete && read.damage.is_empty());
    }
}
