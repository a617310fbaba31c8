//! The console: `coffre-console --state DIR` shows the state of the box until Q.

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

const USAGE: &str = "usage: coffre-console --state DIR [--glyphs rich|cp437|ascii] [--language fr|en]";

struct Args {
    state: PathBuf,
    tier: Tier,
    language: Language,
}

fn main() -> ExitCode {
    let args = match parse(std::env::args().skip(1)) {
        Ok(args) => args,
        Err(why) => {
            eprintln!("coffre-console: {why}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match run(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("coffre-console: {why}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: Args) -> io::Result<()> {
    let colour = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let mut state = State::new(args.language, args.tier, colour);
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

fn parse(mut args: impl Iterator<Item = String>) -> Result<Args, String> {
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].map(variable).into_iter().find(|value| !value.is_empty());
    let locale = locale.unwrap_or_default();
    let mut state = None;
    let mut tier = Tier::for_terminal(&variable("TERM"), &locale);
    let mut language = Language::of_locale(&locale);
    while let Some(flag) = args.next() {
        let value = args.next().ok_or_else(|| format!("{flag} needs a value"))?;
        match (flag.as_str(), value.as_str()) {
            ("--state", _) => state = Some(PathBuf::from(value)),
            ("--glyphs", "rich") => tier = Tier::Rich,
            ("--glyphs", "cp437") => tier = Tier::Cp437,
            ("--glyphs", "ascii") => tier = Tier::Ascii,
            ("--language", "fr") => language = Language::French,
            ("--language", "en") => language = Language::English,
            _ => return Err(format!("{flag} {value} is not understood")),
        }
    }
    let state = state.ok_or("--state is missing")?;
    Ok(Args { state, tier, language })
}
