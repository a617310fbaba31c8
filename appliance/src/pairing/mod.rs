//! Pairing: how a machine becomes a client with a code that its owner reads from the box.
//!
//! The owner asks for a code over the control socket (`control`); a machine uses it at the page (`doors/pair`). Both meet here.
//! Nothing of it is on a disk but the client that comes out of it: a daemon that starts again knows no codes, and a secret is in
//! memory as long as its files may be downloaded and no longer.

pub mod reach;
pub mod set;

use self::reach::Reach;
use self::set::{LIFE_MS, MAX_WAITING, Opened, Pairing, Refusal, Secret, Set, Token};
use crate::addresses::Names;
use crate::clock::{self, Stopwatch};
use coffre_core::fault::{Class, Fault, Result};
use coffre_core::names::ClientName;
use coffre_core::pair::{MachineKind, PairCode};
use coffre_core::wire::{Arrivals, CertificateInfo, PairState, PairingInfo};
use coffre_vault::Vault;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What the owner wants of a pairing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    /// The client's name; `None`: it is typed on the page.
    pub client: Option<ClientName>,
    /// What sort of machine.
    pub kind: Option<MachineKind>,
    /// Its quota in logical bytes.
    pub quota_bytes: Option<u64>,
}

/// What came of a code.
#[derive(Clone, Debug)]
pub struct Claim {
    /// The client that was made.
    pub client: ClientName,
    /// Whether one of this name had been removed.
    pub removed_before: bool,
    /// What was there of it then.
    pub before: Arrivals,
}

/// Why a claim did not come about.
#[derive(Debug)]
pub enum NotClaimed {
    /// The code was not taken.
    Code(Refusal),
    /// No name was given, or it will not do: what to say.
    Name(Fault),
    /// The vault did not make the client.
    Vault(Fault),
}

/// The pairings of this daemon.
#[derive(Debug)]
pub struct Pairings {
    set: Mutex<Set>,
    /// One claim at a time: a name that was looked up is still free when it is taken.
    claims: Mutex<()>,
    watch: Stopwatch,
    box_name: String,
    certificate: CertificateInfo,
    listeners: Vec<SocketAddr>,
}

impl Pairings {
    /// None yet, for a box of this name and certificate that serves at these addresses.
    pub fn new(box_name: String, certificate: CertificateInfo, listeners: Vec<SocketAddr>) -> Self {
        let watch = Stopwatch::start();
        Self { set: Mutex::default(), claims: Mutex::default(), watch, box_name, certificate, listeners }
    }

    /// The box's name, for people.
    pub fn box_name(&self) -> &str {
        &self.box_name
    }

    /// What clients pin, with its four words.
    pub fn certificate(&self) -> &CertificateInfo {
        &self.certificate
    }

    /// How the box is reached now.
    pub fn reach(&self) -> Reach {
        Reach::new(Names::of_this_machine(&self.box_name), self.listeners.clone())
    }

    /// A new code. `Refused` when there is a client of this name, or too many codes wait. Blocking.
    pub fn begin(&self, vault: &Vault, wish: Wish) -> Result<PairingInfo> {
        if let Some(name) = &wish.client
            && vault.clients().iter().any(|client| client.name == *name && !client.removed)
        {
            return Err(Fault::refused(format!("there is a client {name} already")).next(format!(
                "choose another name; `coffre client rotate {name}` gives that one a new secret"
            )));
        }
        let code = PairCode::from_bits(random()?);
        let now_ms = self.watch.ms();
        let id = self.lock().begin(wish, code, now_ms).ok_or_else(|| {
            Fault::refused(format!("{MAX_WAITING} codes wait to be used already"))
                .next("take one back with `coffre client pairings --cancel ID`, or wait ten minutes")
        })?;
        tracing::info!(target: "audit", pairing = id, minutes = LIFE_MS / 60_000, "pairing begun");
        self.told(vault, Some(id), true)?.into_iter().next().ok_or_else(|| no_such(id))
    }

    /// How far pairings are, newest first; of one only, `Absent` when it is not known. Blocking.
    pub fn list(&self, vault: &Vault, id: Option<u64>) -> Result<Vec<PairingInfo>> {
        self.look(vault);
        let all = self.told(vault, id, false)?;
        match id {
            Some(id) if all.is_empty() => Err(no_such(id)),
            _ => Ok(all),
        }
    }

    /// Takes back a code that nobody has used. `Refused` when somebody has, or its time is over.
    pub fn cancel(&self, vault: &Vault, id: u64) -> Result<Vec<PairingInfo>> {
        if self.lock().cancel(id, self.watch.ms()) {
            tracing::info!(target: "audit", pairing = id, "pairing taken back");
            return self.list(vault, Some(id));
        }
        self.list(vault, Some(id))?;
        Err(Fault::refused(format!("pairing {id} waits for nobody any more"))
            .next("`coffre client remove NAME` voids the secret of a client that was made with it"))
    }

    /// What the owner wished for the pairing of this code; a wrong one is counted against `peer`.
    pub fn find(&self, peer: IpAddr, code: &PairCode) -> std::result::Result<Wish, Refusal> {
        self.lock().find(peer, code, self.watch.ms()).map(|pairing| pairing.wish.clone())
    }

