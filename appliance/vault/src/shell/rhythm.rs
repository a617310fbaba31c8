//! Who sent when, and what the light says of it: late, never, or nothing at all.

use super::house::House;
use crate::core::Core;
use coffre_core::fact::ClientFact;
use coffre_core::names::ClientName;
use coffre_core::rhythm::{Every, Rhythm, Source, Standing};
use coffre_core::wire::{Light, SenderInfo};
use std::cmp::Reverse;

/// A client that was made this long ago and has sent nothing is told: its owner is still typing before.
const NEW_CLIENT_MS: u64 = 55_000;
/// A repository that is this old and has no snapshot is told: a first backup may last a day.
const NEW_REPO_MS: u64 = 24 * 3_600_000;
/// So far ahead of the clock a time of receipt is believed.
const AHEAD_MS: u64 = 3_600_000;
/// Most senders that the light speaks of one by one.
const TOLD: usize = 8;
const HOUR_MS: u64 = 3_600_000;

impl House {
    /// Everybody who sends, those that stand worst first, and of these the longest silent.
    pub fn senders(&self, core: &Core) -> Vec<SenderInfo> {
        let now_ms = core.clock.wall_ms();
        let mut all = core.with(|e| senders(e.catalog(), now_ms));
        all.sort_by_cached_key(|one| {
            (Reverse(one.rhythm.standing), one.rhythm.last_ms.unwrap_or(one.since_ms), one.called())
        });
        all
    }

    /// How a client stands: as that of its data sets and repositories that stands worst; its last backup is the newest of all.
    pub(super) fn rhythm_of(senders: &[SenderInfo], client: &ClientName) -> Rhythm {
        let own = || senders.iter().filter(|one| one.client == *client).map(|one| one.rhythm);
        let worst = own().max_by_key(|rhythm| rhythm.standing).unwrap_or_default();
        Rhythm { last_ms: own().filter_map(|rhythm| rhythm.last_ms).max(), ..worst }
    }

    /// What of this is no green light, and why. Nothing of it is known while the disks do not show all there is.
    pub(super) fn rhythm_reasons(&self, core: &Core, senders: &[SenderInfo]) -> Vec<(Light, String)> {
        if self.partial() {
            return Vec::new();
        }
        let now_ms = core.clock.wall_ms();
        let mut all = Vec::new();
        if core.with(|e| e.catalog().snapshot_count()) == 0 {
            let next = "add a machine with `coffre client pair` and let it send a backup";
            all.push((Light::Amber, format!("nothing is backed up yet: {next}")));
        }
        let mut told: Vec<(Light, String)> = senders.iter().filter_map(|one| reason(one, now_ms)).collect();
        let more = told.len().saturating_sub(TOLD);
        let worst = told.iter().skip(TOLD).map(|(light, _)| *light).max();
        told.truncate(TOLD);
        all.extend(told);
        if let Some(light) = worst {
            all.push((
                light,
                format!("and {more} more that are late or never sent anything: `coffre client list`"),
            ));
        }
        all
    }
}

fn senders(catalog: &crate::catalog::Catalog, now_ms: u64) -> Vec<SenderInfo> {
    let gone = |client: &ClientName| catalog.client(client).is_none_or(|fact| fact.secret_hash.is_none());
    let quiet = |rhythm: Rhythm, gone: bool| match gone {
        true => Rhythm { standing: Standing::NotExpected, ..rhythm },
        false => rhythm,
    };
    let mut all = Vec::new();
    for dataset in catalog.known_datasets() {
        let since_ms = catalog.policy(dataset).set_ms.unwrap_or(0);
        let mut rhythm = catalog.rhythm(dataset, now_ms);
        // Something was said of its lock, and nothing of when it should come.
        if rhythm.standing == Standing::Never
            && rhythm.source != Source::Given
            && catalog.snapshots(dataset).is_empty()
        {
            rhythm.standing = Standing::Unknown;
        }
        all.push(SenderInfo {
            client: dataset.client.clone(),
            name: Some(dataset.name.clone()),
            repository: false,
            since_ms,
            rhythm: quiet(rhythm, gone(&dataset.client)),
        });
    }
    for figures in catalog.repos() {
        let (fact, client) = (&figures.fact, &figures.fact.repo.client);
        let mut rhythm = catalog.repo_rhythm(&fact.repo, figures.newest_ms, now_ms);
        if rhythm.standing == Standing::Never {
            rhythm.standing = repo_without_any(fact.created_ms, Every::from_seconds(fact.every_s), now_ms);
        }
        all.push(SenderInfo {
            client: client.clone(),
            name: Some(fact.repo.name.clone()),
            repository: true,
            since_ms: fact.created_ms,
            rhythm: quiet(rhythm, fact.removed || gone(client)),
        });
    }
    let silent = |client: &&ClientFact| client.secret_hash.is_some() && !catalog.ever_sent(&client.name);
    for client in catalog.clients().filter(silent) {
        let young = now_ms.saturating_sub(client.created_ms) < NEW_CLIENT_MS && client.created_ms <= now_ms;
        let standing = if young { Standing::Unknown } else { Standing::Never };
        all.push(SenderInfo {
            client: client.name.clone(),
            name: None,
            repository: false,
            since_ms: client.created_ms,
            rhythm: Rhythm { standing, ..Rhythm::default() },
        });
    }
    all
}

