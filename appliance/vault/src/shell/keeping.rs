//! Keeping and forgetting as the owner of the box sees them: data sets, plans, the clock.

use super::house::House;
use crate::core::{Core, lock};
use crate::upkeep::{ForgetPlan, Judged};
use coffre_core::amount::ByteCount;
use coffre_core::class::LockClass;
use coffre_core::fact::ObjectFact;
use coffre_core::fault::{Fault, Result};
use coffre_core::keep::{KeepRules, Verdict};
use coffre_core::kind::{Expected, Kind};
use coffre_core::names::DatasetRef;
use coffre_core::retention::{CALM_MS, Doubt, TimeEvidence};
use coffre_core::wire::{ClockInfo, DatasetInfo, ForgotInfo, JudgedInfo, PlanInfo};
use std::collections::BTreeSet;

/// The first run after a start comes after this part of the time between two runs: a box that is switched off at night
/// forgets as well.
const FIRST_RUN_PART: u64 = 24;
/// Most data sets that the light speaks of one by one.
const INCOMPLETE_TOLD: usize = 8;

impl House {
    /// See [`Vault::dataset_set`](crate::Vault::dataset_set).
    pub fn dataset_set(
        &self,
        dataset: &DatasetRef,
        class: Option<LockClass>,
        keep: Option<KeepRules>,
        kind: Option<Kind>,
    ) -> Result<DatasetInfo> {
        let core = self.open_for_work()?;
        if let Some(short) = class.filter(|c| *c < LockClass::SHORTEST && !self.of().try_out) {
            return Err(Fault::refused(format!("a lock of {short} is for try-outs"))
                .next(format!("choose at least {}", LockClass::SHORTEST)));
        }
        if core.with(|e| e.catalog().client(&dataset.client).is_none()) {
            return Err(Fault::absent(format!("there is no client {}", dataset.client))
                .next("see `coffre client list`"));
        }
        let _one_at_a_time = lock(&self.admin);
        core.set_policy(dataset, class, keep, kind)?;
        Ok(info(&core, dataset))
    }

    /// Data sets that have a snapshot or of which something was said, by name.
    pub fn dataset_list(&self) -> Vec<DatasetInfo> {
        let core = self.core();
        let all: BTreeSet<DatasetRef> = core.with(|e| {
            let catalog = e.catalog();
            catalog.datasets().chain(catalog.policies()).cloned().collect()
        });
        all.iter().map(|dataset| info(&core, dataset)).collect()
    }

    /// What a run of forgetting would do now.
    pub fn forget_plan(&self) -> Result<PlanInfo> {
        let core = self.core();
        let plan = core.forget_plan()?;
        let stopped = core.may_forget().err().map(|fault| fault.to_string());
        Ok(plan_info(&plan, stopped, self.limits.grace_ms))
    }

    /// One run now. `approve` names a plan that may free more than a fifth.
    pub fn forget_run(&self, approve: Option<&str>) -> Result<ForgotInfo> {
        let core = self.open_for_work()?;
        if let Some(id) = approve
            && core.forget_plan()?.id != id
        {
            return Err(Fault::refused(format!("the plan {id} is no longer what would be forgotten"))
                .next("look at `coffre forget --plan` again"));
        }
        let done = core.forget_run(approve)?;
        Ok(ForgotInfo {
            condemned: done.condemned as u64,
            condemned_packs: done.condemned_packs as u64,
            freed: done.freed as u64,
            freed_packs: done.freed_packs as u64,
            compacted: done.compacted as u64,
            asks: done.asks,
        })
    }

    /// The two clocks.
    pub fn clock_show(&self) -> ClockInfo {
        clock_info(&self.core(), 0)
    }

    /// The owner says what time it is. While nothing is in doubt nothing changes: a clock that lags a little is no reason for
    /// three days in which nothing expires.
    pub fn clock_attest(&self, at_ms: u64) -> Result<ClockInfo> {
        let core = self.open_for_work()?;
        let evidence = [TimeEvidence::Owner { at_ms }];
        let mut clock = core.retention();
        let sure = clock.doubt().is_none();
        // On a copy: a time that cannot be is refused all the same.
        clock.hear(&evidence)?;
        if sure {
            return Ok(clock_info(&core, 0));
        }
        let leapt_ms = core.hear_time(&evidence)?;
        tracing::info!(target: "audit", at_ms, leapt_ms, "the owner attested the time");
        Ok(clock_info(&core, leapt_ms))
    }

    /// For the keeper: a run of forgetting when one is due.
    pub(super) fn forget_if_due(&self, core: &Core, started_ms: u64) -> Result<()> {
        let now_ms = self.clock.mono_ms();
        let due_ms = match lock(&core.forget_memory).ran_ms {
            Some(ran_ms) => ran_ms + self.limits.forget_every_ms,
            None => started_ms + self.limits.forget_every_ms / FIRST_RUN_PART,
        };
        if now_ms < due_ms || core.with(|e| e.writable()).is_err() {
            return Ok(());
        }
        let done = core.forget_run(None)?;
        if done != Default::default() {
            tracing::info!(target: "audit", ?done, "forgetting");
        }
        Ok(())
    }
}

