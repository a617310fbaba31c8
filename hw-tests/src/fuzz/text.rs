//! What people and programs say to the box: key slots, recovery words, names, lines on the control socket,
//! what smartctl answers.

use super::disk::Magnitude;
use super::{Answer, Target, accepted, hold, in_proportion, refused};
use crate::rng::Rng;
use coffre_core::fault::Fault;
use coffre_core::ids::{ChunkId, ObjectId, VaultId};
use coffre_core::keys::RootKey;
use coffre_core::kind::{Checked, Finding, Kind};
use coffre_core::names::{ClientName, DatasetName, DatasetRef, MAX_NAME_LEN, RESERVED};
use coffre_core::rhythm::Rhythm;
use coffre_core::slots::{SlotIdentity, SlotRecipient, new_identity, open_root, seal_root};
use coffre_core::wire::{
    Ceiling, CertificateInfo, ClientInfo, NewClient, RefusedInfo, Reply, Request, SnapshotInfo,
};
use coffre_core::words::{RecoveryWords, WORD_COUNT};
use coffre_vault::disk::parse_health;
use std::fmt::Display;
use std::str::FromStr;

/// See the module.
pub const TARGETS: &[Target] = &[
    Target {
        name: "slots",
        samples: slot_files,
        check: check_slots,
        mend: None,
        tokens: &[b"-> X25519 ", b"\n---", b"age-encryption.org/v1\n", b"-> ", b"\n"],
        max_len: 2048,
        one_in: 40,
        memory: |len| 64 * len + (256 << 10),
    },
    Target {
        name: "identity",
        samples: identities,
        check: check_identity,
        mend: None,
        tokens: &[b"AGE-SECRET-KEY-1", b"age1", b"AGE-PLUGIN-", b"\n", b"#", b"q"],
        max_len: 300,
        one_in: 40,
        memory: in_proportion,
    },
    Target {
        name: "words",
        samples: words,
        check: check_words,
        mend: None,
        tokens: &[b" ", b"abaisser", b"zoologie", b"abai", "é".as_bytes(), b"e\xcc\x81", "Œ".as_bytes()],
        max_len: 2000,
        one_in: 8,
        memory: |len| 64 * len + (1 << 20),
    },
    Target {
        name: "names",
        samples: names,
        check: check_names,
        mend: None,
        tokens: &[b"/", b"-", b"..", b"v1", b"A", "é".as_bytes(), b"\x00", b"\n"],
        max_len: 200,
        one_in: 1,
        memory: in_proportion,
    },
    Target {
        name: "request",
        samples: requests,
        check: check_request,
        mend: None,
        tokens: JSON,
        max_len: 1000,
        one_in: 1,
        memory: in_proportion,
    },
    Target {
        name: "reply",
        samples: replies,
        check: check_reply,
        mend: None,
        tokens: JSON,
        max_len: 2000,
        one_in: 1,
        memory: in_proportion,
    },
    Target {
        name: "health",
        samples: healths,
        check: check_health,
        mend: None,
        tokens: JSON,
        max_len: 6000,
        one_in: 2,
        memory: in_proportion,
    },
];

const JSON: &[&[u8]] = &[
    b"{",
    b"}",
    b"[",
    b"]",
    b"\"",
    b",",
    b":",
    b"null",
    b"true",
    b"1e999",
    b"\"do\":",
    b"\"is\":",
    b"\\u0000",
    b"\\ud800",
    b"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
];

const VAULT: VaultId = VaultId([5; 16]);

fn paper() -> SlotIdentity {
    new_identity([1; 32])
}

fn slot_files(_: &mut Rng) -> Vec<Vec<u8>> {
    let own = new_identity([2; 32]);
    let seal = |to: &[SlotRecipient]| seal_root(&RootKey::new([7; 32]), VAULT, to).expect("few recipients");
    vec![seal(&[paper().recipient()]), seal(&[paper().recipient(), own.recipient()])]
}

fn check_slots(file: &[u8]) -> Result<Answer, String> {
    match open_root(file, &paper()) {
        Err(why) => refused(&why.what),
        Ok((vault, root)) => {
            hold(vault == VAULT && root == RootKey::new([7; 32]), "what opens is what was sealed")?;
            accepted(0)
        }
    }
}

fn identities(_: &mut Rng) -> Vec<Vec<u8>> {
    vec![paper().to_text().as_bytes().to_vec(), paper().recipient().to_string().into_bytes()]
}

