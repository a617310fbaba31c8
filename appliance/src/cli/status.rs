//! `coffre status`: one light, then what it rests on.

use super::{Outcome, Said, arrival, disk, knock, scrub, show};
use crate::clock;
use crate::state::StateDir;
use coffre_core::fault::Fault;
use coffre_core::wire::{Light, RefusedOf, Reply, Request, SenderInfo, Status};
use serde_json::{Value, json};

/// Most senders that people are shown here.
const MOST_SENDERS: usize = 12;

/// The state of the box.
pub fn run(state: &StateDir) -> Outcome<Said> {
    match knock::ask(state, &Request::Status)? {
        Reply::Status(status) => {
            let mut json = serde_json::to_value(&status)
                .map_err(|e| Fault::permanent(format!("the status cannot be written: {e}")))?;
            json["scrub"] = scrub::json(&status.scrub);
            json["senders"] = status.senders.iter().map(sender).collect();
            json["refused"] = status.refused.iter().map(refusal).collect();
            json["refused_known_since"] = clock::utc(status.refused_known_since_ms).into();
            if let Some(fields) = json.as_object_mut() {
                fields.remove("refused_known_since_ms");
            }
            Ok(Said { human: for_people(&status), json })
        }
        other => Err(knock::unexpected(&other)),
    }
}

fn for_people(status: &Status) -> String {
    let mut lines = vec![headline(status)];
    lines.extend(status.reasons.iter().map(|reason| format!("  - {reason}")));
    lines.push(String::new());
    lines.push(match status.can_lose_disks {
        0 => "Disks that may still be lost: none".to_owned(),
        n => format!("Disks that may still be lost: any {n}"),
    });
    lines.push(format!("New backups: {}", if status.writable { "accepted" } else { "refused for now" }));
    lines.push(format!(
        "Kept: {}, {} as received, {} on disk with parity",
        show::count(status.snapshots, "snapshot"),
        show::bytes(status.logical_bytes),
        show::bytes(status.stored_bytes),
    ));
    if status.debt_packs > 0 {
        let packs = show::count(status.debt_packs, "pack");
        lines.push(format!("To be healed or encoded again for full tolerance: {packs} of {}", status.packs));
    }
    lines.extend(scrub::healing(&status.heal));
    lines.push(scrub::last_rounds(&status.scrub));
    if !status.index_ready {
        lines.push("Index: being built; until then duplicates may be stored twice".to_owned());
    }
    for job in &status.jobs {
        let done = job.total.map_or(format!("{}", job.done), |total| format!("{} of {total}", job.done));
        lines.push(format!("Running: {}, {done}", job.kind));
    }
    if !status.senders.is_empty() {
        lines.push(String::new());
        lines.push(who_sent_when(status));
    }
    lines.push(String::new());
    lines.push(disk::table(&status.disks));
    lines.push(String::new());
    let kind = if status.try_out { ", a try-out: not for real backups" } else { "" };
    lines.push(format!(
        "Vault {}, geometry {}, epoch {}{kind}",
        status.vault_id, status.geometry, status.epoch
    ));
    lines.join("\n")
}

/// The first of those who send: late ones first.
fn who_sent_when(status: &Status) -> String {
    let row = |one: &SenderInfo| {
        let (rhythm, called) = (&one.rhythm, one.called());
        [called, arrival::standing(rhythm), arrival::last(rhythm), arrival::every(rhythm)]
    };
    let rows: Vec<_> = status.senders.iter().take(MOST_SENDERS).map(row).collect();
    let mut text = show::table(["WHO SENDS", "STANDS", "LAST COMPLETE", "EVERY"], &rows);
    let more = status.senders_count.saturating_sub(rows.len() as u64);
    if more > 0 {
        text.push_str(&format!("\nand {more} more: `coffre dataset list`"));
    }
    text
}

fn sender(one: &SenderInfo) -> Value {
    json!({
        "client": one.client, "name": one.name, "repository": one.repository, "since": clock::utc(one.since_ms),
        "newest_complete_at": one.rhythm.last_ms.map(clock::utc), "every_seconds": one.rhythm.every_s,
        "every_source": one.rhythm.source, "standing": one.rhythm.standing,
    })
}

fn refusal(one: &RefusedOf) -> Value {
    json!({
        "client": one.client, "refused_count": one.refused.count,
        "wrong_secrets_count": one.refused.wrong_secrets, "last_refused_at": one.refused.last_ms.map(clock::utc),
        "refused_why": one.refused.why,
    })
}

fn headline(status: &Status) -> String {
    let words = match status.light {
        Light::Green => "GREEN: everything is at full strength",
        Light::Amber => "AMBER: something needs attention",
        Light::Red => "RED: act now",
    };
    format!("{}: {words}", status.name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use coffre_core::ids::VaultId;
    use coffre_core::wire::{HealInfo, ScrubInfo};

    #[test]
    fn words_carry_the_light_and_its_reasons() {
        let status = Status {
            name: "office".into(),
            vault_id: VaultId([1; 16]),
            light: Light::Amber,
            reasons: vec!["disk 3 is away".into()],
            writable: true,
            can_lose_disks: 1,
            geometry: "4+2".parse().expect("valid"),
            epoch: 7,
            disks: vec![],
            objects: 1,
            snapshots: 1,
            logical_bytes: 2048,
            stored_bytes: 3072,
            packs: 9,
            debt_packs: 2,
            heal: HealInfo {
                packs_left: 2,
                seconds_left: Some(90),
                bytes_per_second: Some(1 << 20),
                ..HealInfo::default()
            },
            scrub: ScrubInfo::default(),
            index_ready: false,
            jobs: vec![],
            try_out: true,
            senders: vec![],
            senders_count: 0,
            refused: vec![],
            refused_known_since_ms: 0,
        };
        let text = for_people(&status);
        for part in [
            "office: AMBER",
            "  - disk 3 is away",
            "any 1",
            "1 snapshot, 2.0 KiB",
            "2 packs of 9",
            "try-out",
            "about 90 s at 1.0 MiB/s",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }
}
