//! The folder that flight recordings are written to. A file is there under its name only when it is whole, none is ever overwritten, and
//! of all that flight recorders have written to the folder the newest are kept.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const ENDING: &str = ".segue";
/// While it is being written; with a dot in front, so that `*.segue` and `ls` leave it out.
const UNFINISHED: &str = ".part";
/// Whoever was writing it is no more.
const STALE: Duration = Duration::from_secs(3600);

pub struct Folder {
    path: PathBuf,
    /// What the names begin with.
    program: String,
    keep: usize,
    written: u32,
}

impl Folder {
    /// Makes the folder if it isn't there, and makes sure that files can be written to it. `keep`: recordings in it, at least 1.
    pub fn open(path: &Path, program: &str, keep: usize) -> io::Result<Folder> {
        fs::create_dir_all(path)?;
        let plain = |c: char| if c.is_alphanumeric() || matches!(c, '_' | '.') { c } else { '_' };
        let program: String = program.chars().map(plain).take(40).collect();
        let program = if program.is_empty() { "python".to_owned() } else { program };
        let folder = Folder { path: path.to_owned(), program, keep: keep.max(1), written: 0 };
        let trial = folder.path.join(format!(".{}-{}{UNFINISHED}", folder.program, std::process::id()));
        File::create(&trial)?;
        fs::remove_file(&trial)?;
        Ok(folder)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a file of the name `program-time-pid-number-kind.segue`, and removes the oldest ones that are too many.
    pub fn write(&mut self, kind: &str, fill: impl FnOnce(File) -> io::Result<()>) -> io::Result<PathBuf> {
        let (name, unfinished, file) = self.begin(kind)?;
        let whole = self.path.join(name);
        if let Err(e) = fill(file).and_then(|()| fs::rename(&unfinished, &whole)) {
            let _ = fs::remove_file(&unfinished);
            return Err(e);
        }
        // What can't be removed is no reason to say that nothing was written.
        let _ = self.tidy(&whole);
        Ok(whole)
    }

    /// A name that nobody has, kept for us by the unfinished file.
    fn begin(&mut self, kind: &str) -> io::Result<(String, PathBuf, File)> {
        let time = time_in_words(SystemTime::now());
        loop {
            self.written += 1;
            let name = format!("{}-{time}-{}-{}-{kind}{ENDING}", self.program, std::process::id(), self.written);
            let unfinished = self.path.join(format!(".{name}{UNFINISHED}"));
            if self.path.join(&name).exists() {
                continue;
            }
            match OpenOptions::new().write(true).create_new(true).open(&unfinished) {
                Ok(file) => return Ok((name, unfinished, file)),
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                Err(e) => return Err(e),
            }
        }
    }

    fn tidy(&self, newest: &Path) -> io::Result<()> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if let Some(unfinished) = name.strip_prefix('.').and_then(|name| name.strip_suffix(UNFINISHED)) {
                let modified = entry.metadata().and_then(|metadata| metadata.modified());
                let age = modified.ok().and_then(|modified| modified.elapsed().ok());
                if time_of(unfinished).is_some() && age.is_some_and(|age| age > STALE) {
                    fs::remove_file(entry.path())?;
                }
            } else if let Some((time, number)) = time_of(&name) {
                found.push((time.to_owned(), number, entry.path()));
            }
        }
        found.retain(|(_, _, path)| path != newest);
        found.sort_unstable();
        let too_many = (found.len() + 1).saturating_sub(self.keep);
        found.iter().take(too_many).try_for_each(|(_, _, path)| fs::remove_file(path))
    }
}

