//! What the scrub has to tell, in values and in words.

use super::Inner;
use crate::core::{Core, lock};
use crate::engine::Wounds;
use coffre_core::ids::DiskNo;
use coffre_core::scrub::{Kind, Thing};
use coffre_core::wire::{FindInfo, HealInfo, ScrubInfo, Unhealed};

impl Core {
    /// When everything was looked at last, and what was found.
    pub fn scrub_info(&self) -> ScrubInfo {
        self.mark_healed();
        let mono_ms = self.clock.mono_ms();
        let scrub = lock(&self.scrubber.0);
        let (light_late, deep_late) = scrub.plan.overdue(scrub.now_ms(mono_ms));
        let finds = scrub.finds.iter().map(|f| FindInfo {
            found_ms: f.wall_ms,
            disk: f.disk.map(DiskNo::told),
            what: what(&f.thing),
            blocks: f.blocks,
            healed_ms: f.healed_ms,
        });
        let looking = usize::from(scrub.near_a_find);
        let waiting = self.with(|e| e.found_waiting());
        let per_mille = |(opened, live): (u64, u64)| (opened * 1_000).checked_div(live);
        ScrubInfo {
            last_light_ms: scrub.ended_wall_ms.0,
            last_deep_ms: scrub.ended_wall_ms.1,
            overdue: light_late || deep_late,
            deep_done_per_mille: Inner::done_per_mille(&scrub.plan.deep),
            sampled_per_mille: scrub.plan.sample.yesterday.and_then(per_mille),
            running: scrub.asked().map(|k| if k == Kind::Deep { "deep" } else { "light" }.into()),
            unhealed: scrub.finds.iter().filter(|f| f.healed_ms.is_none()).count() as u64,
            suspected: (scrub.plan.suspects() + looking + waiting) as u64,
            finds: finds.collect(),
        }
    }
}

/// What healing has to do and does, with the time it takes at the rate that was measured.
pub(crate) fn healing(wounds: &Wounds) -> HealInfo {
    HealInfo {
        packs_left: wounds.packs,
        bytes_left: wounds.bytes,
        bytes_per_second: wounds.bytes_per_s,
        seconds_left: wounds.bytes_per_s.and_then(|rate| wounds.bytes.checked_div(rate)),
        healed_shards: wounds.healed,
        exceptional_packs: wounds.exceptional,
        exceptions: wounds
            .exceptions
            .iter()
            .map(|(pack, why)| Unhealed { pack: *pack, why: why.clone() })
            .collect(),
    }
}

/// What was found, in a few words.
pub(super) fn what(thing: &Thing) -> String {
    match thing {
        Thing::Shard(pack) => format!("shard {pack}"),
        Thing::Record(seq) => format!("record {seq}"),
        Thing::Checkpoint(seq) => format!("checkpoint {seq}"),
        Thing::Label => "label".into(),
        Thing::Pack(pack) => format!("pack {pack}"),
    }
}

/// Where it was found.
pub(super) fn on_disk(disk: Option<DiskNo>) -> String {
    disk.map_or_else(String::new, |d| format!(" on disk {d}"))
}
