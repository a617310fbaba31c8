//! `coffre client pair | pairings`: a code for a machine that is to become a client, and what came of it.

use super::{Failure, Outcome, Said, knock, show};
use crate::clock;
use crate::state::StateDir;
use coffre_core::fault::Fault;
use coffre_core::names::ClientName;
use coffre_core::pair::MachineKind;
use coffre_core::wire::{PairState, PairingInfo, Reply, Request};
use qrcode::render::unicode::Dense1x2;
use qrcode::{EcLevel, QrCode};
use serde_json::{Value, json};
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

/// How often the daemon is asked how far it is.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// What to make a code for.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// The client's name. Without it, whoever uses the code chooses one that was never used.
    name: Option<ClientName>,
    /// What sort of machine: its files are shown first. One of odoo, windows, mac, linux, nas, curl.
    #[arg(long)]
    kind: Option<MachineKind>,
    /// Most bytes that it may keep, counted as received.
    #[arg(long, value_name = "BYTES", value_parser = super::amount::quota)]
    quota: Option<u64>,
    /// Stay until its first backup is here.
    #[arg(long)]
    wait: bool,
}

/// Makes a code and shows it with where to type it; with `--wait`, tells what comes of it.
pub fn run(state: &StateDir, options: Options, as_json: bool) -> Outcome<Said> {
    let Options { name, kind, quota, wait } = options;
    let begun = one(state, &Request::PairBegin { name, kind, quota_bytes: quota })?;
    let colours = io::stdout().is_terminal();
    let said = Said { human: for_people(&begun, colours), json: view(&begun) };
    if !wait {
        return Ok(said);
    }
    say(if as_json { said.json.to_string() } else { said.human })?;
    let ended = watch(state, &begun, as_json)?;
    match ended.state {
        PairState::Arrived => Ok(Said { human: format!("{}.", told(&ended)), json: view(&ended) }),
        _ => Err(Fault::refused(told(&ended)).next("make another code with `coffre client pair`").into()),
    }
}

/// All pairings of this daemon's life, or the one that was just taken back.
pub fn list(state: &StateDir, cancel: Option<u64>) -> Outcome<Said> {
    let request = cancel.map_or(Request::PairList { id: None }, |id| Request::PairCancel { id });
    let all = ask(state, &request)?;
    let json = json!({ "pairings": all.iter().map(view).collect::<Vec<Value>>() });
    if all.is_empty() {
        let human = "No pairings since the daemon started. Begin one with `coffre client pair`.".into();
        return Ok(Said { human, json });
    }
    let row = |info: &PairingInfo| {
        let client = info.client.as_ref().map_or("to be typed", ClientName::as_str);
        let kind = info.kind.map_or("", MachineKind::as_str);
        [info.id.to_string(), client.to_owned(), kind.to_owned(), told(info)]
    };
    let rows: Vec<[String; 4]> = all.iter().map(row).collect();
    Ok(Said { human: show::table(["ID", "CLIENT", "KIND", "STATE"], &rows), json })
}

/// Asks until nothing more can come; tells each step to people as it happens.
fn watch(state: &StateDir, begun: &PairingInfo, as_json: bool) -> Outcome<PairingInfo> {
    let mut last = PairState::Waiting;
    loop {
        let now = one(state, &Request::PairList { id: Some(begun.id) })?;
        match now.state {
            PairState::Waiting => {}
            PairState::Claimed if last != PairState::Claimed && !as_json => say(told(&now))?,
            PairState::Claimed => {}
            _ => return Ok(now),
        }
        last = now.state;
        std::thread::sleep(ASK_EVERY);
    }
}

fn ask(state: &StateDir, request: &Request) -> Outcome<Vec<PairingInfo>> {
    match knock::ask(state, request)? {
        Reply::Pairings { pairings } => Ok(pairings),
        other => Err(knock::unexpected(&other)),
    }
}

fn one(state: &StateDir, request: &Request) -> Outcome<PairingInfo> {
    let first = ask(state, request)?.into_iter().next();
    first.ok_or_else(|| Fault::permanent("the daemon gave no answer").into())
}

/// A line now, not at the end.
fn say(line: String) -> Outcome<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")
        .and_then(|()| out.flush())
        .map_err(|e| -> Failure { Fault::permanent(format!("standard output is closed: {e}")).into() })
}

