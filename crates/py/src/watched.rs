//! Which of the user's descriptors are watched: a table by descriptor number, since the kernel gives out the smallest.

use std::os::fd::RawFd;

#[derive(Clone, Copy, Default)]
struct Row {
    /// The source's index plus one; 0 if it isn't watched.
    source: u32,
    /// The poller has probably got it. Only a hint: a closed descriptor leaves the poller by itself.
    in_poller: bool,
}

#[derive(Default)]
pub struct Watched {
    rows: Vec<Row>,
    count: usize,
}

impl Watched {
    fn row(&self, fd: RawFd) -> Row {
        usize::try_from(fd).ok().and_then(|i| self.rows.get(i)).copied().unwrap_or_default()
    }

    fn row_mut(&mut self, fd: RawFd) -> &mut Row {
        // Callers have a descriptor that the poller took, which is no negative number.
        let i = fd.max(0) as usize;
        if i >= self.rows.len() {
            self.rows.resize(i + 1, Row::default());
        }
        &mut self.rows[i]
    }

    pub fn get(&self, fd: RawFd) -> Option<u32> {
        self.row(fd).source.checked_sub(1)
    }

    pub fn set(&mut self, fd: RawFd, source: u32) {
        if std::mem::replace(&mut self.row_mut(fd).source, source + 1) == 0 {
            self.count += 1;
        }
    }

    pub fn remove(&mut self, fd: RawFd) {
        if std::mem::take(&mut self.row_mut(fd).source) != 0 {
            self.count -= 1;
        }
    }

    pub fn is_in_poller(&self, fd: RawFd) -> bool {
        self.row(fd).in_poller
    }

    pub fn note_in_poller(&mut self, fd: RawFd, is: bool) {
        if is != self.is_in_poller(fd) {
            self.row_mut(fd).in_poller = is;
        }
    }

    pub fn len(&self) -> usize {
        self.count
    }

    pub fn iter(&self) -> impl Iterator<Item = (RawFd, u32)> + '_ {
        self.rows.iter().enumerate().filter_map(|(fd, row)| Some((fd as RawFd, row.source.checked_sub(1)?)))
    }
}
