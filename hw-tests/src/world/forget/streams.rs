//! Snapshots on their way in: in one go, or piece by piece between everything else, and cut off at any moment.

use super::{CHECKED, DATASETS, Known, LAST_LINE, Stream, World, name_of};
use crate::world::Broken;
use coffre_core::fault::Class;
use coffre_core::ids::PackId;
use coffre_vault::catalog::named_packs;
use coffre_vault::put::Put;
use std::collections::HashSet;
use std::sync::Arc;

impl World {
    pub(super) fn content(&mut self) -> Vec<u8> {
        let len = match self.rng.below(10) {
            0..=2 => 1 + self.rng.index(120),
            3..=7 => 129 + self.rng.index(1_500),
            _ => 2_000 + self.rng.index(5_000),
        };
        // Few places, so that chunks are shared again and again, also long after they were condemned.
        let at = self.rng.index(8) * 2_000;
        let mut bytes: Vec<u8> = self.pool.iter().cycle().skip(at).take(len).copied().collect();
        if self.rng.chance(1, 3) {
            let fresh = self.rng.bytes(bytes.len().min(48));
            let from = self.rng.index(bytes.len() - fresh.len() + 1);
            bytes[from..from + fresh.len()].copy_from_slice(&fresh);
        }
        bytes
    }

    pub(super) fn stream(&mut self) -> Option<Stream> {
        let (core, _) = self.on();
        let dataset = self.rng.index(DATASETS.len());
        let name = name_of(dataset);
        let class = core.with(|e| e.catalog().policy(&name).class);
        let put = Put::begin(core, name, class).ok()?;
        let mut bytes = self.content();
        if dataset == CHECKED {
            // Dumps are text.
            bytes.iter_mut().filter(|b| **b == 0).for_each(|b| *b = 1);
            if self.rng.chance(1, 2) {
                bytes.extend_from_slice(LAST_LINE);
            }
        }
        Some(Stream { put, dataset, class, bytes, written: 0 })
    }

    /// Hands a snapshot in; the packs it names.
    pub(super) fn submit(&mut self, stream: Stream) -> Result<Vec<PackId>, Broken> {
        let Ok(submitted) = stream.put.submit() else { return Ok(Vec::new()) };
        self.keep_time();
        let id = submitted.object.id;
        let (ends, checked) = (stream.bytes.ends_with(LAST_LINE), submitted.object.checked);
        if checked.is_some_and(|checked| checked.complete() != Some(ends)) {
            return Err(Broken(format!("snapshot {id} was taken for {checked:?}")));
        }
        let incomplete = checked.is_some() && !ends;
        self.seen.incomplete += u64::from(incomplete);
        self.known.push(Known {
            id,
            dataset: stream.dataset,
            bytes: Arc::new(stream.bytes),
            acked: false,
            locked_true_ms: self.true_ms + stream.class.millis(),
            free_of_blame_ms: self.true_ms,
            gone: false,
            incomplete,
            may_go_true_ms: None,
        });
        self.pending.push((submitted.ticket, id));
        named_packs(&submitted.object.body).map_err(|fault| Broken(fault.to_string()))
    }

    /// A snapshot in one go: what is condemned when it begins must not be shared.
    pub(super) fn put_whole(&mut self) -> Result<(), Broken> {
        let (core, _) = self.on();
        let condemned: HashSet<PackId> =
            core.with(|e| e.catalog().condemned_packs().map(|(id, _)| *id).collect());
        let Some(mut stream) = self.stream() else { return Ok(()) };
        let bytes = stream.bytes.clone();
        for piece in bytes.chunks(1_777) {
            match stream.put.write(piece) {
                Ok(()) => {}
                Err(fault) => {
                    self.seen.refused_full += u64::from(fault.class == Class::Full);
                    return Ok(());
                }
            }
        }
        let names = self.submit(stream)?;
        match names.iter().find(|name| condemned.contains(name)) {
            Some(shared) => {
                Err(Broken(format!("a new snapshot shares chunks with pack {shared}, which is condemned")))
            }
            None => Ok(()),
        }
    }

    pub(super) fn begin(&mut self) {
        if self.streams.len() < 4
            && let Some(stream) = self.stream()
        {
            self.streams.push(stream);
        }
    }

    pub(super) fn write_on(&mut self) {
        if self.streams.is_empty() {
            return;
        }
        let at = self.rng.index(self.streams.len());
        let stream = &mut self.streams[at];
        let left = stream.bytes.len() - stream.written;
        let piece = left.min(1 + self.rng.index(2_500));
        let (from, to) = (stream.written, stream.written + piece);
        stream.written = to;
        let bytes = stream.bytes[from..to].to_vec();
        if stream.put.write(&bytes).is_err() {
            self.streams.remove(at);
        }
    }

    /// A stream ends, or its client goes away.
    pub(super) fn end_one(&mut self) -> Result<(), Broken> {
        if self.streams.is_empty() {
            return Ok(());
        }
        let at = self.rng.index(self.streams.len());
        let mut stream = self.streams.remove(at);
        if self.rng.chance(1, 3) {
            return Ok(());
        }
        let rest = stream.bytes[stream.written..].to_vec();
        if stream.put.write(&rest).is_ok() {
            self.submit(stream)?;
        }
        Ok(())
    }

    pub(super) fn collect(&mut self) {
        let Some((_, hands)) = self.up.as_ref() else { return };
        let (hands, known) = (hands.clone(), &mut self.known);
        let mut acked = 0;
        self.pending.retain(|(ticket, id)| match hands.answer(*ticket) {
            None => true,
            Some(answer) => {
                if answer.is_ok()
                    && let Some(one) = known.iter_mut().find(|k| k.id == *id)
                {
                    one.acked = true;
                    acked += 1;
                }
                false
            }
        });
        self.seen.acked += acked;
    }
}
