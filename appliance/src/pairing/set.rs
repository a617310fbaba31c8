//! The set of pairings: codes that wait, codes that were used, and how many wrong ones are borne. Pure: the time is given.
//!
//! A code has 40 bits and lives for ten minutes, so guessing is hopeless as long as tries are counted. They are counted
//! twice. **Per peer**: who has sent [`TRIES_PER_PEER`] wrong codes is not heard any more until the owner makes another code.
//! **In all**: a code that has lived through [`TRIES_IN_ALL`] wrong tries, whoever made them, is void. One number alone would be
//! wrong either way: five tries in all would let anybody on the LAN void the code that the owner has just read aloud, and five
//! per peer alone would give somebody with many addresses as many tries as he has addresses. As it is, a guesser wins once in
//! 10^9 codes at best, and voiding a code takes twenty addresses and is told on the box.

use super::{Claim, Wish};
use coffre_core::names::ClientName;
use coffre_core::pair::PairCode;
use coffre_core::wire::{Arrivals, PairState};
use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use zeroize::Zeroizing;

/// How long a code may be used.
pub const LIFE_MS: u64 = 10 * 60 * 1000;
/// How long what was claimed stays for downloads: what is left of the code's life, and this at least.
pub const FILES_AT_LEAST_MS: u64 = 5 * 60 * 1000;
/// Most codes that wait at once.
pub const MAX_WAITING: usize = 8;
/// Wrong codes of one peer that are answered as such; from then on it is not heard.
pub const TRIES_PER_PEER: u32 = 5;
/// Wrong codes, of all peers together, that a waiting code lives through.
pub const TRIES_IN_ALL: u32 = 100;
/// Most pairings that are remembered, over ones included.
pub const MAX_KEPT: usize = 32;
/// How long the first backup is waited for.
pub const TOLD_FOR_MS: u64 = 24 * 3600 * 1000;

const _: () = assert!(MAX_WAITING < MAX_KEPT && TRIES_PER_PEER < TRIES_IN_ALL);

/// Random bits that name a claimed pairing in addresses, in hexadecimal.
pub type Token = [u8; 16];

/// A client's secret while it may still be shown. Hidden when printed, erased when dropped.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes it over.
    pub fn new(secret: String) -> Self {
        Self(Zeroizing::new(secret))
    }

    /// The secret itself.
    pub fn shown(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(hidden)")
    }
}

/// Why a code was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There is no such code, or no more.
    Unknown,
    /// It was used.
    Used,
    /// This peer has tried too many.
    TooMany,
}

/// A pairing.
#[derive(Debug)]
pub struct Pairing {
    /// Its number.
    pub id: u64,
    /// What the owner asked for.
    pub wish: Wish,
    /// Wrong tries that it lived through.
    pub wrong: u32,
    code: PairCode,
    begun_ms: u64,
    ends_ms: u64,
    stage: Stage,
    /// A client that may have been made with it: nobody knows yet.
    unsure: Option<(Claim, Secret)>,
}

#[derive(Debug)]
enum Stage {
    Waiting,
    /// Somebody's form is being carried out.
    Claiming,
    Claimed {
        claim: Claim,
        /// `None` once its time is over.
        secret: Option<Secret>,
        token: Token,
        shown: bool,
        first_backup_ms: Option<u64>,
    },
    Over(PairState),
}

/// What a claimed pairing gives to whoever has its token.
#[derive(Debug)]
pub struct Opened {
    /// Its number.
    pub id: u64,
    /// What the owner asked for.
    pub wish: Wish,
    /// Whose secret it is.
    pub client: ClientName,
    /// The secret.
    pub secret: Secret,
    /// Whether nobody has looked at the page before.
    pub first_look: bool,
    /// How long this still works.
    pub left_ms: u64,
}

/// All pairings of a daemon's life.
#[derive(Debug, Default)]
pub struct Set {
    all: Vec<Pairing>,
    peers: HashMap<IpAddr, u32>,
    last_id: u64,
}

impl Set {
    /// A new code; `None` when too many wait. Peers that tried too many are heard again: whoever made this code is at the box.
    pub fn begin(&mut self, wish: Wish, code: PairCode, now_ms: u64) -> Option<u64> {
        self.tidy(now_ms);
        if self.waiting().count() >= MAX_WAITING {
            return None;
        }
        if self.all.len() >= MAX_KEPT {
            // The oldest that nobody waits for any more; there are fewer that wait than are kept.
            let oldest = self.all.iter().position(|p| !matches!(p.stage, Stage::Waiting | Stage::Claiming));
            self.all.remove(oldest?);
        }
        self.last_id += 1;
        self.peers.clear();
        let ends_ms = now_ms.saturating_add(LIFE_MS);
        let stage = Stage::Waiting;
        let (id, wrong, unsure) = (self.last_id, 0, None);
        self.all.push(Pairing { id, wish, wrong, code, begun_ms: now_ms, ends_ms, stage, unsure });
        Some(self.last_id)
    }