/// How a repository stands that has no snapshot.
fn repo_without_any(created_ms: u64, every: Every, now_ms: u64) -> Standing {
    let grace_ms = match every {
        Every::Seconds(seconds) => u64::from(seconds) * 1_500,
        Every::Auto | Every::Never => NEW_REPO_MS,
    };
    match now_ms.saturating_sub(created_ms) > grace_ms {
        true => Standing::Never,
        false => Standing::Unknown,
    }
}

fn reason(one: &SenderInfo, now_ms: u64) -> Option<(Light, String)> {
    let called = one.called();
    let Rhythm { every_s, source, last_ms, standing } = one.rhythm;
    let light = match standing {
        Standing::VeryLate => Light::Red,
        _ => Light::Amber,
    };
    let said = match (standing, last_ms) {
        (Standing::Late | Standing::VeryLate, Some(last_ms)) => {
            let ago = ago(now_ms.saturating_sub(last_ms));
            let very = if standing == Standing::VeryLate { "very " } else { "" };
            let due = match (every_s, source) {
                (Some(seconds), Source::Given) => {
                    format!("one is expected every {}", coffre_core::class::LockClass(seconds))
                }
                (Some(seconds), _) => format!("one used to come every {}", hours(seconds)),
                (None, _) => "how often one should come is not known".to_owned(),
            };
            format!(
                "{called} is {very}late: its last complete backup came {ago} ago, and {due}; see on that machine why none comes"
            )
        }
        (Standing::Never, _) if one.name.is_none() => format!(
            "{called} was paired on {} and has never sent a backup; set it up, or see on that machine why none comes",
            day(one.since_ms)
        ),
        (Standing::Never, _) => {
            format!("no complete backup of {called} has ever come; see on that machine why none comes")
        }
        (Standing::Unknown, Some(last_ms)) if last_ms > now_ms.saturating_add(AHEAD_MS) => format!(
            "when the last backup of {called} came is not known: the box's clock was ahead then, or is behind now"
        ),
        _ => return None,
    };
    Some((light, said))
}

/// How often, in whole hours or days: what is learnt is no exact number.
fn hours(seconds: u32) -> String {
    match seconds.div_ceil(3_600) {
        hours @ ..=47 => format!("{hours} h or so"),
        hours => format!("{} days or so", hours / 24),
    }
}

/// How long ago, as people say it.
pub(super) fn ago(ms: u64) -> String {
    let of = |count: u64, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    match ms {
        ms if ms < 120_000 => of(ms / 1_000, "second"),
        ms if ms < 2 * HOUR_MS => of(ms / 60_000, "minute"),
        ms if ms < 48 * HOUR_MS => of(ms / HOUR_MS, "hour"),
        ms => of(ms / (24 * HOUR_MS), "day"),
    }
}

/// The day of a time in UTC, `2026-11-28` (the civil calendar, as in Howard Hinnant's `civil_from_days`).
fn day(ms: u64) -> String {
    let days = ms / 86_400_000 + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    format!("{:04}-{month:02}-{day:02}", year_of_era + era * 400 + u64::from(month <= 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_lengths_are_those_of_people() {
        let days = [0, 951_782_400_000, 1_790_596_800_000, 1_798_761_599_999].map(day);
        assert_eq!(days, ["1970-01-01", "2000-02-29", "2026-09-28", "2026-12-31"]);
        let lengths = [1_000, 119_000, 120_000, 2 * HOUR_MS, 47 * HOUR_MS, 72 * HOUR_MS].map(ago);
        assert_eq!(lengths, ["1 second", "119 seconds", "2 minutes", "2 hours", "47 hours", "3 days"]);
        assert_eq!([86_400, 604_800].map(hours), ["24 h or so", "7 days or so"]);
        assert!(!day(u64::MAX).is_empty());
    }
}

#[cfg(test)]
#[path = "rhythm_tests.rs"]
mod in_time;
