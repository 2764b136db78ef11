//! What the demo prints, from standard input, as a picture for the README on standard output.
#![forbid(unsafe_code)]

use std::io::Read as _;

/// The parts that tell the story; the others are for who runs it.
const SHOWN: [&str; 7] = [
    "The one line",
    "Where each login landed",
    "What `ps -e` shows",
    "Both serve",
    "Limits against use",
    "Alice sets off",
    "Bob fills",
];

/// In pixels: of a letter's cell, and around the text.
const WIDTH: f64 = 8.0;
const HEIGHT: f64 = 18.0;
const MARGIN: f64 = 20.0;

const BACKGROUND: &str = "#16191f";
const TEXT: &str = "#d7dae0";
const HEADING: &str = "#5fb3d9";

fn main() -> std::io::Result<()> {
    let mut demo = String::new();
    std::io::stdin().read_to_string(&mut demo)?;
    let lines = story(&demo);
    if lines.len() < 20 {
        return Err(std::io::Error::other("this is not what the demo prints"));
    }
    print!("{}", picture(&lines));
    Ok(())
}

/// The lines to show, and whether each is a heading. Away from a terminal those are underlined.
fn story(demo: &str) -> Vec<(String, bool)> {
    let lines: Vec<&str> = demo.lines().collect();
    let mut story: Vec<(String, bool)> = Vec::new();
    let mut shown = false;
    for (at, line) in lines.iter().enumerate() {
        let is_heading = |at: usize| lines.get(at + 1).is_some_and(|next| next.starts_with("---"));
        if line.starts_with("---") {
            continue;
        }
        if is_heading(at) {
            shown = SHOWN.iter().any(|title| line.starts_with(title));
            if shown && !story.is_empty() {
                story.push((String::new(), false));
            }
        }
        if shown && !line.is_empty() {
            story.push(((*line).to_owned(), is_heading(at)));
        }
    }
    story
}

fn picture(lines: &[(String, bool)]) -> String {
    let columns = lines.iter().map(|(line, _)| line.chars().count()).max().unwrap_or_default();
    let width = columns as f64 * WIDTH + 2.0 * MARGIN;
    let height = lines.len() as f64 * HEIGHT + 2.0 * MARGIN;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
         width=\"{width}\" height=\"{height}\">\n\
         <rect width=\"100%\" height=\"100%\" rx=\"6\" fill=\"{BACKGROUND}\"/>\n\
         <g font-family=\"ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace\" \
         font-size=\"13\" fill=\"{TEXT}\">\n"
    );
    for (at, (line, is_heading)) in lines.iter().enumerate() {
        let text = line.trim_start();
        if text.is_empty() {
            continue;
        }
        let x = MARGIN + (line.len() - text.len()) as f64 * WIDTH;
        let y = MARGIN + at as f64 * HEIGHT + 13.0;
        // Columns stay columns whatever font the reader has.
        let length = text.chars().count() as f64 * WIDTH;
        let style = match is_heading {
            true => format!(" fill=\"{HEADING}\" font-weight=\"bold\""),
            false => String::new(),
        };
        svg += &format!(
            "<text x=\"{x}\" y=\"{y}\" textLength=\"{length}\" xml:space=\"preserve\"{style}>{}</text>\n",
            escaped(text)
        );
    }
    svg + "</g>\n</svg>\n"
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