impl Core {
    /// Why forgetting or the clock is no green light, in words.
    pub(crate) fn keeping_reasons(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        match self.retention().doubt() {
            Some(doubt @ Doubt::Apart { .. }) => reasons.push(format!(
                "{doubt}: nothing expires; put the system's clock right, or say what time it is with `coffre clock attest`"
            )),
            Some(doubt @ Doubt::Calming { .. }) => reasons.push(format!("nothing expires yet: {doubt}")),
            None => {}
        }
        let memory = lock(&self.forget_memory);
        if let Some((id, frees, live)) = &memory.asking {
            reasons.push(format!(
                "forgetting would free {} of {}, more than a fifth: look at `coffre forget --plan`, then `coffre forget --approve {id}`",
                ByteCount(*frees), ByteCount(*live),
            ));
        }
        if let Some(fault) = &memory.stopped
            && self.retention().doubt().is_none()
        {
            reasons.push(format!("the last run of forgetting stopped: {}", fault.what));
        }
        reasons
    }

    /// Which data sets ended on a snapshot that is not complete, why, and what to do.
    pub(crate) fn incomplete_reasons(&self) -> Vec<String> {
        self.with(|e| {
            let catalog = e.catalog();
            let ending = catalog.ending_incomplete();
            let say = |(dataset, fact): (&DatasetRef, &ObjectFact)| {
                let checked = fact.checked?;
                let last = match catalog.newest_whole(dataset) {
                    Some(_) => "the last complete one stays until there is a newer one",
                    None => "there is no complete one",
                };
                Some(format!(
                    "the newest snapshot of {dataset} is not complete: {}; {}; {last}. If it is as it should be: `coffre dataset set {dataset} --kind file`",
                    checked.why()?,
                    checked.next(),
                ))
            };
            let mut all: Vec<String> = ending.filter_map(say).collect();
            let more = all.len().saturating_sub(INCOMPLETE_TOLD);
            all.truncate(INCOMPLETE_TOLD);
            if more > 0 {
                all.push(format!("and {more} more data set(s) whose newest snapshot is not complete: `coffre dataset list`"));
            }
            all
        })
    }
}

fn info(core: &Core, dataset: &DatasetRef) -> DatasetInfo {
    let clock = core.retention();
    core.with(|e| {
        let catalog = e.catalog();
        let policy = catalog.policy(dataset);
        let objects: Vec<_> = catalog.snapshots(dataset).iter().filter_map(|id| catalog.object(id)).collect();
        DatasetInfo {
            dataset: dataset.clone(),
            class: policy.class,
            keep: policy.keep,
            set_ms: policy.set_ms,
            snapshots: objects.len() as u64,
            locked: objects.iter().filter(|o| !clock.has_passed(o.locked_until_ms)).count() as u64,
            logical_bytes: objects.iter().map(|o| o.size).sum(),
            newest_ms: objects.last().map(|o| o.received_ms),
            kind: match catalog.expected(dataset) {
                Expected::Said(kind) | Expected::Recognised(kind) => Some(kind),
                Expected::Unknown => None,
            },
            kind_said: policy.kind.is_some(),
            incomplete: objects.iter().filter(|o| catalog.is_incomplete(o)).count() as u64,
            newest_complete_ms: catalog.newest_whole(dataset).map(|o| o.received_ms),
        }
    })
}

fn plan_info(plan: &ForgetPlan, stopped: Option<String>, grace_ms: u64) -> PlanInfo {
    PlanInfo {
        id: plan.id.clone(),
        retention_ms: plan.retention_ms,
        stopped,
        needs_approval: plan.needs_approval(),
        snapshots: plan.snapshots.iter().map(judged_info).collect(),
        packs: plan.dying.len() as u64,
        frees_bytes: plan.frees_bytes,
        stray_packs: plan.stray.len() as u64,
        stray_bytes: plan.stray_bytes,
        live_bytes: plan.live_bytes,
        grace_ms,
    }
}

fn judged_info(one: &Judged) -> JudgedInfo {
    let reasons = match &one.verdict {
        Verdict::Keep(reasons) => reasons.iter().map(ToString::to_string).collect(),
        Verdict::Go(reasons) => reasons.iter().map(ToString::to_string).collect(),
    };
    JudgedInfo {
        dataset: one.object.dataset.clone(),
        id: one.object.id,
        size: one.object.size,
        received_ms: one.object.received_ms,
        locked_until_ms: one.object.locked_until_ms,
        complete: one.object.checked.and_then(|checked| checked.complete()),
        keep: one.verdict.keeps(),
        reasons,
        condemned_ms: one.condemned_ms,
    }
}

fn clock_info(core: &Core, leapt_ms: u64) -> ClockInfo {
    let clock = core.retention();
    let calm_ms = match clock.doubt() {
        None => 0,
        Some(Doubt::Apart { .. }) => CALM_MS,
        Some(Doubt::Calming { left_ms }) => left_ms,
    };
    ClockInfo {
        retention_ms: clock.now_ms(),
        wall_ms: core.clock.wall_ms(),
        doubt: clock.doubt().map(|d| d.to_string()),
        calm_ms,
        leapt_ms,
    }
}

#[cfg(test)]
#[path = "keeping_tests.rs"]
mod tests;
