//! `coffre client add | set | rotate | list | remove`.

use super::out::Out;
use super::{Failure, Outcome, Said, amount, arrival, knock, show};
use crate::clock;
use crate::state::StateDir;
use crate::views::ClientView;
use coffre_core::names::ClientName;
use coffre_core::wire::{Ceiling, ClientInfo, NewClient, Reply, Request};
use serde_json::json;

/// Makes a client and shows its secret, once. A name that was removed comes back with the data it had, which whoever
/// gets the new secret can read: that is said.
pub fn add(
    state: &StateDir,
    name: ClientName,
    quota_bytes: Option<u64>,
    daily_bytes: Option<u64>,
    out: &mut Out,
) -> Outcome<Said> {
    let known = clients(state)?.into_iter().find(|client| client.name == name);
    if known.as_ref().is_none_or(|client| client.removed) {
        let lost = format!(
            "client {name} is made, its secret is lost: `coffre client remove {name}`, then add it again for a new one"
        );
        out.begin(&format!("Client {name}"), lost)?;
    }
    let past = known.filter(|client| client.removed);
    let made = match knock::ask(state, &Request::ClientAdd { name, quota_bytes, daily_bytes })? {
        Reply::ClientAdded(made) => made,
        other => return Err(knock::unexpected(&other)),
    };
    let (quota, daily) = (given(made.quota_bytes), given(made.daily_bytes));
    let mut human = format!(
        "  secret  {secret}\n  quota   {quota}\n  daily   {daily}\n\n\
         The secret is shown this once; only a hash of it is kept. The client's machine keeps it in a file that nobody else\n\
         reads, beside the certificate that `coffre --state {state} certificate > box.pem` writes here:\n\n\
         (umask 077; set -C; printf 'user = \"{name}:{secret}\"\\ncacert = \"box.pem\"\\nfail-with-body\\nshow-error\\ngloboff\\n' \\\n    \
         > box.curl)\n\
         curl -K box.curl -T FILE https://BOX:8443/v1/datasets/NAME",
        name = made.name,
        secret = made.secret,
        state = state.path().display(),
    );
    if let Some(past) = &past {
        human.push_str(&format!(
            "\n\nA client of this name was removed before: the new one can read what that one pushed ({}, {}).",
            show::count(past.datasets, "data set"),
            show::bytes(past.logical_bytes),
        ));
    }
    let json = json!({
        "name": made.name, "secret": made.secret, "quota_bytes": made.quota_bytes,
        "daily_bytes": made.daily_bytes, "removed_before": past.is_some(),
    });
    let then = "When the disks are back, `coffre client list` says whether the client is there. If it is, this is its\n\
         secret; if not, add it again.";
    sure(made, Said { human, json }, then)
}

/// A new secret for a client; the old one is void at once.
pub fn rotate(state: &StateDir, name: ClientName, out: &mut Out) -> Outcome<Said> {
    if clients(state)?.iter().any(|client| client.name == name && !client.removed) {
        let lost = format!(
            "client {name} has a new secret, which is lost: `coffre client rotate {name}` makes another"
        );
        out.begin(&format!("Client {name}"), lost)?;
    }
    let made = match knock::ask(state, &Request::ClientRotate { name })? {
        Reply::ClientAdded(made) => made,
        other => return Err(knock::unexpected(&other)),
    };
    let human = format!(
        "  secret  {secret}\n\n\
         The old secret opens nothing any more: put this one into the files of that machine (in restic's, after\n\
         https://{name}:). It is shown this once; only a hash of it is kept. Backups and quota stay as they are.",
        name = made.name,
        secret = made.secret,
    );
    let json = json!({ "name": made.name, "secret": made.secret, "quota_bytes": made.quota_bytes,
        "daily_bytes": made.daily_bytes });
    let then = "When the disks are back, the secret before this one holds again: rotate then. Only if the box is started anew\n\
         before that, this one may hold: `coffre client list` says since when the secret does.";
    sure(made, Said { human, json }, then)
}

/// A secret of which nobody knows whether it holds is shown as well: should it hold, nobody else has it.
fn sure(made: NewClient, said: Said, then: &str) -> Outcome<Said> {
    let Some(fault) = made.unsure else { return Ok(said) };
    let human = format!("  secret  {}\n\nNOBODY KNOWS YET WHETHER THIS SECRET HOLDS. {then}", made.secret);
    Err(Failure { said: Some(Box::new(Said { human, json: said.json })), ..fault.into() })
}

