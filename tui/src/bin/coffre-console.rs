//! The console: `coffre-console --state DIR` shows the state of the box until Q.

use clap::{Parser, ValueEnum};
use coffre_tui::glyphs::Tier;
use coffre_tui::state::{Command, Event, Key, State};
use coffre_tui::text::Language;
use coffre_tui::{link, screen};
use ratatui::crossterm::event::{self, Event as Input, KeyCode, KeyEventKind, KeyModifiers};
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::{Duration, Instant};

/// Show the state of a Coffre backup box on this terminal, in French or English, until Q.
///
/// Keys: Q leaves, L changes the language, G the glyphs. Colour is left out where NO_COLOR is set, and never carries meaning alone.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// The vault's state folder, made by `coffre init`.
    #[arg(long, env = "COFFRE_STATE", value_name = "DIR")]
    state: PathBuf,
    /// Which characters the terminal can draw; without this it follows TERM and the locale.
    #[arg(long, value_enum)]
    glyphs: Option<Glyphs>,
    /// Without this it follows the locale.
    #[arg(long, value_enum)]
    language: Option<Tongue>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Glyphs {
    /// Anything.
    Rich,
    /// What each Linux console font has.
    Cp437,
    /// Seven bits.
    Ascii,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Tongue {
    /// French.
    Fr,
    /// English.
    En,
}

fn main() -> ExitCode {
    // What cannot be understood ends here with 2, `--help` and `--version` with 0.
    match run(Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("coffre-console: {why}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: Args) -> io::Result<()> {
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].map(variable).into_iter().find(|value| !value.is_empty());
    let locale = locale.unwrap_or_default();
    let tier = match args.glyphs {
        Some(Glyphs::Rich) => Tier::Rich,
        Some(Glyphs::Cp437) => Tier::Cp437,
        Some(Glyphs::Ascii) => Tier::Ascii,
        None => Tier::for_terminal(&variable("TERM"), &locale),
    };
    let language = match args.language {
        Some(Tongue::Fr) => Language::French,
        Some(Tongue::En) => Language::English,
        None => Language::of_locale(&locale),
    };
    let colour = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let mut state = State::new(language, tier, colour);
    let mut terminal = ratatui::try_init()?;
    let (tell, events) = mpsc::channel();
    link::poll(args.state, tell.clone());
    tick(tell.clone());
    keys(tell);
    let shown = show(&mut terminal, &mut state, &events);
    ratatui::restore();
    shown
}

fn show(
    terminal: &mut ratatui::DefaultTerminal,
    state: &mut State,
    events: &Receiver<Event>,
) -> io::Result<()> {
    loop {
        terminal.draw(|frame| screen::draw(frame, state))?;
        // All senders live in threads that end with the process.
        let Ok(event) = events.recv() else { return Ok(()) };
        if state.apply(event) == Command::Quit {
            return Ok(());
        }
    }
}

fn tick(events: Sender<Event>) {
    std::thread::spawn(move || {
        let since = Instant::now();
        loop {
            std::thread::sleep(Duration::from_millis(500));
            let now_ms = u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
            if events.send(Event::Tick { now_ms }).is_err() {
                return;
            }
        }
    });
}

fn keys(events: Sender<Event>) {
    std::thread::spawn(move || {
        loop {
            let event = match event::read() {
                Ok(Input::Key(key)) if key.kind == KeyEventKind::Press => match key.code {
                    KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => {
                        Event::Key(Key::Quit)
                    }
                    KeyCode::Char('q' | 'Q') => Event::Key(Key::Quit),
                    KeyCode::Char('l' | 'L') => Event::Key(Key::Language),
                    KeyCode::Char('g' | 'G') => Event::Key(Key::Glyphs),
                    _ => continue,
                },
                Ok(Input::Resize(..)) => Event::Redraw,
                Ok(_) => continue,
                // The terminal is gone: nobody watches any more.
                Err(_) => Event::Key(Key::Quit),
            };
            if events.send(event).is_err() {
                return;
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_grammar_is_sound_and_helps() {
        Args::command().debug_assert();
        let help = Args::command().render_long_help().to_string();
        for word in ["--state", "COFFRE_STATE", "--glyphs", "--language", "Q leaves"] {
            assert!(help.contains(word), "{word} in {help}");
        }
        assert!(Args::try_parse_from(["coffre-console", "--state", "/s", "--language", "de"]).is_err());
    }
}
