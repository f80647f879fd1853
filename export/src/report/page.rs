//! The page around the pieces: head, style for light and dark, sections.

use std::fmt::Write as _;

use super::markup::escaped;

/// Light by default, dark where the reader's system asks for it. Pictures carry the light colours themselves, so that
/// they keep them when they are taken out of the page.
const STYLE: &str = "
:root{color-scheme:light dark;--ink:#1d2129;--soft:#5c6470;--line:#d5d9e0;--ground:#fff;--panel:#f5f6f8;--accent:#1f5fa8;\
--warm:#c4501b}
@media(prefers-color-scheme:dark){:root{--ink:#e4e7ec;--soft:#9aa3b0;--line:#3a414c;--ground:#15181d;--panel:#1e2229;\
--accent:#7db2ea;--warm:#f0925f}}
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--ground);max-width:78rem;margin:2rem auto;\
padding:0 1.2rem}
h1{font-size:1.6rem;margin-bottom:.2rem}h2{font-size:1.25rem;margin-top:2.4rem;border-bottom:1px solid var(--line);\
padding-bottom:.2rem}h3{font-size:1.05rem;margin-top:1.6rem}
a{color:var(--accent)}nav{margin:.8rem 0;font-size:.92em}nav a{margin-right:1.1em}
code,pre{font:13px/1.45 ui-monospace,monospace;background:var(--panel);border-radius:4px}code{padding:.1em .3em}\
pre{padding:.8rem;overflow:auto}
.wide{overflow-x:auto;margin:1.2rem 0}table.grid{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:.92em}
caption{text-align:left;padding:.3rem 0 .5rem;caption-side:top}td,th{padding:.16rem .6rem;text-align:right;white-space:nowrap}
th[scope=row],th[scope=rowgroup],th.name{text-align:left;font-weight:400}
thead th{border-bottom:1.5px solid var(--ink);font-weight:600;vertical-align:bottom}
th[scope=rowgroup]{vertical-align:top;font-weight:600}tbody{border-bottom:1px solid var(--line)}
td.mean{border-left:1px solid var(--line);font-weight:500}th.published,th.control{color:var(--soft)}td b{color:var(--accent)}
.figures{display:flex;flex-wrap:wrap;gap:1rem 1.6rem;align-items:flex-start}figure{margin:0}
figcaption{font-size:.88em;font-weight:600;margin:.2rem 0 .35rem}
svg{max-width:100%;height:auto}svg text:not(.in){fill:var(--ink)}svg .g{stroke:var(--line)}svg .c0{stroke:var(--soft);\
stroke-opacity:.65}svg .c1{stroke:var(--accent)}svg .c2{stroke:var(--soft)}svg .c3{stroke:var(--warm)}
.note{color:var(--soft);font-size:.92em}.warning{border-left:4px solid var(--warm);background:var(--panel);padding:.5rem .8rem}
.scan{margin:1.1rem 0}.scan p{margin:.2rem 0}.panels{display:flex;flex-wrap:wrap;gap:.7rem}.panels figure{width:23.5%;\
min-width:190px}.panels img{width:100%;height:auto;border-radius:4px}.panels figcaption{font-weight:400;color:var(--soft)}
dt{font-weight:600;margin-top:.5rem}dd{margin:0 0 0 1.2rem;overflow-wrap:anywhere}
@media print{body{max-width:none}nav{display:none}}
";

/// A page being written.
#[derive(Debug, Clone)]
pub struct Page {
    title: String,
    sections: Vec<(String, String)>,
}

impl Page {
    /// An empty page.
    #[must_use]
    pub fn new(title: &str) -> Self {
        Self { title: title.into(), sections: Vec::new() }
    }

    /// Adds a section; one without content is left out.
    pub fn section(&mut self, title: &str, html: String) {
        if !html.is_empty() {
            self.sections.push((title.into(), html));
        }
    }

    /// The whole page; `lead` stands below the title.
    #[must_use]
    pub fn html(&self, lead: &str) -> String {
        let title = escaped(&self.title);
        let mut html = format!(
            "<!DOCTYPE html>\n<html lang=en><head><meta charset=utf-8><meta name=viewport content=\"width=device-width\">\
             <title>{title}</title><style>{STYLE}</style></head>\n<body><h1>{title}</h1>\n{lead}\n<nav>"
        );
        for (number, (title, _)) in self.sections.iter().enumerate() {
            let _ = write!(html, "<a href=\"#s{number}\">{}</a> ", escaped(title));
        }
        html.push_str("</nav>\n");
        for (number, (title, content)) in self.sections.iter().enumerate() {
            let _ = writeln!(html, "<h2 id=s{number}>{}</h2>\n{content}", escaped(title));
        }
        html.push_str("</body></html>\n");
        html
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_are_listed_and_empty_ones_left_out() {
        let mut page = Page::new("A < B");
        page.section("Tables", "<p>x</p>".into());
        page.section("Nothing", String::new());
        let html = page.html("<p>lead</p>");
        assert!(html.contains("<title>A &lt; B</title>") && html.contains("<a href=\"#s0\">Tables</a>"));
        assert!(!html.contains("Nothing"));
        for outside in ["http:", "https:", "<script", "<link", "@import", "url("] {
            assert!(!html.contains(outside), "the page needs {outside}");
        }
    }
}