    /// The waiting pairing of a code. A wrong one is counted.
    pub fn find(&mut self, peer: IpAddr, code: &PairCode, now_ms: u64) -> Result<&Pairing, Refusal> {
        self.tidy(now_ms);
        let tried = self.peers.get(&peer).copied().unwrap_or(0);
        if tried >= TRIES_PER_PEER && self.waiting().next().is_some() {
            return Err(Refusal::TooMany);
        }
        match self.position(code) {
            Some(at) => match self.all[at].stage {
                Stage::Waiting => Ok(&self.all[at]),
                Stage::Claiming | Stage::Claimed { .. } => Err(Refusal::Used),
                Stage::Over(_) => Err(Refusal::Unknown),
            },
            None => {
                self.count_wrong(peer);
                Err(Refusal::Unknown)
            }
        }
    }

    /// Takes a waiting code for oneself. [`Set::claimed`] or [`Set::give_back`] must follow.
    pub fn claim(&mut self, peer: IpAddr, code: &PairCode, now_ms: u64) -> Result<(u64, Wish), Refusal> {
        let found = self.find(peer, code, now_ms)?.id;
        let pairing = self.by_id(found).ok_or(Refusal::Unknown)?;
        pairing.stage = Stage::Claiming;
        Ok((found, pairing.wish.clone()))
    }

    /// The client was made.
    pub fn claimed(&mut self, id: u64, claim: Claim, secret: Secret, token: Token, now_ms: u64) {
        if let Some(pairing) = self.by_id(id) {
            pairing.ends_ms = pairing.ends_ms.max(now_ms.saturating_add(FILES_AT_LEAST_MS));
            pairing.unsure = None;
            let secret = Some(secret);
            pairing.stage = Stage::Claimed { claim, secret, token, shown: false, first_backup_ms: None };
        }
    }

    /// It was not, or nobody knows: the code waits again. What may have been made with it is kept for whoever uses it next.
    pub fn give_back(&mut self, id: u64, unsure: Option<(Claim, Secret)>) {
        if let Some(pairing) = self.by_id(id).filter(|p| matches!(p.stage, Stage::Claiming)) {
            pairing.stage = Stage::Waiting;
            pairing.unsure = unsure;
        }
    }

    /// What may have been made with a code before.
    pub fn unsure(&mut self, id: u64) -> Option<(Claim, Secret)> {
        self.by_id(id)?.unsure.clone()
    }

    /// What is behind a token, as long as its time is not over. `looked`: its page is about to be shown.
    pub fn open(&mut self, token: &Token, looked: bool, now_ms: u64) -> Option<Opened> {
        self.tidy(now_ms);
        for pairing in &mut self.all {
            let Stage::Claimed { claim, secret: Some(secret), token: own, shown, .. } = &mut pairing.stage
            else {
                continue;
            };
            if !same(own, token) {
                continue;
            }
            let first_look = !*shown;
            *shown |= looked;
            return Some(Opened {
                id: pairing.id,
                wish: pairing.wish.clone(),
                client: claim.client.clone(),
                secret: secret.clone(),
                first_look,
                left_ms: pairing.ends_ms.saturating_sub(now_ms),
            });
        }
        None
    }

    /// The pairing of a token, also when its secret is gone.
    pub fn known(&mut self, token: &Token, now_ms: u64) -> Option<u64> {
        self.tidy(now_ms);
        let mut found = None;
        for pairing in &self.all {
            if let Stage::Claimed { token: own, .. } = &pairing.stage
                && same(own, token)
            {
                found = Some(pairing.id);
            }
        }
        found
    }

    /// Takes a waiting code back; `false` when there is none of this number.
    pub fn cancel(&mut self, id: u64, now_ms: u64) -> bool {
        self.tidy(now_ms);
        match self.by_id(id).filter(|p| matches!(p.stage, Stage::Waiting)) {
            Some(pairing) => {
                pairing.stage = Stage::Over(PairState::Cancelled);
                true
            }
            None => false,
        }
    }

    /// Whose first backup is waited for, with what was there when its code was used.
    pub fn expecting(&mut self, now_ms: u64) -> Vec<(u64, ClientName, Arrivals)> {
        self.tidy(now_ms);
        let expecting = |p: &Pairing| match &p.stage {
            Stage::Claimed { claim, first_backup_ms: None, .. } => {
                Some((p.id, claim.client.clone(), claim.before))
            }
            _ => None,
        };
        self.all.iter().filter_map(expecting).collect()
    }

