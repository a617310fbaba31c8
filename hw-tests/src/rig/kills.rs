//! SIGKILL of the real daemon under load, again and again: what was acknowledged is there, whole.
//!
//! A few clients push without pause; at a moment drawn from the seed the daemon is killed, in the middle of
//! whatever it was doing; it is started again, and *everything* that was ever acknowledged in this vault is read
//! back and compared. One kill in six comes while the daemon is still starting, so that recovery itself is cut.
//! After some kills the vault is replaced by a new one on the next kind of file system: reading everything back
//! stays affordable, and the early life of a vault is met as often as its later one.
//!
//! SIGKILL is no power cut: the kernel keeps what was written. What this proves is that nothing that matters lives in
//! the daemon's memory, and that every order of its writes leaves a vault that opens. Power cuts of the file systems
//! themselves are in `cuts`.

mod cuts;

use super::binaries::{self, Binaries};
use super::client::Curl;
use super::daemon::{Coffre, Daemon, tail};
use super::ledger::{self, Fate, Ledger, Listed};
use super::mounts::{Fs, LoopMount};
use super::show::{self, Page};
use super::signals::Stop;
use anyhow::{Context, Result, anyhow, bail};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Kills that one vault lives through.
const KILLS_PER_VAULT: u32 = 25;
/// Cuts that one vault lives through: they take longer, and each reads everything back.
const CUTS_PER_VAULT: u32 = 8;
/// Clients pushing at once, each into a data set of its own.
const PUSHERS: u32 = 3;
/// Disks of the vault: 2+1.
const DISKS: u32 = 3;
/// Size of each sparse disk image.
const DISK_BYTES: u64 = 3 << 30;
/// The load lasts at most this long before the kill.
const MAX_LOAD_MS: u64 = 500;
/// Longest wait for a green light at the end of a vault.
const GREEN_LIMIT: Duration = Duration::from_secs(60);

/// What the disks of the vault are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ground {
    /// Folders of one file system.
    Folders,
    /// File systems of their own on loop devices.
    Loop(Fs),
}

impl Blow {
    fn name(self) -> &'static str {
        match self {
            Blow::Kill => "kill",
            Blow::Cut => "cut",
        }
    }

    fn per_vault(self) -> u32 {
        match self {
            Blow::Kill => KILLS_PER_VAULT,
            Blow::Cut => CUTS_PER_VAULT,
        }
    }
}

impl Ground {
    fn name(self) -> &'static str {
        match self {
            Ground::Folders => "folders",
            Ground::Loop(fs) => fs.name(),
        }
    }
}

/// What befalls the box.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blow {
    /// SIGKILL of the daemon.
    Kill,
    /// A power cut of its file systems. Needs grounds that are all [`Ground::Loop`].
    Cut,
}

/// How many blows, on what, for how long, from which seed.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Which ones.
    pub blow: Blow,
    /// Kills or cuts in all.
    pub kills: u32,
    /// Taken in turns, one vault each; at least one.
    pub grounds: Vec<Ground>,
    /// The whole run must be over by then.
    pub limit: Duration,
    /// Where the moments and the bodies come from.
    pub seed: u64,
}

/// What a run saw.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// Kills or cuts done, those during a start among them.
    pub kills: u32,
    /// Cuts of one file system while the daemon lived.
    pub living: u32,
    /// File systems cut, each as often as it was.
    pub file_systems_cut: u32,
    /// Kills while the daemon was starting.
    pub while_starting: u32,
    /// Pushes that were acknowledged.
    pub acknowledged: u64,
    /// Pushes whose answer never came.
    pub unanswered: u64,
    /// Snapshots read back and compared, each as often as it was.
    pub read_back: u64,
    /// Bytes of them.
    pub read_back_bytes: u64,
    /// The slowest start after a kill.
    pub slowest_start: Duration,
}

