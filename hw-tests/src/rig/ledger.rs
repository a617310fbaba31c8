//! What was sent and what came of it: the rig's own memory, against which the box's list is held.
//!
//! An acknowledged push must be there, whole. A push whose answer never came may be there or not, but if it is, it
//! is whole. Anything else that is there was never sent.

use anyhow::{Context, Result};
use serde_json::Value;
use std::collections::BTreeMap;

/// What became of a push, as the client saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// 201.
    Acknowledged,
    /// The connection ended before an answer.
    Unanswered,
}

/// A snapshot as the box lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The data set, without its client.
    pub dataset: String,
    /// Its id.
    pub id: String,
    /// Bytes as received.
    pub size: u64,
    /// `blake3:HEX`.
    pub hash: String,
}

/// All pushes of one client, each with bytes that no other has.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    sent: BTreeMap<(String, String), (u64, Fate)>,
}

impl Ledger {
    /// Notes a push of `size` bytes with this hash.
    pub fn note(&mut self, dataset: &str, hash: blake3::Hash, size: u64, fate: Fate) {
        self.sent.insert((dataset.to_owned(), label(hash)), (size, fate));
    }

    /// How many pushes had this fate.
    pub fn count(&self, fate: Fate) -> usize {
        self.sent.values().filter(|(_, seen)| *seen == fate).count()
    }

    /// What is wrong with the box's list of these data sets; empty when nothing is.
    pub fn complaints(&self, listed: &[Listed]) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut seen = BTreeMap::new();
        for snapshot in listed {
            let key = (snapshot.dataset.clone(), snapshot.hash.clone());
            match self.sent.get(&key) {
                None => wrong.push(format!("{} {} {} was never sent", key.0, snapshot.id, key.1)),
                Some((size, _)) if *size != snapshot.size => {
                    wrong.push(format!("{} {} has {} bytes, not {size}", key.0, snapshot.id, snapshot.size));
                }
                Some(_) => {}
            }
            if seen.insert(key, &snapshot.id).is_some() {
                wrong.push(format!("{} {} is there twice", snapshot.dataset, snapshot.id));
            }
        }
        for ((dataset, hash), (size, fate)) in &self.sent {
            if *fate == Fate::Acknowledged && !seen.contains_key(&(dataset.clone(), hash.clone())) {
                wrong.push(format!("{dataset} {hash} of {size} bytes was acknowledged and is gone"));
            }
        }
        wrong
    }
}

/// A hash as receipts and lists write it.
pub fn label(hash: blake3::Hash) -> String {
    format!("blake3:{}", hash.to_hex())
}

/// The snapshots in an answer to `GET /v1/datasets/NAME/snapshots`; `None` (404) is an empty list.
pub fn listed(dataset: &str, answer: Option<&Value>) -> Result<Vec<Listed>> {
    let Some(answer) = answer else { return Ok(Vec::new()) };
    let list = answer["snapshots"].as_array().context("the answer lists no snapshots")?;
    let one = |entry: &Value| {
        Some(Listed {
            dataset: dataset.to_owned(),
            id: entry["id"].as_str()?.to_owned(),
            size: entry["size"].as_u64()?,
            hash: entry["hash"].as_str()?.to_owned(),
        })
    };
    list.iter().map(|entry| one(entry).with_context(|| format!("not a snapshot: {entry}"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn there(dataset: &str, bytes: &[u8]) -> Listed {
        let hash = label(blake3::hash(bytes));
        Listed { dataset: dataset.to_owned(), id: "1".to_owned(), size: bytes.len() as u64, hash }
    }

    fn ledger() -> Ledger {
        let mut ledger = Ledger::default();
        ledger.note("a", blake3::hash(b"kept"), 4, Fate::Acknowledged);
        ledger.note("a", blake3::hash(b"maybe"), 5, Fate::Unanswered);
        ledger
    }

    #[test]
    fn what_may_be_is_accepted() {
        assert!(ledger().complaints(&[there("a", b"kept")]).is_empty());
        assert!(ledger().complaints(&[there("a", b"kept"), there("a", b"maybe")]).is_empty());
        assert_eq!(ledger().count(Fate::Acknowledged), 1);
    }

    #[test]
    fn loss_strangers_doubles_and_halves_are_seen() {
        let kept = || there("a", b"kept");
        assert_eq!(ledger().complaints(&[]).len(), 1);
        assert_eq!(ledger().complaints(&[there("b", b"kept")]).len(), 2);
        assert_eq!(ledger().complaints(&[kept(), there("a", b"may")]).len(), 1);
        assert_eq!(ledger().complaints(&[kept(), kept()]).len(), 1);
        assert_eq!(ledger().complaints(&[Listed { size: 3, ..kept() }]).len(), 1);
    }

    #[test]
    fn lists_are_read() {
        let answer =
            serde_json::json!({"snapshots": [{"id": "1", "size": 4, "hash": "blake3:00", "more": 1}]});
        assert_eq!(listed("a", Some(&answer)).expect("a list")[0].size, 4);
        assert!(listed("a", None).expect("404").is_empty());
        assert!(listed("a", Some(&serde_json::json!({"snapshots": [{}]}))).is_err());
        assert!(listed("a", Some(&serde_json::json!([]))).is_err());
    }
}