fn check_identity(bytes: &[u8]) -> Result<Answer, String> {
    let Ok(text) = std::str::from_utf8(bytes) else { return refused("not text") };
    if let Ok(identity) = text.parse::<SlotIdentity>() {
        let again = identity.to_text().parse::<SlotIdentity>().map_err(|f| f.what)?;
        hold(again.recipient() == identity.recipient(), "an identity written again is the same")?;
        return accepted("identity");
    }
    match text.parse::<SlotRecipient>() {
        Err(why) => refused(&why.what),
        Ok(recipient) => {
            let again = recipient.to_string().parse::<SlotRecipient>();
            hold(again.is_ok_and(|again| again == recipient), "a recipient written again is the same")?;
            accepted("recipient")
        }
    }
}

fn words(rng: &mut Rng) -> Vec<Vec<u8>> {
    let mut entropy = [0; 32];
    let mut samples = Vec::new();
    for _ in 0..4 {
        rng.fill(&mut entropy);
        let words = RecoveryWords::from_entropy(entropy).words();
        samples.push(words.join(" ").into_bytes());
        let short: Vec<String> = words.iter().map(|word| word.chars().take(4).collect()).collect();
        samples.push(short.join("\n").to_uppercase().into_bytes());
    }
    samples
}

fn check_words(bytes: &[u8]) -> Result<Answer, String> {
    let text = String::from_utf8_lossy(bytes);
    let found = match RecoveryWords::parse_text(&text) {
        Ok(found) => found,
        // What was typed is repeated between quotes; it makes no new kind of answer.
        Err(why) => return refused(why.what.rsplit('"').next().unwrap_or_default()),
    };
    let words = found.words();
    hold(words.len() == WORD_COUNT, "there are 24 words")?;
    let again = RecoveryWords::parse(&words).map_err(|f| f.what)?;
    hold(again == found, "the words written again mean the same")?;
    accepted(0)
}

fn names(_: &mut Rng) -> Vec<Vec<u8>> {
    let texts = ["pc-fatima", "pc-fatima/home", "0", "a/b"].map(|name| name.as_bytes().to_vec());
    let ids = [ObjectId([0xab; 16]).to_string(), ChunkId([1; 32]).to_string()].map(String::into_bytes);
    [texts.to_vec(), ids.to_vec()].concat()
}

fn check_names(bytes: &[u8]) -> Result<Answer, String> {
    let Ok(text) = std::str::from_utf8(bytes) else { return refused("not text") };
    let read = [
        same_text::<ClientName>(text)?,
        same_text::<DatasetName>(text)?,
        same_text::<DatasetRef>(text)?,
        same_text::<ObjectId>(text)?,
        same_text::<ChunkId>(text)?,
    ];
    if read[0] {
        let plain = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        hold(plain && text.len() <= MAX_NAME_LEN, "a name is short and plain")?;
        hold(!RESERVED.contains(&text), "no reserved word is a name")?;
    }
    if read.contains(&true) { accepted(read) } else { refused("no name") }
}

/// Whether it is one; then it is written as it was read, and serde reads it as well.
fn same_text<T: FromStr + Display + serde::de::DeserializeOwned>(text: &str) -> Result<bool, String> {
    let Ok(read) = text.parse::<T>() else { return Ok(false) };
    hold(read.to_string() == text, "a name is written as it was read")?;
    let json = serde_json::to_string(text).map_err(|e| e.to_string())?;
    hold(serde_json::from_str::<T>(&json).is_ok(), "a name may stand in JSON")?;
    Ok(true)
}

fn requests(_: &mut Rng) -> Vec<Vec<u8>> {
    let dataset = || "pc-fatima/home".parse::<DatasetRef>().expect("a name of the samples");
    let client = || "pc-fatima".parse::<ClientName>().expect("a name of the samples");
    let all = [
        Request::Status,
        Request::ClientAdd { name: client(), quota_bytes: Some(1 << 40), daily_bytes: Some(1 << 30) },
        Request::ClientSet {
            name: client(),
            quota: Some(Ceiling::Bytes(5)),
            daily: Some(Ceiling::Default),
            objects: None,
        },
        Request::ClientList,
        Request::ClientRemove { name: client() },
        Request::IndexBurn,
        Request::Snapshots { dataset: Some(dataset()) },
        Request::Get { dataset: dataset(), id: Some(ObjectId([0xab; 16])) },
        Request::CheckWords { words: vec!["abaisser".into(), "abandon".into()] },
    ];
    all.iter().map(|request| serde_json::to_vec(request).expect("plain values")).collect()
}

fn check_request(line: &[u8]) -> Result<Answer, String> {
    let request = match serde_json::from_slice::<Request>(line) {
        Ok(request) => request,
        Err(why) => return refused(&format!("{:?}", why.classify())),
    };
    let again = serde_json::to_vec(&request).map_err(|e| e.to_string())?;
    hold(!again.contains(&b'\n'), "a request is one line")?;
    let again = serde_json::from_slice::<Request>(&again);
    hold(again.is_ok_and(|again| again == request), "a request written again is the same")?;
    accepted((std::mem::discriminant(&request), line.len().ilog2_or_zero()))
}