/// Runs the plan. An error names the first thing that was wrong, with ground, kill and seed.
pub fn run(plan: &Plan, page: Page, stop: &Stop) -> Result<Figures> {
    let since = Instant::now();
    let binaries = Binaries::ready()?;
    let mut figures = Figures::default();
    let mut vault_no = 0;
    while figures.kills < plan.kills {
        let ground = plan.grounds[vault_no % plan.grounds.len()];
        let kills = (plan.kills - figures.kills).min(plan.blow.per_vault());
        let before = figures.clone();
        let mut vault = Vault::new(&binaries, ground, plan.seed ^ (vault_no as u64) << 32)?;
        let done = vault.live(plan.blow, kills, &mut figures, stop, || {
            let over = since.elapsed() > plan.limit;
            if over { bail!("only part of the kills fitted into {} s", plan.limit.as_secs()) } else { Ok(()) }
        });
        done.map_err(|why| {
            let place =
                format!("vault {vault_no} on {}, after {:?} {}", ground.name(), plan.blow, figures.kills);
            let log = tail(&vault.log, 12);
            anyhow!("{why:#}\n({place}, seed {})\nthe end of coffred's log:\n{log}", plan.seed)
        })?;
        page.line(format_args!(
            "{:>4} of {} {}s  {:<8} {:>5} acknowledged  {:>6} read back ({})",
            figures.kills,
            plan.kills,
            plan.blow.name(),
            ground.name(),
            figures.acknowledged - before.acknowledged,
            figures.read_back - before.read_back,
            show::bytes(figures.read_back_bytes - before.read_back_bytes),
        ));
        vault_no += 1;
    }
    Ok(figures)
}

/// One vault under test. Fields are dropped in order: the mounts go before the folder they are in.
struct Vault {
    binaries: Binaries,
    state: PathBuf,
    log: PathBuf,
    coffre: Coffre,
    secret: Option<(String, String)>,
    ledger: Ledger,
    dice: Dice,
    /// Acknowledged pushes of the load under way.
    acknowledged: AtomicU64,
    mounts: Vec<LoopMount>,
    scratch: tempfile::TempDir,
}

impl Vault {
    fn new(binaries: &Binaries, ground: Ground, seed: u64) -> Result<Self> {
        let scratch = tempfile::Builder::new().prefix("kills-").tempdir_in(binaries::scratch("rig")?)?;
        let mut mounts = Vec::new();
        let mut disks = Vec::new();
        for n in 1..=DISKS {
            match ground {
                Ground::Folders => {
                    let disk = scratch.path().join(format!("disk{n}"));
                    std::fs::create_dir(&disk)?;
                    disks.push(disk);
                }
                Ground::Loop(fs) => {
                    let mount = LoopMount::new(scratch.path(), &format!("disk{n}"), fs, DISK_BYTES)?;
                    disks.push(mount.path.clone());
                    mounts.push(mount);
                }
            }
        }
        let state = scratch.path().join("state");
        let coffre = Coffre::new(binaries, &state);
        coffre.init(&disks, "kills")?;
        Ok(Self {
            binaries: binaries.clone(),
            log: scratch.path().join("coffred.log"),
            state,
            coffre,
            secret: None,
            ledger: Ledger::default(),
            dice: Dice::new(seed),
            acknowledged: AtomicU64::new(0),
            mounts,
            scratch,
        })
    }

    /// Is hit and comes back so many times, then stops gracefully.
    fn live(
        &mut self,
        blow: Blow,
        kills: u32,
        figures: &mut Figures,
        stop: &Stop,
        in_time: impl Fn() -> Result<()>,
    ) -> Result<()> {
        for _ in 0..kills {
            stop.check()?;
            in_time()?;
            if blow == Blow::Cut {
                self.cut_round(figures)?;
            } else if self.secret.is_some() && self.dice.below(6) == 0 {
                let patience = Duration::from_micros(self.dice.below(120_000));
                Daemon::kill_while_starting(&self.binaries, &self.state, &self.log, patience)?;
                figures.while_starting += 1;
            } else {
                let mut daemon = self.start(figures)?;
                let curl = self.client(&daemon)?;
                self.compare(&curl, figures)?;
                self.load_and_kill(&mut daemon, &curl, figures)?;
            }
            figures.kills += 1;
        }
        let daemon = self.start(figures)?;
        let curl = self.client(&daemon)?;
        self.compare(&curl, figures)?;
        self.wait_for_green()?;
        daemon.stop().context("at the end")?;
        Ok(())
    }

    fn start(&self, figures: &mut Figures) -> Result<Daemon> {
        let daemon = Daemon::start(&self.binaries, &self.state, &self.log)?;
        figures.slowest_start = figures.slowest_start.max(daemon.ready_after);
        Ok(daemon)
    }

    fn client(&mut self, daemon: &Daemon) -> Result<Curl> {
        if self.secret.is_none() {
            self.secret = Some((self.coffre.client_add("pusher")?, self.coffre.certificate()?));
        }
        let (secret, pem) = self.secret.as_ref().context("made above")?;
        Curl::new(self.scratch.path(), &daemon.url, "pusher", secret, pem)
    }