    /// The first backup was seen, at `wall_ms` since 1970.
    pub fn arrived(&mut self, id: u64, wall_ms: u64) {
        if let Some(Pairing { stage: Stage::Claimed { first_backup_ms, .. }, .. }) = self.by_id(id) {
            first_backup_ms.get_or_insert(wall_ms);
        }
    }

    /// All pairings, newest first.
    pub fn all(&mut self, now_ms: u64) -> impl Iterator<Item = &Pairing> {
        self.tidy(now_ms);
        self.all.iter().rev()
    }

    fn waiting(&self) -> impl Iterator<Item = &Pairing> {
        self.all.iter().filter(|p| matches!(p.stage, Stage::Waiting | Stage::Claiming))
    }

    fn by_id(&mut self, id: u64) -> Option<&mut Pairing> {
        self.all.iter_mut().find(|pairing| pairing.id == id)
    }

    /// Compares with every code there is, so that the time says nothing about which letters were right.
    fn position(&self, code: &PairCode) -> Option<usize> {
        let mut found = None;
        for (at, pairing) in self.all.iter().enumerate() {
            if same(pairing.code.letters(), code.letters()) {
                found = Some(at);
            }
        }
        found
    }

    fn count_wrong(&mut self, peer: IpAddr) {
        if self.waiting().next().is_none() {
            return;
        }
        *self.peers.entry(peer).or_insert(0) += 1;
        for pairing in self.all.iter_mut().filter(|p| matches!(p.stage, Stage::Waiting)) {
            pairing.wrong += 1;
            if pairing.wrong >= TRIES_IN_ALL {
                pairing.stage = Stage::Over(PairState::Void);
            }
        }
    }

    /// Ends what is over; what is long over is forgotten.
    fn tidy(&mut self, now_ms: u64) {
        for pairing in self.all.iter_mut().filter(|p| now_ms >= p.ends_ms) {
            pairing.unsure = None;
            match &mut pairing.stage {
                Stage::Waiting => pairing.stage = Stage::Over(PairState::Expired),
                Stage::Claimed { secret, .. } => *secret = None,
                Stage::Claiming | Stage::Over(_) => {}
            }
        }
        self.all.retain(|p| {
            now_ms.saturating_sub(p.begun_ms) < TOLD_FOR_MS || matches!(p.stage, Stage::Claiming)
        });
        if self.waiting().next().is_none() {
            self.peers.clear();
        }
    }
}

impl Pairing {
    /// How far it is.
    pub fn state(&self) -> PairState {
        match &self.stage {
            Stage::Waiting | Stage::Claiming => PairState::Waiting,
            Stage::Claimed { first_backup_ms: None, .. } => PairState::Claimed,
            Stage::Claimed { .. } => PairState::Arrived,
            Stage::Over(state) => *state,
        }
    }

    /// What was claimed, and when its first backup was seen.
    pub fn claim(&self) -> Option<(&Claim, Option<u64>)> {
        match &self.stage {
            Stage::Claimed { claim, first_backup_ms, .. } => Some((claim, *first_backup_ms)),
            _ => None,
        }
    }

    /// How long its code, or what was claimed with it, may still be used.
    pub fn left_ms(&self, now_ms: u64) -> u64 {
        match self.stage {
            Stage::Over(_) => 0,
            _ => self.ends_ms.saturating_sub(now_ms),
        }
    }

    /// Its code.
    pub fn code(&self) -> &PairCode {
        &self.code
    }
}