/// When a file was written, and its number in its process, if it has a name as ours.
fn time_of(name: &str) -> Option<(&str, u32)> {
    let mut parts = name.strip_suffix(ENDING)?.rsplitn(5, '-');
    let (_kind, number, pid, time, _program) =
        (parts.next()?, parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let is_time = time.len() == 16 && time.starts_with(|c: char| c.is_ascii_digit()) && time.ends_with('Z');
    pid.parse::<u32>().ok()?;
    Some((time, number.parse().ok()?)).filter(|_| is_time)
}

/// "20261126T034512Z".
fn time_in_words(time: SystemTime) -> String {
    let seconds = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Days since the first of March of the year 0, in eras of 400 years, in years that end with February.
    let day = days + 719_468;
    let (era, of_era) = (day / 146_097, day % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let (of_month, month) = (of_year - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
    let year = era * 400 + year + u64::from(month <= 2);
    format!("{year:04}{month:02}{of_month:02}T{:02}{:02}{:02}Z", rest / 3600, rest / 60 % 60, rest % 60)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn temporary(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("segue-flight-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        path
    }

    fn names(path: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn the_newest_are_kept_and_what_is_not_ours_is_left_alone() {
        let path = temporary("keep");
        let mut folder = Folder::open(&path.join("made"), "my app-1", 3).unwrap();
        for other in ["notes.txt", "app.segue", "app-20200101T000000Z-x-1-stall.segue", "a-b-c-d-e.segue"] {
            fs::write(folder.path().join(other), "").unwrap();
        }
        fs::write(folder.path().join("other-20200101T000000Z-17-1-stall.segue"), "old").unwrap();
        let written: Vec<PathBuf> =
            (0..5).map(|n| folder.write("failure", |mut file| write!(file, "{n}")).unwrap()).collect();
        let kept: Vec<bool> = written.iter().map(|path| path.exists()).collect();
        assert_eq!(kept, [false, false, true, true, true]);
        assert_eq!(fs::read_to_string(&written[4]).unwrap(), "4");
        let name = written[4].file_name().unwrap().to_str().unwrap();
        assert!(name.starts_with("my_app_1-2") && name.ends_with(&format!("-{}-5-failure.segue", std::process::id())));
        assert_eq!(names(folder.path()).len(), 4 + 3);
        fs::remove_dir_all(&path).unwrap();
    }

    #[test]
    fn what_could_not_be_written_leaves_nothing() {
        let path = temporary("failed");
        let mut folder = Folder::open(&path, "app", 3).unwrap();
        let failed = folder.write("stall", |mut file| {
            file.write_all(b"half")?;
            assert!(names(&path).iter().all(|name| name.ends_with(UNFINISHED)));
            Err(io::Error::other("no"))
        });
        assert_eq!(failed.unwrap_err().to_string(), "no");
        assert!(names(&path).is_empty());
        fs::write(path.join("file"), "").unwrap();
        assert!(Folder::open(&path.join("file"), "app", 3).is_err());
        fs::remove_dir_all(&path).unwrap();
    }

    #[test]
    fn a_name_that_is_taken_is_not_used() {
        let path = temporary("taken");
        let mut one = Folder::open(&path, "app", 10).unwrap();
        let mut other = Folder::open(&path, "app", 10).unwrap();
        let a = one.write("stall", |mut file| file.write_all(b"a")).unwrap();
        let b = other.write("stall", |mut file| file.write_all(b"b")).unwrap();
        assert_eq!((fs::read(&a).unwrap(), fs::read(&b).unwrap()), (b"a".to_vec(), b"b".to_vec()));
        fs::remove_dir_all(&path).unwrap();
    }

    #[test]
    fn times_are_read_by_people() {
        let at = |seconds| time_in_words(UNIX_EPOCH + Duration::from_secs(seconds));
        let times = [0, 951_782_399, 951_782_400, 951_868_800, 1_795_664_712, 4_107_542_399].map(at);
        let expected = [
            "19700101T000000Z",
            "20000228T235959Z",
            "20000229T000000Z",
            "20000301T000000Z",
            "20261126T034512Z",
            "21000228T235959Z",
        ];
        assert_eq!(times, expected);
    }
}