    /// Pushes without pause until the kill, and notes what was answered.
    fn load_and_kill(&mut self, daemon: &mut Daemon, curl: &Curl, figures: &mut Figures) -> Result<()> {
        let until_kill = Duration::from_millis(20 + self.dice.below(MAX_LOAD_MS));
        let load = Load::until_the_kill(curl, self.dice.next(), &self.acknowledged);
        let load = &load;
        let outcome = std::thread::scope(|scope| {
            let pushers: Vec<_> =
                (0..PUSHERS).map(|n| scope.spawn(move || load.push_until_unanswered(n))).collect();
            std::thread::sleep(until_kill);
            let killed = daemon.kill();
            let mut all = Vec::new();
            for pusher in pushers {
                all.push(pusher.join().unwrap_or_else(|_| bail!("a pusher panicked")));
            }
            killed.and_then(|()| all.into_iter().collect::<Result<Vec<_>>>())
        });
        for (dataset, hash, size, fate) in outcome?.into_iter().flatten() {
            self.take_note(&dataset, hash, size, fate, figures);
        }
        Ok(())
    }

    fn take_note(&mut self, dataset: &str, hash: blake3::Hash, size: u64, fate: Fate, figures: &mut Figures) {
        self.ledger.note(dataset, hash, size, fate);
        match fate {
            Fate::Acknowledged => figures.acknowledged += 1,
            Fate::Unanswered => figures.unanswered += 1,
        }
    }

    /// Holds the box's lists against the ledger, then reads everything back.
    fn compare(&self, curl: &Curl, figures: &mut Figures) -> Result<()> {
        let mut there: Vec<Listed> = Vec::new();
        for n in 0..PUSHERS {
            let name = dataset(n);
            let answer = curl.get_json(&format!("/v1/datasets/{name}/snapshots"))?;
            there.extend(ledger::listed(&name, answer.as_ref())?);
        }
        let wrong = self.ledger.complaints(&there);
        if !wrong.is_empty() {
            bail!("{}", wrong.join("\n"));
        }
        if there.is_empty() {
            return Ok(());
        }
        let paths: Vec<String> =
            there.iter().map(|s| format!("/v1/datasets/{}/snapshots/{}", s.dataset, s.id)).collect();
        for (snapshot, (status, hash)) in there.iter().zip(curl.get_many(&paths, self.scratch.path())?) {
            if status != 200 || ledger::label(hash) != snapshot.hash {
                bail!(
                    "{} {} read back with {status} as {hash}, not {}",
                    snapshot.dataset,
                    snapshot.id,
                    snapshot.hash
                );
            }
            figures.read_back += 1;
            figures.read_back_bytes += snapshot.size;
        }
        Ok(())
    }

