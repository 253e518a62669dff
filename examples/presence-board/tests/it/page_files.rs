//! The files of the page, without a browser.

/// The README and `support.js` name Chromium 92, Firefox 90 and Safari 15.4. Newer functions and syntax would
/// leave such a browser at `Connecting…`.
#[test]
fn scripts_run_in_oldest_browser() {
    const NEWER: [&str; 20] = [
        ".toReversed(",
        ".toSorted(",
        ".toSpliced(",
        ".with(",
        ".findLast",
        ".isWellFormed(",
        ".toWellFormed(",
        "structuredClone(",
        "Object.hasOwn(",
        ".groupBy(",
        "fromAsync(",
        "withResolvers(",
        "AbortSignal.timeout(",
        "AbortSignal.any(",
        "static {",
        "await using",
        "using ",
        "import.meta",
        "with { type",
        "checkVisibility(",
    ];
    for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/page")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "js") {
            let script = std::fs::read_to_string(&path).unwrap();
            let code: Vec<_> = script.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
            let newer: Vec<_> = NEWER.into_iter().filter(|text| code.join("\n").contains(text)).collect();
            assert!(newer.is_empty(), "{path:?} uses {newer:?}");
            // This one also runs in browsers without modules.
            let is_old =
                !["=>", "let ", "const ", "?.", "`"].iter().any(|text| code.join("\n").contains(text));
            assert!(is_old || !path.ends_with("support.js"), "{path:?}");
        }
    }
}
