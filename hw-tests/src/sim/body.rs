//! The bytes of one simulated file: what a reader sees now, and how to go back to what is durable.
//!
//! A sync is the common case and a power cut the rare one, so only the visible bytes are kept whole. Each
//! write that is not yet durable leaves in a log what it overwrote. Sync empties the log: nothing is copied.
//! A cut walks the log backwards (which brings the new bytes of each write out again), then forwards once
//! more with a fate per sector. Writes that a failed sync lost for ever stay in the log as `Lost`, and later
//! ones that were honestly synced on top of them as `Durable`.

use super::faults::Tear;
use crate::rng::Rng;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Not synced yet.
    Waiting,
    /// A sync failed: no later sync helps.
    Lost,
    /// Synced, above something that was not.
    Durable,
}

#[derive(Clone, Debug)]
struct Write {
    offset: usize,
    len: usize,
    overwritten: Vec<u8>,
    length_before: usize,
    state: State,
}

/// One file's contents.
#[derive(Clone, Debug, Default)]
pub(super) struct Body {
    now: Vec<u8>,
    log: Vec<Write>,
}

impl Body {
    pub(super) fn new(durable: Vec<u8>) -> Self {
        Self { now: durable, log: Vec::new() }
    }

    /// What a reader sees.
    pub(super) fn visible(&self) -> &[u8] {
        &self.now
    }

    pub(super) fn write(&mut self, offset: usize, bytes: &[u8]) {
        self.write_as(offset, bytes, State::Waiting);
    }

    /// Changes bytes below all syncs: rot, a misdirected write.
    pub(super) fn poke(&mut self, offset: usize, bytes: &[u8]) {
        self.write_as(offset, bytes, State::Durable);
        self.trim();
    }

    pub(super) fn sync(&mut self) {
        for write in self.log.iter_mut().filter(|w| w.state == State::Waiting) {
            write.state = State::Durable;
        }
        self.trim();
    }

    pub(super) fn sync_failed(&mut self) {
        for write in self.log.iter_mut().filter(|w| w.state == State::Waiting) {
            write.state = State::Lost;
        }
    }

    /// What is certain to survive a power cut.
    pub(super) fn durable(&self) -> Vec<u8> {
        let mut sure = self.clone();
        let writes = sure.rewind();
        for (offset, bytes, _) in writes.iter().filter(|w| w.2 == State::Durable) {
            put(&mut sure.now, *offset, bytes);
        }
        sure.now
    }

    /// What a reader sees who drops from memory what can be dropped: all but the writes that a failed sync lost.
    pub(super) fn on_medium(&self) -> Vec<u8> {
        if self.log.iter().all(|w| w.state != State::Lost) {
            return self.now.clone();
        }
        let mut shown = self.clone();
        let writes = shown.rewind();
        for (offset, bytes, _) in writes.iter().filter(|w| w.2 != State::Lost) {
            put(&mut shown.now, *offset, bytes);
        }
        shown.now
    }

    /// Cuts the file to `len` bytes, durably.
    pub(super) fn truncate(&mut self, len: usize) {
        *self = Self::new(self.durable());
        self.now.truncate(len);
    }

    /// Decides what survives. Afterwards everything visible is durable.
    pub(super) fn cut(&mut self, tear: Tear, sector: usize, mood: Mood, rng: &mut Rng) {
        if self.log.is_empty() {
            return;
        }
        let mut sure_len = self.log.first().map_or(0, |w| w.length_before);
        let writes = self.rewind();
        for (offset, bytes, state) in &writes {
            if *state == State::Durable {
                put(&mut self.now, *offset, bytes);
                sure_len = sure_len.max(offset + bytes.len());
                continue;
            }
            let end = offset + bytes.len();
            self.now.resize(self.now.len().max(end), 0);
            for start in (offset / sector * sector..end).step_by(sector) {
                let (low, high) = (start.max(*offset), (start + sector).min(end));
                match mood.fate(tear, rng) {
                    Fate::Old => {}
                    Fate::New => self.now[low..high].copy_from_slice(&bytes[low - offset..high - offset]),
                    Fate::Garbage if tear.whole_sector => {
                        let high = (start + sector).min(self.now.len());
                        rng.fill(&mut self.now[start..high]);
                    }
                    Fate::Garbage => rng.fill(&mut self.now[low..high]),
                }
            }
        }
        // The length is a fact of its own: it may lag behind the sectors or lead them (then zeros show).
        let full = self.now.len();
        let len = match rng.below(4) {
            0 => sure_len,
            1 => rng.between(sure_len as u64, full as u64) as usize,
            _ => full,
        };
        self.now.truncate(len);
    }

    fn write_as(&mut self, offset: usize, bytes: &[u8], state: State) {
        let before = self.now.len();
        let overwritten = self.now[offset.min(before)..(offset + bytes.len()).min(before)].to_vec();
        put(&mut self.now, offset, bytes);
        self.log.push(Write { offset, len: bytes.len(), overwritten, length_before: before, state });
    }

    /// Goes back to what was durable before the log began; returns the log's writes, oldest first.
    fn rewind(&mut self) -> Vec<(usize, Vec<u8>, State)> {
        let mut writes = Vec::with_capacity(self.log.len());
        for write in self.log.drain(..).rev() {
            writes.push((write.offset, self.now[write.offset..][..write.len].to_vec(), write.state));
            self.now.truncate(write.length_before);
            let old = &write.overwritten;
            if !old.is_empty() {
                self.now[write.offset..][..old.len()].copy_from_slice(old);
            }
        }
        writes.reverse();
        writes
    }

    fn trim(&mut self) {
        let keep = self.log.iter().position(|w| w.state != State::Durable).unwrap_or(self.log.len());
        self.log.drain(..keep);
    }
}

fn put(content: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    if offset == content.len() {
        return content.extend_from_slice(bytes);
    }
    let end = offset + bytes.len();
    if content.len() < end {
        content.resize(end, 0);
    }
    content[offset..end].copy_from_slice(bytes);
}

enum Fate {
    Old,
    New,
    Garbage,
}

/// How kind one power cut is: keeping everything and keeping nothing are both worth trying often.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mood {
    keep_of_8: u64,
    garbage_of_8: u64,
}

impl Mood {
    pub(super) fn draw(rng: &mut Rng) -> Self {
        let keep_of_8 = *rng.pick(&[0, 0, 1, 4, 4, 7, 8, 8]).unwrap_or(&4);
        Self { keep_of_8, garbage_of_8: *rng.pick(&[0, 0, 1, 4]).unwrap_or(&0) }
    }

    /// Whether a change of names survives.
    pub(super) fn keeps(self, rng: &mut Rng) -> bool {
        rng.chance(self.keep_of_8, 8)
    }

    fn fate(self, tear: Tear, rng: &mut Rng) -> Fate {
        if tear.garbage && rng.chance(self.garbage_of_8, 8) {
            Fate::Garbage
        } else if self.keeps(rng) {
            Fate::New
        } else {
            Fate::Old
        }
    }
}
