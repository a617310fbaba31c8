//! Quotas while streams are on their way: what is being taken counts before it is kept.

use crate::core::{Core, lock};
use coffre_core::fact::ClientFact;
use coffre_core::fault::{Fault, Result};
use coffre_core::names::ClientName;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

/// Bytes that streams of each client have taken and that are not in the catalogue yet.
#[derive(Clone, Debug, Default)]
pub(crate) struct Takings(Arc<Mutex<HashMap<ClientName, u64>>>);

/// One stream's share. Dropped when its bytes are in the catalogue, or will never be: in between they count twice, which
/// at worst refuses too much for a moment, and never takes too much.
#[derive(Debug)]
pub(crate) struct Taking {
    all: Takings,
    client: ClientName,
    bytes: u64,
}

impl Takings {
    pub fn begin(&self, client: &ClientName) -> Taking {
        Taking { all: self.clone(), client: client.clone(), bytes: 0 }
    }

    /// Bytes a client may still take; `u64::MAX` without a quota.
    pub fn room(&self, core: &Core, client: &ClientName) -> u64 {
        let (quota, kept) = core.with(|e| {
            let catalog = e.catalog();
            (quota_of(core, catalog.client(client)), catalog.logical_bytes_of(client))
        });
        let taken = lock(&self.0).get(client).copied().unwrap_or(0);
        if quota == u64::MAX { quota } else { quota.saturating_sub(kept.saturating_add(taken)) }
    }
}

impl Taking {
    /// Takes `len` more bytes, or says `Full`.
    pub fn take(&mut self, core: &Core, len: u64) -> Result<()> {
        if len > self.all.room(core, &self.client) {
            return Err(used_up(&self.client));
        }
        self.bytes += len;
        *lock(&self.all.0).entry(self.client.clone()).or_default() += len;
        Ok(())
    }
}

impl Drop for Taking {
    fn drop(&mut self) {
        let mut all = lock(&self.all.0);
        if let Some(taken) = all.get_mut(&self.client) {
            *taken = taken.saturating_sub(self.bytes);
            if *taken == 0 {
                all.remove(&self.client);
            }
        }
    }
}

pub(crate) fn used_up(client: &ClientName) -> Fault {
    Fault::full(format!("the quota of {client} is used up")).next("ask for a larger quota")
}

fn quota_of(core: &Core, client: Option<&ClientFact>) -> u64 {
    client.and_then(|c| c.quota_bytes).unwrap_or(core.limits.default_quota)
}
