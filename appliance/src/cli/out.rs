//! Where a command says what it has to say: standard output, tried before anything is made that is shown only once.
//!
//! Recovery words and secrets exist nowhere else when they are printed. An output that is closed, full or thrown away would
//! lose them after the vault or the client was made. So such a command begins to write first: a line for people, and for
//! scripts the brace that opens the object, whether an answer or an error follows. Only when that was taken is anything made.

use coffre_core::fault::{Fault, Result};
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};

/// What is done when standard output takes nothing: it is this command's fault in no case.
const ELSEWHERE: &str = "nothing was made; run it at a terminal, or send its output to a file or a pipe";

/// Standard output of one command.
#[derive(Debug)]
pub(super) struct Out {
    json: bool,
    /// The opening brace is out already.
    opened: bool,
    /// What to do when the rest cannot be shown; `None` for answers that can be asked for again.
    lost: Option<String>,
}

impl Out {
    /// Nothing was written yet.
    pub fn new(json: bool) -> Self {
        Self { json, opened: false, lost: None }
    }

    /// Whether scripts read it.
    pub fn json(&self) -> bool {
        self.json
    }

    /// Begins to write, because something is about to be made that is shown only once. `Permanent` when standard output
    /// takes nothing or leads nowhere: then nothing may be made. `lost`: what to do if the rest cannot be written all the
    /// same.
    pub fn begin(&mut self, headline: &str, lost: impl Into<String>) -> Result<()> {
        seen()?;
        let first = if self.json { "{".to_owned() } else { format!("{headline}\n") };
        write(&first).map_err(|e| unwritable(&e).next(ELSEWHERE))?;
        self.opened = self.json;
        self.lost = Some(lost.into());
        Ok(())
    }

    /// Writes an answer. A listing whose reader has gone, as `head` does, is no failure; what is shown once always is.
    pub fn say(&self, text: &str) -> Result<()> {
        let rest = if self.opened { text.strip_prefix('{').unwrap_or(text) } else { text };
        let end = if rest.is_empty() || rest.ends_with('\n') { "" } else { "\n" };
        match (write(&format!("{rest}{end}")), &self.lost) {
            (Ok(()), _) => Ok(()),
            (Err(e), Some(lost)) => Err(unwritable(&e).next(lost.clone())),
            (Err(e), None) if e.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            (Err(e), None) => Err(unwritable(&e).next("make room where it goes, then ask again")),
        }
    }
}

/// `Permanent` when standard output is closed or thrown away. (A closed one is `/dev/null` by the time this program runs.)
pub(super) fn seen() -> Result<()> {
    let here = io::stdout().as_fd().try_clone_to_owned().map(File::from).and_then(|out| out.metadata());
    let device = |meta: &fs::Metadata| meta.file_type().is_char_device().then(|| meta.rdev());
    let thrown_away = match (&here, fs::metadata("/dev/null")) {
        (Ok(here), Ok(null)) => device(here).is_some() && device(here) == device(&null),
        (here, _) => here.is_err(),
    };
    if thrown_away {
        let fault =
            Fault::permanent("the output is closed or goes to /dev/null, and would be shown only once");
        return Err(fault.next(ELSEWHERE));
    }
    Ok(())
}

fn write(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

fn unwritable(error: &io::Error) -> Fault {
    Fault::permanent(format!("the output cannot be written: {error}"))
}
