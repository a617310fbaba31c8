//! The daily sample: a pack opened end to end, decoded, unsealed, decompressed, and each chunk's id computed again.
//!
//! One data shard of the pack is left out and decoded from the others, parity among them: what is proved is the way
//! back after a loss, not only the way on a good day.

use crate::core::{Core, lock};
use coffre_core::fact::PackFact;
use coffre_core::fault::{Class, Fault, Result};
use coffre_core::ids::{ChunkId, PackId};
use coffre_core::names::ClientName;
use coffre_core::pack::{Name, open_blob, open_toc};
use coffre_core::scrub::Thing;

impl Core {
    /// Opens a pack whole. Returns the bytes that were proved: all of its body, or none.
    pub(super) fn open_sample(&self, id: PackId) -> u64 {
        let Some(pack) = self.live(id) else { return 0 };
        let k = pack.geometry.k();
        let out = (pack.geometry.m() > 0).then(|| usize::from(pack.id.0[14]) % k);
        let mut outcome = self.open_whole(&pack, out);
        // What is known to be lost by now may be what was missing beside the shard that was left out: then that says
        // nothing of the pack.
        if outcome.is_err() && !self.with(|e| e.lost_shards(&id)).is_empty() {
            outcome = self.open_whole(&pack, None);
        }
        match outcome {
            Ok(()) => {
                self.pack_opens(id);
                pack.pack_len
            }
            // Shards too few or bad: that is known of them by now. Anything else is wrong with the pack itself.
            Err(fault) if fault.class == Class::Corrupt && self.with(|e| e.readable(&pack)) => {
                tracing::error!(pack = %id, "does not open: {fault}");
                self.with(|e| e.pack_unopenable(id));
                0
            }
            Err(_) => 0,
        }
    }

    /// With data shard `out` decoded from the others.
    fn open_whole(&self, pack: &PackFact, out: Option<usize>) -> Result<()> {
        let start = pack.pack_len.saturating_sub(u64::from(pack.toc_sealed_len));
        let sealed = self.pack_range_without(pack, start..pack.pack_len, out)?;
        let entries = open_toc(&self.keys, pack.id, pack.pack_len, &sealed)?;
        let mut clients: Vec<ClientName> =
            self.with(|e| e.catalog().clients().map(|c| c.name.clone()).collect());
        clients.extend(self.with(|e| e.catalog().datasets().map(|d| d.client.clone()).collect::<Vec<_>>()));
        clients.dedup();
        for (position, entry) in (0u32..).zip(&entries) {
            let range = u64::from(entry.offset)..entry.end();
            let sealed = self.pack_range_without(pack, range, out)?;
            let plain = open_blob(&self.keys, pack.id, position, entry, &sealed)?;
            // The tag is bound to a drawn id as well, but there is nothing to compute it from.
            if let Name::Content(id) = entry.name() {
                self.check_id(&mut clients, &id, &plain)?;
            }
        }
        Ok(())
    }

    /// Whether a chunk has the id that some client's key gives it. The client that had the last one is tried first.
    fn check_id(&self, clients: &mut [ClientName], id: &ChunkId, plain: &[u8]) -> Result<()> {
        let owner = clients.iter().position(|c| self.keys.chunk_id(c, plain) == *id);
        let owner = owner.ok_or_else(|| Fault::corrupt(format!("chunk {id} has the id of another one")))?;
        clients.swap(0, owner);
        Ok(())
    }

    fn pack_opens(&self, id: PackId) {
        let wall_ms = self.clock.wall_ms();
        let mut scrub = lock(&self.scrubber.0);
        for find in scrub.finds.iter_mut().filter(|f| f.thing == Thing::Pack(id)) {
            find.healed_ms.get_or_insert(wall_ms);
        }
    }
}
