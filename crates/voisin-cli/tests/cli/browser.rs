//! The report in a real browser, at the width of a phone. Without Chromium, the test says so and
//! passes.

use std::process::Command;

use crate::{Place, floats};

/// Loads the page as a phone shows it, and tells in the title how wide it is, how many pictures it
/// has, and whether each of them can be seen.
const PHONE: &str = r#"<!doctype html>
<iframe id="f" src="notes.html" style="width:390px;height:800px;border:0"></iframe>
<script>
f.onload = () => {
    const page = f.contentDocument;
    const pictures = [...page.querySelectorAll("svg")];
    const isSeen = picture => {
        const { width, height } = picture.getBoundingClientRect();
        return width > 300 && height > 50;
    };
    const width = page.documentElement.scrollWidth;
    document.title = `${width} ${pictures.length} ${pictures.every(isSeen)}`;
};
</script>
"#;

#[test]
fn a_report_can_be_read_on_a_phone() {
    let place = Place::new();
    std::fs::write(place.path("rows.f32"), floats(0..3000, 8)).unwrap();
    place.line("load notes rows.f32 --metric l2 -d 8").done();
    place.line("report notes notes.html").done();
    std::fs::write(place.path("phone.html"), PHONE).unwrap();
    let page = format!("file://{}", place.path("phone.html").display());
    let profile = format!("--user-data-dir={}", place.path("profile").display());
    let browsers = ["chromium", "chromium-browser", "google-chrome"];
    let shown = browsers.iter().find_map(|browser| {
        let mut command = Command::new(browser);
        command.args(["--headless=new", "--no-sandbox", "--disable-gpu", "--dump-dom"]);
        command.args(["--allow-file-access-from-files", "--virtual-time-budget=5000"]);
        command.args([&profile, &page]).output().ok()
    });
    let Some(shown) = shown else {
        println!("SKIPPED: there is no Chromium here");
        return;
    };
    let html = String::from_utf8(shown.stdout).unwrap();
    let title = html.split("<title>").nth(1).and_then(|rest| rest.split("</title>").next());
    let title: Vec<&str> = title.unwrap_or_default().split(' ').collect();
    let [width, pictures, are_seen] = title[..] else { panic!("{html}") };
    assert!(width.parse::<u32>().unwrap() <= 390, "the page is {width} pixels wide");
    assert!(pictures.parse::<u32>().unwrap() >= 4, "{pictures} pictures");
    assert_eq!(are_seen, "true");
}