    /// Uses a code up: makes the client and keeps its secret for a while. `typed` is the name from the page, which counts when
    /// the owner gave none; it must be new, removed ones included, for its old data would be read by whoever typed it.
    /// Blocking.
    ///
    /// # Durability
    /// On `Ok` the client is in the journal.
    pub fn claim(
        &self,
        vault: &Vault,
        peer: IpAddr,
        code: &PairCode,
        typed: &str,
    ) -> std::result::Result<(Token, ClientName), NotClaimed> {
        let _one_at_a_time = self.claims.lock().unwrap_or_else(PoisonError::into_inner);
        let token = random().map_err(NotClaimed::Vault)?;
        let (id, wish) = self.lock().claim(peer, code, self.watch.ms()).map_err(NotClaimed::Code)?;
        match make(vault, &wish, typed) {
            Ok((claim, secret)) => {
                let client = claim.client.clone();
                self.lock().claimed(id, claim, secret, token, self.watch.ms());
                Ok((token, client))
            }
            Err(why) => {
                self.lock().give_back(id);
                Err(why)
            }
        }
    }

    /// What is behind a token; `looked` when its page is about to be shown.
    pub fn open(&self, token: &Token, looked: bool) -> Option<Opened> {
        self.lock().open(token, looked, self.watch.ms())
    }

    /// The pairing of a token, also when its files are gone.
    pub fn known(&self, token: &Token) -> Option<u64> {
        self.lock().known(token, self.watch.ms())
    }

    /// Whether the first backup of this pairing is here. Blocking.
    pub fn has_arrived(&self, vault: &Vault, id: u64) -> bool {
        self.look(vault);
        self.lock().all(self.watch.ms()).any(|p| p.id == id && p.state() == PairState::Arrived)
    }

    /// Looks for first backups that are waited for.
    fn look(&self, vault: &Vault) {
        let expected = self.lock().expecting(self.watch.ms());
        for (id, client, before) in expected {
            let now = vault.arrivals(&client);
            if now.snapshots > before.snapshots || now.newest_ms > before.newest_ms {
                // Several may have come since the last look: what is told is the first.
                let first_ms = vault.first_arrival(&client, before.newest_ms).or(now.newest_ms);
                self.lock().arrived(id, first_ms.unwrap_or_else(clock::now_ms));
            }
        }
    }

    fn told(&self, vault: &Vault, only: Option<u64>, with_code: bool) -> Result<Vec<PairingInfo>> {
        let reach = self.reach();
        let removed = vault.clients().into_iter().filter(|client| client.removed).map(|client| client.name);
        let removed: Vec<ClientName> = removed.collect();
        let now_ms = self.watch.ms();
        let mut set = self.lock();
        let wanted = set.all(now_ms).filter(|pairing| only.is_none_or(|id| id == pairing.id));
        Ok(wanted.map(|pairing| self.info(pairing, &reach, &removed, with_code, now_ms)).collect())
    }

    fn info(
        &self,
        pairing: &Pairing,
        reach: &Reach,
        removed: &[ClientName],
        with_code: bool,
        now_ms: u64,
    ) -> PairingInfo {
        let code = with_code.then(|| pairing.code().shown());
        let tail = code.as_ref().map_or_else(String::new, |code| format!("/{code}"));
        let claim = pairing.claim();
        let client = claim.map(|(claim, _)| claim.client.clone()).or_else(|| pairing.wish.client.clone());
        let removed_before = match claim {
            Some((claim, _)) => claim.removed_before,
            None => client.as_ref().is_some_and(|client| removed.contains(client)),
        };
        PairingInfo {
            id: pairing.id,
            state: pairing.state(),
            code,
            client,
            kind: pairing.wish.kind,
            quota_bytes: pairing.wish.quota_bytes,
            removed_before,
            left_seconds: pairing.left_ms(now_ms).div_ceil(1000),
            urls: reach.all().iter().map(|at| format!("https://{at}/pair{tail}")).collect(),
            words: self.certificate.words.clone(),
            fingerprint: self.certificate.fingerprint.clone(),
            first_backup_ms: claim.and_then(|(_, at)| at),
            wrong_tries: pairing.wrong,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Set> {
        self.set.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes the client.
fn make(vault: &Vault, wish: &Wish, typed: &str) -> std::result::Result<(Claim, Secret), NotClaimed> {
    let clients = vault.clients();
    let name = match &wish.client {
        Some(name) => name.clone(),
        None => {
            let name: ClientName = typed
                .trim()
                .to_ascii_lowercase()
                .parse()
                .map_err(|bad| NotClaimed::Name(Fault::misuse(format!("{bad}"))))?;
            if clients.iter().any(|client| client.name == name) {
                return Err(NotClaimed::Name(Fault::refused(format!("the name {name} is taken"))));
            }
            name
        }
    };
    let removed_before = clients.iter().any(|client| client.name == name && client.removed);
    let before = vault.arrivals(&name);
    let made = vault.client_add(&name, wish.quota_bytes, None).map_err(|fault| match fault.class {
        Class::Refused if clients.iter().any(|c| c.name == name && !c.removed) => NotClaimed::Name(fault),
        _ => NotClaimed::Vault(fault),
    })?;
    Ok((Claim { client: made.name, removed_before, before }, Secret::new(made.secret)))
}

fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bits = [0; N];
    aws_lc_rs::rand::fill(&mut bits).map_err(|_| Fault::permanent("the system gives no random bits"))?;
    Ok(bits)
}

fn no_such(id: u64) -> Fault {
    Fault::absent(format!("there is no pairing {id}"))
        .next("codes live ten minutes and end with the daemon: make a new one with `coffre client pair`")
}