/// Says what a client may keep and send from now on.
pub fn set(
    state: &StateDir,
    name: ClientName,
    quota: Option<Ceiling>,
    daily: Option<Ceiling>,
    objects: Option<Ceiling>,
) -> Outcome<Said> {
    match knock::ask(state, &Request::ClientSet { name, quota, daily, objects })? {
        Reply::Clients { clients } => {
            let views: Vec<ClientView<'_>> = clients.iter().map(Into::into).collect();
            Ok(Said { human: table(&clients), json: json!(views.first()) })
        }
        other => Err(knock::unexpected(&other)),
    }
}

/// Reads a number of bytes, or `default`.
pub fn ceiling(text: &str) -> std::result::Result<Ceiling, String> {
    match text {
        "default" => Ok(Ceiling::Default),
        bytes => amount::quota(bytes).map(Ceiling::Bytes),
    }
}

/// Reads a number of objects, or `default`.
pub fn count(text: &str) -> std::result::Result<Ceiling, String> {
    match text {
        "default" => Ok(Ceiling::Default),
        count => count.parse().map(Ceiling::Bytes).map_err(|_| "say a number, or default".to_owned()),
    }
}

/// All clients, removed ones included.
pub fn list(state: &StateDir) -> Outcome<Said> {
    let clients = clients(state)?;
    let views: Vec<ClientView<'_>> = clients.iter().map(Into::into).collect();
    Ok(Said { human: table(&clients), json: json!({ "clients": views }) })
}

fn clients(state: &StateDir) -> Outcome<Vec<ClientInfo>> {
    match knock::ask(state, &Request::ClientList)? {
        Reply::Clients { clients } => Ok(clients),
        other => Err(knock::unexpected(&other)),
    }
}

/// Voids a client's secret; its data stays.
pub fn remove(state: &StateDir, name: ClientName) -> Outcome<Said> {
    match knock::ask(state, &Request::ClientRemove { name: name.clone() })? {
        Reply::Done => Ok(Said {
            human: format!("Client {name} can no longer knock. Its data stays."),
            json: json!({ "name": name, "removed": true }),
        }),
        other => Err(knock::unexpected(&other)),
    }
}

fn table(clients: &[ClientInfo]) -> String {
    if clients.is_empty() {
        return "No clients yet. Make one with `coffre client add NAME`.".to_owned();
    }
    let rows: Vec<[String; 14]> = clients
        .iter()
        .map(|client| {
            [
                client.name.to_string(),
                arrival::standing(&client.rhythm),
                arrival::last(&client.rhythm),
                refused(client),
                client.datasets.to_string(),
                format!("{} of {}", client.objects, client.max_objects.unwrap_or(client.default_max_objects)),
                show::bytes(client.logical_bytes),
                show::bytes(client.new_bytes),
                in_force(client.quota_bytes, client.default_quota_bytes),
                show::bytes(client.day_logical_bytes),
                in_force(client.daily_bytes, client.default_daily_bytes),
                clock::local(client.created_ms),
                clock::local(client.secret_ms),
                if client.removed { "removed" } else { "" }.to_owned(),
            ]
        })
        .collect();
    show::table(
        [
            "CLIENT",
            "STANDS",
            "LAST COMPLETE",
            "REFUSED IN 24 H",
            "DATA SETS",
            "OBJECTS",
            "KEPT",
            "NEW",
            "QUOTA",
            "IN 24 H",
            "DAILY",
            "MADE",
            "SECRET SINCE",
            "",
        ],
        &rows,
    )
}

fn refused(client: &ClientInfo) -> String {
    match (client.refused.count, client.refused.wrong_secrets) {
        (0, 0) => String::new(),
        (0, wrong) => format!("{wrong} wrong secrets"),
        (count, 0) => count.to_string(),
        (count, wrong) => format!("{count}, {wrong} wrong secrets"),
    }
}

fn given(bytes: Option<u64>) -> String {
    bytes.map_or_else(|| "default".to_owned(), show::bytes)
}

fn in_force(given: Option<u64>, default: Option<u64>) -> String {
    match (given, default) {
        (Some(bytes), _) => show::bytes(bytes),
        (None, Some(bytes)) => format!("{} new", show::bytes(bytes)),
        (None, None) => "none".to_owned(),
    }
}