fn replies(_: &mut Rng) -> Vec<Vec<u8>> {
    let snapshot = || SnapshotInfo {
        class: coffre_core::class::LockClass::DAYS_30,
        dataset: "pc-fatima/home".parse().expect("a name of the samples"),
        id: ObjectId([0xab; 16]),
        size: 7,
        stored_bytes: 7,
        received_ms: 1_700_000_000_000,
        locked_until_ms: 1_702_592_000_000,
        hash: format!("blake3:{}", ChunkId([1; 32])),
        checked: Some(Checked { kind: Kind::Postgres, finding: Finding::NoLastLine }),
        lock_provisional: false,
    };
    let client = || "pc-fatima".parse::<ClientName>().expect("a name of the samples");
    let info = ClientInfo {
        name: client(),
        quota_bytes: None,
        default_quota_bytes: Some(9),
        daily_bytes: Some(4),
        default_daily_bytes: None,
        logical_bytes: 5,
        new_bytes: 4,
        day_logical_bytes: 3,
        day_new_bytes: 2,
        day_lost_bytes: 1,
        objects: 8,
        max_objects: None,
        default_max_objects: 9,
        datasets: 1,
        created_ms: 6,
        secret_ms: 7,
        rhythm: Rhythm { every_s: Some(9), last_ms: Some(8), ..Rhythm::default() },
        refused: RefusedInfo { count: 3, why: Some("full".into()), ..RefusedInfo::default() },
        removed: false,
    };
    let all = [
        Reply::ClientAdded(NewClient {
            name: client(),
            secret: "abc".into(),
            quota_bytes: None,
            daily_bytes: None,
            unsure: Some(Fault::unknown("nobody saw it")),
        }),
        Reply::Clients { clients: vec![info.clone(), info] },
        Reply::Snapshots { snapshots: vec![snapshot()] },
        Reply::Object(snapshot()),
        Reply::Data { bytes: 9 },
        Reply::Certificate(CertificateInfo {
            pem: "-----BEGIN".into(),
            fingerprint: "AB:CD".into(),
            receipt_key: "AAAA".into(),
            words: vec!["abaisser".into(); 4],
        }),
        Reply::Done,
        Reply::Failed(Fault::absent("nothing is there").next("look elsewhere")),
    ];
    all.iter().map(|reply| serde_json::to_vec(reply).expect("plain values")).collect()
}

fn check_reply(line: &[u8]) -> Result<Answer, String> {
    let reply = match serde_json::from_slice::<Reply>(line) {
        Ok(reply) => reply,
        Err(why) => return refused(&format!("{:?}", why.classify())),
    };
    let again = serde_json::to_vec(&reply).map_err(|e| e.to_string())?;
    hold(!again.contains(&b'\n'), "a reply is one line")?;
    let again = serde_json::from_slice::<Reply>(&again);
    hold(again.is_ok_and(|again| again == reply), "a reply written again is the same")?;
    accepted((std::mem::discriminant(&reply), line.len().ilog2_or_zero()))
}

fn healths(_: &mut Rng) -> Vec<Vec<u8>> {
    let ata = r#"{"smartctl":{"messages":[{"string":"x"}]},"model_name":"WD","smart_status":{"passed":true},
        "temperature":{"current":31},"power_on_time":{"hours":38214},"ata_smart_attributes":{"table":[
        {"id":5,"name":"Reallocated_Sector_Ct","raw":{"value":8,"string":"8"}},{"id":197,"raw":{"value":1}}]}}"#;
    let nvme = r#"{"model_name":"S","smart_status":{"passed":false},"temperature":{"current":44},
        "nvme_smart_health_information_log":{"media_errors":0,"percentage_used":3}}"#;
    vec![ata.as_bytes().to_vec(), nvme.as_bytes().to_vec()]
}

fn check_health(answer: &[u8]) -> Result<Answer, String> {
    let health = parse_health(answer);
    if let Some(why) = &health.unknown_why {
        hold(why.chars().count() <= 200 && health.passed.is_none(), "what is unknown is short and says so")?;
        return refused(why);
    }
    hold(health.temperature_c.is_none_or(|c| (-50..=150).contains(&c)), "a temperature is one")?;
    hold(health.reallocated_sectors.is_none_or(|n| n <= u64::from(u32::MAX)), "a count has 32 bits")?;
    accepted((health.passed, health.temperature_c.is_some(), health.media_errors.is_some()))
}
