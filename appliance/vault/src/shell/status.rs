//! The state of the box in words and one light, from what the engine verified.
//!
//! Red: backups are refused, or no disk may be lost although the geometry promises it. Amber: something is degraded, the
//! newest snapshot of a data set is not complete, or the box has one disk. Green: everything at full tolerance. An index that is being built again changes nothing about
//! safety and does not colour the light.

use super::house::House;
use super::prober::in_state;
use crate::core::{Core, lock};
use crate::engine::Report;
use coffre_core::amount::ByteCount;
use coffre_core::ids::DiskNo;
use coffre_core::wire::{DiskHealth, DiskInfo, DiskState, FindInfo, JobInfo, Light, ScrubInfo, Status};
use std::sync::atomic::Ordering;

impl House {
    /// The state of the box.
    pub fn status(&self) -> Status {
        let core = self.core();
        let report = core.report();
        let disks = self.disk_infos(&report);
        let (refused, totals) = core.with(|e| (e.writable().err(), Totals::of(e.catalog(), e.full())));
        let counting = in_state(&report, &[DiskState::Active]);
        let low = self.rooms.low();
        let writable = refused.is_none() && low.is_none() && !totals.full;
        let index_ready = core.index_ready.load(Ordering::Relaxed);
        let mut verdict = Verdict::default();
        if let Some(fault) = refused {
            verdict.say(Light::Red, format!("backups are refused: {}", fault.what));
        }
        if let Some((disk, free)) = low {
            let why = format!("backups are refused: disk {disk} has only {} left", ByteCount(free));
            verdict.say(Light::Red, why);
        } else if totals.full {
            verdict.say(Light::Red, "backups are refused: the disks are full".into());
        }
        self.state_reasons().into_iter().for_each(|(light, why)| verdict.say(light, why));
        verdict.disks(&disks);
        core.keeping_reasons().into_iter().for_each(|why| verdict.say(Light::Amber, why));
        core.incomplete_reasons().into_iter().for_each(|why| verdict.say(Light::Amber, why));
        verdict.tolerance(&report, self.geometry().m() as u32, writable);
        let scrub = core.scrub_info();
        verdict.scrub(&scrub);
        Status {
            name: self.name(&core),
            vault_id: self.of().vault_id,
            light: verdict.light,
            reasons: verdict.reasons,
            writable,
            can_lose_disks: report.can_lose,
            geometry: self.geometry(),
            epoch: report.epoch,
            objects: totals.objects,
            snapshots: totals.snapshots,
            logical_bytes: totals.logical,
            stored_bytes: totals.packed + totals.inline * counting.len().max(1) as u64,
            packs: totals.packs,
            debt_packs: report.debt.len() as u64,
            heal: crate::scrub::healing(&report.wounds),
            scrub,
            index_ready,
            jobs: jobs(&core, &report, index_ready, totals.packs),
            try_out: self.of().try_out,
            disks,
        }
    }

    /// Disks in roster order, then those that show and were taken out of the vault.
    pub fn disks(&self) -> Vec<DiskInfo> {
        let mut disks = self.disk_infos(&self.core().report());
        let lookout = lock(&self.lookout).clone();
        let retired = lookout.retired().into_iter().map(|(path, label)| DiskInfo {
            id: label.disk,
            number: label.number().map_or(0, |no| no.0),
            path: path.display().to_string(),
            state: DiskState::Retired,
            reason: Some("it was taken out of the vault and is not used".into()),
            total_bytes: None,
            free_bytes: None,
            durable_seq: 0,
            health: DiskHealth::unknown("it is not in use"),
        });
        disks.extend(retired);
        disks
    }

    fn disk_infos(&self, report: &Report) -> Vec<DiskInfo> {
        let places = lock(&self.places).clone();
        let info = |(number, (id, state, reason, seq)): (u8, &(_, DiskState, Option<String>, u64))| {
            let space = match state {
                DiskState::Active | DiskState::CatchingUp => self.rooms.get(DiskNo(number)),
                _ => None,
            };
            DiskInfo {
                id: *id,
                number,
                path: places.get(usize::from(number)).map_or_else(String::new, |p| p.display().to_string()),
                state: *state,
                reason: reason.clone(),
                total_bytes: space.map(|s| s.total),
                free_bytes: space.map(|s| s.free),
                durable_seq: *seq,
                health: match state {
                    DiskState::Active | DiskState::CatchingUp => self.healths.get(DiskNo(number)),
                    _ => DiskHealth::unknown("it is not in use"),
                },
            }
        };
        (0u8..).zip(&report.disks).map(info).collect()
    }

    /// The box's name: as the journal says, or as the state folder remembers.
    pub fn name(&self, core: &Core) -> String {
        let born = core.with(|e| e.catalog().born().map(|b| b.name.clone()));
        born.unwrap_or_else(|| self.of().name.clone())
    }

    /// The certificate of the box's authority, DER.
    pub fn authority_der(&self) -> Vec<u8> {
        let born = self.core().with(|e| e.catalog().born().map(|b| b.authority_der.to_vec()));
        born.unwrap_or_else(|| self.of().authority())
    }
}

struct Totals {
    objects: u64,
    snapshots: u64,
    logical: u64,
    packs: u64,
    packed: u64,
    inline: u64,
    full: bool,
}

