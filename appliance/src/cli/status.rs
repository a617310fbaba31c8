//! `coffre status`: one light, then what it rests on.

use super::show::Tone;
use super::{Outcome, Said, disk, knock, scrub, show};
use crate::state::StateDir;
use coffre_core::fault::Fault;
use coffre_core::wire::{Light, Reply, Request, Status};

/// The state of the box.
pub fn run(state: &StateDir) -> Outcome<Said> {
    match knock::ask(state, &Request::Status)? {
        Reply::Status(status) => {
            let mut json = serde_json::to_value(&status)
                .map_err(|e| Fault::permanent(format!("the status cannot be written: {e}")))?;
            json["scrub"] = scrub::json(&status.scrub);
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

fn headline(status: &Status) -> String {
    let (tone, light, words) = match status.light {
        Light::Green => (Tone::Good, "GREEN", "everything is at full strength"),
        Light::Amber => (Tone::Watch, "AMBER", "something needs attention"),
        Light::Red => (Tone::Bad, "RED", "act now"),
    };
    format!("{}: {}: {words}", status.name, show::paint(tone, light))
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
        };
        let text = for_people(&status);
        for part in [
            "office: AMBER",
            "  - disk 3 is away",
            "any 1",
            "1 snapshot, 2.0 kB",
            "2 packs of 9",
            "try-out",
            "about 90 s at 1.0 MB/s",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }
}
