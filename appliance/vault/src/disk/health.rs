//! What a real disk says of its own health, asked through `smartctl --json`.
//!
//! smartctl knows hundreds of models and their oddities; we read a few fields of its answer and no more. Nothing is
//! decided on them: a disk that says it is well may die tonight, and one with reallocated sectors may serve for
//! years. They are told to a person, in words, beside what the box itself verified. A folder, a loop device, a virtual disk or a
//! machine without smartctl has no such figures: then they are *unknown*, and why is said.
//!
//! The program runs for a few seconds at most and is killed then: a dying disk may hang it.

use coffre_core::wire::DiskHealth;
use serde::Deserialize;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::time::Duration;

/// Longest wait for smartctl.
const LIMIT: Duration = Duration::from_secs(10);
/// Longest answer that is read, in bytes; real ones have some 30 KiB.
const MAX_ANSWER_LEN: u64 = 1 << 20;
/// ATA attributes: reallocated sectors, sectors pending, and offline uncorrectable ones.
const REALLOCATED: u32 = 5;
const PENDING: u32 = 197;

/// Asks the disk under `path` how it is. Never fails: what cannot be known says why.
pub fn health_of(path: &Path) -> DiskHealth {
    match device_of(path) {
        Err(why) => DiskHealth::unknown(why),
        Ok(device) => {
            // The folder of root's programs is not on everybody's path.
            let by_place = Path::new("/usr/sbin/smartctl");
            let program = if by_place.exists() { by_place } else { Path::new("smartctl") };
            ask(program, &device, LIMIT)
        }
    }
}

/// The whole disk that the file system at `path` is on, as `/dev/NAME`.
fn device_of(path: &Path) -> Result<PathBuf, &'static str> {
    let id = std::fs::metadata(path).map_err(|_| "the disk is not there")?.dev();
    let (major, minor) = (nix::sys::stat::major(id), nix::sys::stat::minor(id));
    let none = "it is not on a block device of its own";
    let place = std::fs::canonicalize(format!("/sys/dev/block/{major}:{minor}")).map_err(|_| none)?;
    // A partition has its disk for a folder.
    let whole = if place.join("partition").exists() { place.parent().ok_or(none)? } else { &place };
    let name = whole.file_name().and_then(|name| name.to_str()).ok_or(none)?;
    // Loop, mapped and virtual devices have no hardware of their own behind them.
    if !whole.join("device").exists() {
        return Err("there is no hardware behind it that could be asked");
    }
    Ok(Path::new("/dev").join(name))
}

/// Runs `program` (smartctl, by its name or path) for this device.
fn ask(program: &Path, device: &Path, limit: Duration) -> DiskHealth {
    let mut command = Command::new(program);
    // In standby a disk is left asleep: it would be woken every hour for nothing.
    command.args(["--json=c", "-n", "standby,0", "-i", "-H", "-A"]).arg(device);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            return DiskHealth::unknown("smartctl is not installed (package smartmontools)");
        }
        Err(e) => return DiskHealth::unknown(&format!("smartctl does not start: {e}")),
    };
    let (tell, told) = channel();
    if let Some(out) = child.stdout.take() {
        // A thread of its own: only so can the wait be bounded. It ends with the program.
        std::thread::spawn(move || {
            let mut answer = Vec::new();
            let read = out.take(MAX_ANSWER_LEN).read_to_end(&mut answer);
            // Whoever asked may have stopped waiting.
            let _ = tell.send(read.map(|_| answer).unwrap_or_default());
        });
    }
    let answer = told.recv_timeout(limit);
    // Ended or not: a program that hangs in the kernel outlives its kill, so it is waited for elsewhere.
    let _ = child.kill();
    std::thread::spawn(move || child.wait());
    match answer {
        // Where programs are started by an emulator, one that is missing starts, says nothing and ends.
        Ok(answer) if answer.is_empty() => {
            DiskHealth::unknown("smartctl said nothing: is it installed (package smartmontools)?")
        }
        Ok(answer) => parse(&answer),
        Err(_) => DiskHealth::unknown("smartctl did not answer in time"),
    }
}

/// Reads what smartctl wrote. Fields that are missing are unknown one by one.
pub fn parse(answer: &[u8]) -> DiskHealth {
    let Ok(answer) = serde_json::from_slice::<Answer>(answer) else {
        return DiskHealth::unknown("smartctl gave no answer that can be read");
    };
    let nvme = answer.nvme_smart_health_information_log.as_ref();
    let attribute = |id| {
        let table = answer.ata_smart_attributes.as_ref()?;
        // The raw value may carry more in its upper bytes; counts are in the lower four.
        table.table.iter().find(|a| a.id == id).map(|a| a.raw.value & 0xffff_ffff)
    };
    let health = DiskHealth {
        unknown_why: None,
        model: answer.model_name,
        passed: answer.smart_status.and_then(|status| status.passed),
        temperature_c: answer.temperature.and_then(|t| t.current).filter(|t| (-50..=150).contains(t)),
        power_on_hours: answer.power_on_time.and_then(|t| t.hours),
        reallocated_sectors: attribute(REALLOCATED),
        pending_sectors: attribute(PENDING),
        media_errors: nvme.and_then(|log| log.media_errors),
        wear_percent: nvme.and_then(|log| log.percentage_used),
    };
    let model_alone = DiskHealth { model: health.model.clone(), ..DiskHealth::default() };
    if health != model_alone {
        return health;
    }
    let said = answer.smartctl.messages.into_iter().map(|m| m.string).next();
    let why: String = said.unwrap_or_else(|| "the disk tells nothing of its health".into());
    DiskHealth::unknown(&why.chars().take(200).collect::<String>())
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    smartctl: Smartctl,
    model_name: Option<String>,
    smart_status: Option<SmartStatus>,
    temperature: Option<Temperature>,
    power_on_time: Option<PowerOnTime>,
    ata_smart_attributes: Option<Attributes>,
    nvme_smart_health_information_log: Option<NvmeLog>,
}

#[derive(Deserialize, Default)]
struct Smartctl {
    #[serde(default)]
    messages: Vec<Message>,
}

#[derive(Deserialize)]
struct Message {
    #[serde(default)]
    string: String,
}

#[derive(Deserialize)]
struct SmartStatus {
    passed: Option<bool>,
}

#[derive(Deserialize)]
struct Temperature {
    current: Option<i64>,
}

#[derive(Deserialize)]
struct PowerOnTime {
    hours: Option<u64>,
}

#[derive(Deserialize)]
struct Attributes {
    #[serde(default)]
    table: Vec<Attribute>,
}

#[derive(Deserialize)]
struct Attribute {
    id: u32,
    raw: Raw,
}

#[derive(Deserialize)]
struct Raw {
    value: u64,
}

#[derive(Deserialize)]
struct NvmeLog {
    media_errors: Option<u64>,
    percentage_used: Option<u64>,
}

#[cfg(test)]
#[path = "health_tests.rs"]
mod tests;
