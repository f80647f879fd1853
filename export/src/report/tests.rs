//! The page of a small run, part by part.

use std::fs;

use super::*;

const CELLS: &str = "data_set,seed,training,arm,mode,test_class,ok_scans,defective_scans,undecided_scans,\
    aupro_fg_published_0.3,aupro_published_0.3,aupro_fg_exact_0.3,image_auroc,image_auroc_low,image_auroc_high,hit1\n\
    d,1,ring,3dzal,line,rope,8,22,0,0.4,0.6,0.41,0.7,0.5,0.9,0.3\n\
    d,1,ring,3dzal,line,ring,8,22,0,0.9,0.95,0.9,0.8,0.5,0.9,0.6\n\
    d,1,ring,without,line,rope,8,22,1,0.2,0.65,0.2,0.5,0.3,0.7,0.1\n\
    d,1,ring,random,line,rope,8,22,0,0.15,0.15,0.15,0.5,0.3,0.7,0.05\n";

const SCANS: &str = "data_set,seed,training,arm,mode,test_class,scan,defective,score,score_without_defect,\
    peak_on_defect,undecided\n\
    d,1,ring,3dzal,line,rope,rope/test/good/000,false,2,,,\n\
    d,1,ring,3dzal,line,rope,rope/test/cut/000,true,1,,false,\n";

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let out = tempfile::tempdir().expect("a folder");
    files.iter().for_each(|(name, text)| fs::write(out.path().join(name), text).expect("written"));
    out
}

fn page<'a>(out: &Path, explain: Option<&'a mut Explain<'a>>) -> String {
    let options = Options { title: "A run".into(), command: Some("zal-export report OUT".into()), explain };
    let path = write(out, options).expect("a report");
    fs::read_to_string(path).expect("just written")
}

#[test]
fn cells_alone_make_a_report_that_needs_nothing_else() {
    let out = folder(&[("cells.csv", CELLS)]);
    let html = page(out.path(), None);
    for part in ["Table 1. AUPRO in %", "Table 2. AUPRO-fg in %", "Table 3. image AUROC in %", "hit1"] {
        assert!(html.contains(part), "{part}");
    }
    assert!(html.contains("<b>65.0</b>") && html.contains("<u>60.0</u>"), "best and second best of AUPRO");
    assert!(html.contains("<b>40.0</b>") && html.contains("<u>20.0</u>"), "best and second best of AUPRO-fg");
    assert!(html.contains("90.0<sup>\u{2020}</sup>") && html.contains("the class is in the training"));
    assert!(html.contains("not comparable") && html.contains("82.9"), "the published tables stand apart");
    assert!(html.contains("<svg") && !html.contains("Worst misses") && !html.contains("Curves</h2>"));
    for outside in ["=\"https:", "src=\"http", "href=\"http", "<script", "<link", "@import", "url("] {
        assert!(!html.contains(outside), "the page needs {outside}");
    }
}

#[test]
fn published_rows_stand_beside_ours_on_their_classes() {
    let out = folder(&[("cells.csv", &CELLS.replace("ring", "bagel"))]);
    let html = page(out.path(), None);
    assert!(html.contains("3DzAL <i>published</i>") && html.contains("BTF <i>published</i>"));
    assert!(html.contains("<td>82.0") && !html.contains("not comparable"), "bagel to rope is 82.0 there");
}

#[test]
fn scans_that_cannot_be_explained_are_listed_all_the_same() {
    let out = folder(&[("cells.csv", CELLS), ("scans.csv", SCANS)]);
    let html = page(out.path(), None);
    assert!(
        html.contains("rope/test/cut/000")
            && html.contains("100 % of the good scans score as high or higher")
    );
    let mut asked = Vec::new();
    let mut explain = |scan: &gallery::ScanRef| -> Result<gallery::Explained> {
        asked.push(scan.scan.clone());
        anyhow::bail!("the data set <d> has moved")
    };
    let html = page(out.path(), Some(&mut explain));
    assert!(html.contains("No picture: the data set &lt;d&gt; has moved"));
    assert_eq!(asked, ["rope/test/cut/000", "rope/test/good/000"]);
}

#[test]
fn a_folder_without_cells_is_refused() {
    let out = folder(&[]);
    let options = Options { title: "A run".into(), command: None, explain: None };
    let refused = format!("{:#}", write(out.path(), options).expect_err("nothing there"));
    assert!(refused.contains("cells.csv") && refused.contains("output folder"), "{refused}");
    let out = folder(&[("cells.csv", "a,b\n1,2\n")]);
    let options = Options { title: "A run".into(), command: None, explain: None };
    let refused = format!("{:#}", write(out.path(), options).expect_err("another table"));
    assert!(refused.contains("no column `data_set`"), "{refused}");
}