impl Totals {
    fn of(catalog: &crate::catalog::Catalog, full: bool) -> Self {
        Self {
            objects: catalog.object_count() as u64,
            snapshots: catalog.snapshot_count(),
            logical: catalog.logical_bytes(),
            packs: catalog.pack_count() as u64,
            packed: catalog.pack_bytes(),
            inline: catalog.inline_bytes(),
            full,
        }
    }
}

/// The light, and why it is not green.
struct Verdict {
    light: Light,
    reasons: Vec<String>,
}

impl Default for Verdict {
    fn default() -> Self {
        Self { light: Light::Green, reasons: Vec::new() }
    }
}

impl Verdict {
    fn say(&mut self, light: Light, reason: String) {
        self.light = self.light.max(light);
        self.reasons.push(reason);
    }

    fn disks(&mut self, disks: &[DiskInfo]) {
        for disk in disks {
            if disk.health.passed == Some(false) {
                let why = "says of itself that it is failing: plan its replacement";
                self.say(Light::Amber, format!("disk {} ({}) {why}", disk.number, disk.path));
            }
            let what = match disk.state {
                DiskState::Active => continue,
                DiskState::CatchingUp => "is being brought up to date",
                DiskState::Suspect => "failed and is not used",
                DiskState::Absent => "is missing",
                DiskState::Held => "is not used",
                DiskState::Foreign => "is not the disk it should be",
                DiskState::Retired => "leaves the vault",
            };
            let why = disk.reason.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
            let at = if disk.path.is_empty() { String::new() } else { format!(" ({})", disk.path) };
            self.say(Light::Amber, format!("disk {}{at} {what}{why}", disk.number));
        }
    }

    fn scrub(&mut self, scrub: &ScrubInfo) {
        let unhealed: Vec<&FindInfo> = scrub.finds.iter().filter(|f| f.healed_ms.is_none()).collect();
        if let Some(first) = unhealed.first() {
            let on = first.disk.map_or_else(String::new, |d| format!(" on disk {d}"));
            let others = match unhealed.len() {
                1 => String::new(),
                n => format!(", and {} more", n - 1),
            };
            self.say(Light::Amber, format!("found damaged and not healed yet: {}{on}{others}", first.what));
        }
        if unhealed.is_empty() && scrub.suspected > 0 {
            self.say(
                Light::Amber,
                "something was found damaged; what lies near it is being looked at".into(),
            );
        }
        if scrub.overdue {
            self.say(Light::Amber, "it is long ago that every disk was looked at from end to end".into());
        }
    }

    fn tolerance(&mut self, report: &Report, m: u32, writable: bool) {
        if report.unreadable > 0 {
            let packs =
                if report.unreadable == 1 { "1 pack".into() } else { format!("{} packs", report.unreadable) };
            let why = "shards are missing or damaged on too many disks: snapshots with data in them cannot be restored now";
            self.say(Light::Red, format!("{packs} cannot be read, {why}; put missing disks back"));
        }
        let debt = report.debt.len().saturating_sub(report.unreadable);
        if debt > 0 {
            let packs = if debt == 1 { "1 pack is".into() } else { format!("{debt} packs are") };
            let doing = if report.wounds.exceptional > 0 {
                "not all can be healed now, it is tried again"
            } else {
                "being healed"
            };
            self.say(Light::Amber, format!("{packs} less protected than possible; {doing}"));
        }
        match report.can_lose {
            0 if m == 0 => self.say(Light::Amber, "there is one copy only: no disk may be lost".into()),
            0 if report.witnessed && writable => {
                self.say(Light::Red, "no other disk may be lost: backups rest on too few disks".into());
            }
            0 => self.say(Light::Red, "no other disk may be lost".into()),
            n if n < m => self.say(Light::Amber, format!("{n} more disk(s) may be lost, normally {m}")),
            _ => {}
        }
    }
}

fn jobs(core: &Core, report: &Report, index_ready: bool, packs: u64) -> Vec<JobInfo> {
    let mut jobs = Vec::new();
    if !index_ready {
        let lacking = core.index_lacking.load(Ordering::Relaxed).min(packs);
        jobs.push(JobInfo { kind: "index-rebuild".into(), done: packs - lacking, total: Some(packs) });
    }
    let newest = report.disks.iter().map(|d| d.3).max().unwrap_or(0);
    for disk in report.disks.iter().filter(|d| d.1 == DiskState::CatchingUp) {
        jobs.push(JobInfo { kind: "catch-up".into(), done: disk.3, total: Some(newest) });
    }
    if report.checkpointing {
        jobs.push(JobInfo { kind: "checkpoint".into(), done: 0, total: None });
    }
    let wounded = report.wounds.packs;
    if wounded > 0 {
        jobs.push(JobInfo { kind: "heal".into(), done: 0, total: Some(wounded) });
    }
    let narrow = (report.debt.len() as u64).saturating_sub(wounded);
    if narrow > 0 {
        jobs.push(JobInfo { kind: "re-encode".into(), done: 0, total: Some(narrow) });
    }
    let scrub = core.scrub_info();
    if let Some(kind) = scrub.running {
        jobs.push(JobInfo {
            kind: format!("scrub-{kind}"),
            done: scrub.deep_done_per_mille,
            total: Some(1_000),
        });
    }
    jobs
}