    fn wait_for_green(&self) -> Result<()> {
        let since = Instant::now();
        loop {
            let status = self.coffre.json(&["status"])?;
            if status["light"] == "green" {
                return Ok(());
            }
            if since.elapsed() > GREEN_LIMIT {
                bail!(
                    "all disks are there and the light is {} after {GREEN_LIMIT:?}: {status}",
                    status["light"]
                );
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

/// The pushers of one round.
struct Load<'a> {
    curl: &'a Curl,
    seed: u64,
    next: AtomicU64,
    acknowledged: &'a AtomicU64,
    /// Whether the box may say that it cannot keep a push: its disks may all be gone.
    may_fail: bool,
    over: AtomicBool,
}

type Note = (String, blake3::Hash, u64, Fate);

impl<'a> Load<'a> {
    fn until_the_kill(curl: &'a Curl, seed: u64, acknowledged: &'a AtomicU64) -> Self {
        let (next, over) = (AtomicU64::new(0), AtomicBool::new(false));
        Self { curl, seed, next, acknowledged, may_fail: false, over }
    }

    fn through_cuts(curl: &'a Curl, seed: u64, acknowledged: &'a AtomicU64) -> Self {
        Self { may_fail: true, ..Self::until_the_kill(curl, seed, acknowledged) }
    }

    fn push_until_unanswered(&self, n: u32) -> Result<Vec<Note>> {
        let dataset = dataset(n);
        let mut notes = Vec::new();
        while !self.over.load(Ordering::SeqCst) {
            let body = body(self.seed, self.next.fetch_add(1, Ordering::Relaxed));
            let pushed = self.curl.push(&dataset, |out| out.write_all(&body))?;
            let (hash, size) = (blake3::hash(&body), body.len() as u64);
            match pushed.status {
                201 => {
                    // The kill may cut the receipt itself; the status alone is an acknowledgement.
                    if let Ok(receipt) = pushed.receipt()
                        && (receipt["hash"] != ledger::label(hash) || receipt["size"] != size)
                    {
                        bail!("the receipt is not about what was pushed: {receipt}");
                    }
                    notes.push((dataset.clone(), hash, size, Fate::Acknowledged));
                    self.acknowledged.fetch_add(1, Ordering::SeqCst);
                }
                // Whether it was kept is open: the answer may be about a record that is durable all the same.
                500..=599 if self.may_fail => {
                    notes.push((dataset.clone(), hash, size, Fate::Unanswered));
                    std::thread::sleep(Duration::from_millis(20));
                }
                0 => {
                    notes.push((dataset, hash, size, Fate::Unanswered));
                    return Ok(notes);
                }
                status => bail!("a push was answered with {status}: {}", pushed.text()),
            }
        }
        Ok(notes)
    }
}

fn dataset(n: u32) -> String {
    format!("load{n}")
}

/// A body that no other number has: mostly small, sometimes several MiB; made of pieces that come again in other
/// bodies, so that deduplication has something to find.
fn body(seed: u64, number: u64) -> Vec<u8> {
    const PIECE: u64 = 48 << 10;
    let mut dice = Dice::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(number));
    let len = match dice.below(100) {
        0..60 => dice.below(4 << 10),
        60..85 => dice.below(100 << 10),
        85..96 => dice.below(1 << 20),
        _ => dice.below(6 << 20),
    };
    let mut body = Vec::with_capacity(len as usize + 64);
    body.extend(format!("{seed:016x} {number}\n").bytes());
    while (body.len() as u64) < len {
        let piece = dice.below(40);
        let wanted = (len - body.len() as u64).min(PIECE) as usize;
        if piece.is_multiple_of(2) {
            body.extend(Dice::new(piece).bytes(wanted));
        } else {
            let line = format!("INSERT INTO sale_order_line VALUES ({piece}, 'draft', NULL);\n");
            body.extend(line.bytes().cycle().take(wanted));
        }
    }
    body
}

/// Numbers whose whole course follows from a seed.
struct Dice(blake3::OutputReader);

impl Dice {
    fn new(seed: u64) -> Self {
        Self(blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof())
    }

    fn next(&mut self) -> u64 {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    /// A number below `limit`; 0 when that is 0.
    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit.max(1)
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.0.fill(&mut bytes);
        bytes
    }
}

/// Which grounds this machine has, and one sentence for each kind of file system that it has not.
pub fn grounds(probe: impl Fn(Fs) -> Result<(), String>) -> (Vec<Ground>, Vec<String>) {
    let mut grounds = Vec::new();
    let mut lacking = Vec::new();
    for fs in [Fs::Ext4, Fs::Xfs] {
        match probe(fs) {
            Ok(()) => grounds.push(Ground::Loop(fs)),
            Err(why) => lacking.push(format!("{}: {why}", fs.name())),
        }
    }
    if grounds.is_empty() {
        grounds.push(Ground::Folders);
    }
    (grounds, lacking)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_follow_from_the_seed_and_differ() {
        assert_eq!(body(1, 2), body(1, 2));
        let hashes: std::collections::BTreeSet<_> =
            (0..300).map(|n| *blake3::hash(&body(7, n)).as_bytes()).collect();
        assert_eq!(hashes.len(), 300);
        assert!((0..300).any(|n| body(7, n).len() > 1 << 20));
    }

    #[test]
    fn what_cannot_be_mounted_is_told_and_folders_take_its_place() {
        let (all, lacking) = grounds(|_| Ok(()));
        assert_eq!((all.len(), lacking.len()), (2, 0));
        let (some, lacking) = grounds(|fs| if fs == Fs::Xfs { Err("no mkfs".into()) } else { Ok(()) });
        assert_eq!((some, lacking), (vec![Ground::Loop(Fs::Ext4)], vec!["xfs: no mkfs".to_owned()]));
        let (none, lacking) = grounds(|_| Err("not root".into()));
        assert_eq!((none, lacking.len()), (vec![Ground::Folders], 2));
    }
}