fn same(a: &[u8], b: &[u8]) -> bool {
    aws_lc_rs::constant_time::verify_slices_are_equal(a, b).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(n: u8) -> PairCode {
        PairCode::from_bits([n, 1, 2, 3, 4])
    }

    fn peer(n: u8) -> IpAddr {
        [192, 0, 2, n].into()
    }

    fn claim() -> Claim {
        Claim { client: "pc".parse().expect("a name"), removed_before: false, before: Arrivals::default() }
    }

    fn waiting() -> Set {
        let mut set = Set::default();
        assert_eq!(set.begin(Wish::default(), code(1), 0), Some(1));
        set
    }

    #[test]
    fn looking_uses_nothing_up_and_a_claim_does() {
        let mut set = waiting();
        for _ in 0..50 {
            assert!(set.find(peer(1), &code(1), 1).is_ok());
        }
        assert!(set.claim(peer(1), &code(1), 2).is_ok());
        assert_eq!(set.claim(peer(2), &code(1), 2).expect_err("one at a time"), Refusal::Used);
        set.give_back(1, None);
        assert!(set.claim(peer(2), &code(1), 3).is_ok(), "it failed, so the code waits again");
        set.claimed(1, claim(), Secret::new("hush".into()), [7; 16], 4);
        assert_eq!(set.find(peer(2), &code(1), 5).expect_err("used"), Refusal::Used);
        set.give_back(1, None);
        assert_eq!(set.find(peer(2), &code(1), 5).expect_err("used for good"), Refusal::Used);
    }

    #[test]
    fn a_code_ends_after_ten_minutes_and_not_before() {
        let mut set = waiting();
        assert!(set.find(peer(1), &code(1), LIFE_MS - 1).is_ok());
        assert_eq!(set.find(peer(1), &code(1), LIFE_MS).expect_err("over"), Refusal::Unknown);
        assert_eq!(set.all(LIFE_MS).next().map(Pairing::state), Some(PairState::Expired));
        assert_eq!(set.all(TOLD_FOR_MS).count(), 0, "forgotten");
    }

    #[test]
    fn a_guesser_is_not_heard_and_voids_nobody() {
        let mut set = waiting();
        for n in 0..200 {
            let refusal = set.find(peer(1), &code(99), n).expect_err("wrong");
            assert_eq!(refusal, if n < 5 { Refusal::Unknown } else { Refusal::TooMany });
        }
        assert_eq!(set.find(peer(1), &code(1), 300).expect_err("not even the right one"), Refusal::TooMany);
        assert!(set.find(peer(2), &code(1), 300).is_ok(), "the owner's telephone");
        assert!(set.begin(Wish::default(), code(2), 301).is_some());
        assert!(set.find(peer(1), &code(2), 302).is_ok(), "heard again with a new code");
    }

    #[test]
    fn many_guessers_void_it_and_that_is_told() {
        let mut set = waiting();
        for n in 0..TRIES_IN_ALL {
            assert!(set.find(peer((n / TRIES_PER_PEER) as u8), &code(99), 1).is_err());
        }
        assert_eq!(set.find(peer(200), &code(1), 2).expect_err("void"), Refusal::Unknown);
        let told = set.all(2).next().expect("kept");
        assert_eq!((told.state(), told.wrong), (PairState::Void, TRIES_IN_ALL));
        assert!(set.peers.is_empty(), "nothing to guess, nothing to count");
    }

    #[test]
    fn the_secret_goes_when_its_time_is_over_and_the_rest_is_told_on() {
        let mut set = waiting();
        let late_ms = LIFE_MS - 1;
        assert!(set.claim(peer(1), &code(1), late_ms).is_ok());
        assert!(set.find(peer(1), &code(1), LIFE_MS + 9).is_err(), "a claim under way outlives the code");
        set.claimed(1, claim(), Secret::new("hush".into()), [7; 16], late_ms);
        assert!(!format!("{set:?}").contains("hush"));
        let end_ms = late_ms + FILES_AT_LEAST_MS;
        let first = set.open(&[7; 16], true, end_ms - 1).expect("there");
        assert!(first.first_look && first.left_ms == 1 && first.secret.shown() == "hush");
        assert!(!set.open(&[7; 16], true, end_ms - 1).expect("there").first_look);
        assert!(set.open(&[8; 16], true, end_ms - 1).is_none());
        assert!(set.open(&[7; 16], false, end_ms).is_none(), "gone");
        assert_eq!((set.known(&[7; 16], end_ms), set.known(&[8; 16], end_ms)), (Some(1), None));
        assert_eq!(set.expecting(end_ms).len(), 1, "its first backup is still waited for");
        set.arrived(1, 77);
        set.arrived(1, 88);
        let told = set.all(end_ms).next().and_then(Pairing::claim).map(|(_, at)| at);
        assert_eq!(told, Some(Some(77)));
        assert!(set.expecting(end_ms).is_empty());
    }

    #[test]
    fn only_a_waiting_code_is_taken_back() {
        let mut set = waiting();
        assert!(set.cancel(1, 1) && !set.cancel(1, 1) && !set.cancel(9, 1));
        assert_eq!(set.find(peer(1), &code(1), 2).expect_err("taken back"), Refusal::Unknown);
        assert_eq!(set.all(2).next().map(Pairing::state), Some(PairState::Cancelled));
    }

    #[test]
    fn everything_has_a_ceiling() {
        let mut set = Set::default();
        for n in 0..MAX_WAITING as u8 {
            assert!(set.begin(Wish::default(), code(n), 0).is_some());
        }
        assert_eq!(set.begin(Wish::default(), code(200), 0), None, "too many wait");
        for round in 1..50 {
            let now_ms = round * LIFE_MS;
            assert!(set.begin(Wish::default(), code(round as u8), now_ms).is_some(), "{round}");
            assert!(set.all(now_ms).count() <= MAX_KEPT);
        }
    }
}
