//! The receipt: what the box promises about a snapshot, signed so that the client can show it to anyone.
//!
//! `receipt` is a string that happens to be JSON; `signature` covers exactly its UTF-8 bytes. A client that keeps
//! both and the box's public key needs neither a canonical form of JSON nor the box to check it.

use crate::identity::Authority;
use crate::views::ReceiptView;
use coffre_core::fault::{Fault, Result};
use coffre_core::ids::VaultId;
use coffre_core::wire::ReceiptFacts;
use serde_json::{Value, json};

/// The body of a 201: the facts, plain, then the receipt as text and its signature.
pub fn signed(authority: &Authority, vault: VaultId, facts: &ReceiptFacts) -> Result<Value> {
    let view = ReceiptView::new(vault, facts);
    let broken = |e: serde_json::Error| Fault::permanent(format!("cannot write a receipt: {e}"));
    let receipt = serde_json::to_string(&view).map_err(broken)?;
    let mut body = serde_json::to_value(&view).map_err(broken)?;
    body["signature"] = json!(authority.sign_receipt(&receipt));
    body["receipt"] = json!(receipt);
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::tests::authority;
    use coffre_core::ids::ObjectId;
    use coffre_core::kind::{Checked, Finding, Kind};
    use coffre_core::wire::SnapshotInfo;

    #[test]
    fn the_receipt_repeats_the_facts() {
        let facts = ReceiptFacts {
            snapshot: SnapshotInfo {
                dataset: "pc/odoo".parse().expect("valid"),
                id: ObjectId([1; 16]),
                size: 12,
                stored_bytes: 7,
                received_ms: 1_772_357_400_000,
                locked_until_ms: 1_774_949_400_000,
                class: coffre_core::class::LockClass::DAYS_30,
                hash: "blake3:00".into(),
                checked: Some(Checked { kind: Kind::Zip, finding: Finding::NoDirectory }),
                lock_provisional: false,
            },
            tolerates: 2,
        };
        let body = signed(&authority("box"), VaultId([9; 16]), &facts).expect("made");
        let receipt = body["receipt"].as_str().expect("text");
        let inside: Value = serde_json::from_str(receipt).expect("JSON");
        for key in [
            "dataset",
            "id",
            "size",
            "stored_bytes",
            "received_at",
            "locked_until",
            "lock_provisional",
            "class_seconds",
            "hash",
            "kind",
            "complete",
            "complete_why",
            "tolerates",
            "vault_id",
        ] {
            assert!(!inside[key].is_null(), "{key}");
            assert_eq!(inside[key], body[key], "{key}");
        }
        assert_eq!(body["locked_until"], "2026-03-31T09:30:00.000Z");
        assert_eq!(
            (&body["complete"], &body["complete_why"]["key"]),
            (&json!(false), &json!("no-directory"))
        );
        assert!(!receipt.contains("\": ") && body["signature"].is_string());
    }
}