fn for_people(info: &PairingInfo, colours: bool) -> String {
    let code = info.code.as_deref().unwrap_or_default();
    let mut out = match &info.client {
        Some(client) => format!("Code for {client}\n\n    {code}\n\n"),
        None => format!("Code\n\n    {code}\n\n"),
    };
    out.push_str(
        "Open one of these on the machine that is to be backed up, or point a telephone at the square:\n\n",
    );
    out.extend(info.urls.iter().map(|url| format!("    {url}\n")));
    if let Some(square) = info.urls.first().filter(|_| colours).and_then(|url| qr(url)) {
        out.push('\n');
        out.push_str(&square);
    }
    out.push_str(&format!(
        "\nThe page must show these four words, and so must `coffre certificate`:\n\n    {}\n\n\
         The browser warns, for it does not know this box yet. Whoever wants to be sure that nobody stands in between\n\
         compares the SHA-256 fingerprint of the authority that the browser shows:\n\n    {}\n\n",
        info.words.join("  "),
        info.fingerprint,
    ));
    if info.removed_before {
        out.push_str(
            "A client of this name was removed before: the new one can read what that one pushed.\n\n",
        );
    }
    out.push_str(&format!(
        "The code works once, within {} minutes. `coffre client pairings` shows how far it is (this is number {}).",
        info.left_seconds.div_ceil(60),
        info.id
    ));
    out
}

/// The square, black on white whatever the terminal's colours are.
fn qr(text: &str) -> Option<String> {
    let code = QrCode::with_error_correction_level(text, EcLevel::L).ok()?;
    let drawn = code.render::<Dense1x2>().quiet_zone(true).build();
    Some(drawn.lines().map(|line| format!("    \x1b[38;5;16;48;5;231m{line}\x1b[0m\n")).collect())
}

fn told(info: &PairingInfo) -> String {
    let who = info.client.as_ref().map_or("a client", ClientName::as_str);
    match info.state {
        PairState::Waiting => format!("waits to be used, {} s left", info.left_seconds),
        PairState::Claimed => format!("{who} is paired; waiting for its first backup"),
        PairState::Arrived => match info.first_backup_ms {
            Some(ms) => format!("the first backup of {who} is here, received {}", clock::local(ms)),
            None => format!("the first backup of {who} is here"),
        },
        PairState::Expired => "nobody used the code in time".to_owned(),
        PairState::Cancelled => "the code was taken back".to_owned(),
        PairState::Void => format!("void: {} wrong codes were tried on the LAN meanwhile", info.wrong_tries),
    }
}

fn view(info: &PairingInfo) -> Value {
    json!({
        "id": info.id, "state": info.state, "code": info.code, "name": info.client, "kind": info.kind,
        "quota_bytes": info.quota_bytes, "removed_before": info.removed_before, "left_seconds": info.left_seconds,
        "urls": info.urls, "words": info.words, "certificate_fingerprint": info.fingerprint,
        "first_backup_at": info.first_backup_ms.map(clock::utc), "wrong_tries": info.wrong_tries,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info() -> PairingInfo {
        PairingInfo {
            id: 3,
            state: PairState::Waiting,
            code: Some("7K02-M91D".into()),
            client: Some("pc".parse().expect("a name")),
            kind: Some(MachineKind::Linux),
            quota_bytes: None,
            removed_before: false,
            left_seconds: 599,
            urls: vec!["https://192.168.1.5:8443/pair/7K02-M91D".into()],
            words: ["lundi", "ouvrir", "bateau", "vague"].map(str::to_owned).to_vec(),
            fingerprint: "AB:CD".into(),
            first_backup_ms: None,
            wrong_tries: 0,
        }
    }

    #[test]
    fn people_get_everything_on_one_page() {
        let text = for_people(&info(), false);
        for part in ["7K02-M91D", "https://192.168.1.5:8443", "lundi  ouvrir", "AB:CD", "10 minutes"] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(!text.contains('\x1b'), "no colours where nobody watches");
        assert!(
            for_people(&PairingInfo { removed_before: true, ..info() }, false).contains("was removed before")
        );
    }

    #[test]
    fn the_square_fits_a_terminal() {
        let long = format!("https://[2001:db8:1111:2222:3333:4444:5555:6666]:65535/pair/{}", "7K02-M91D");
        let square = qr(&long).expect("drawn");
        let width = square.lines().next().expect("a line").chars().filter(|c| "█▀▄ ".contains(*c)).count();
        assert!(square.lines().count() <= 24 && width <= 80, "{} by {width}", square.lines().count());
    }

    #[test]
    fn each_state_has_its_words_and_a_list_has_no_code() {
        for state in [
            PairState::Waiting,
            PairState::Claimed,
            PairState::Arrived,
            PairState::Expired,
            PairState::Cancelled,
            PairState::Void,
        ] {
            assert!(!told(&PairingInfo { state, ..info() }).contains("7K02"));
        }
        assert_eq!(view(&PairingInfo { code: None, ..info() })["code"], Value::Null);
    }
}
