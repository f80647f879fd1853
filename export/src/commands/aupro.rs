//! `zal-export aupro`: AUPRO and pixel AUROC of anyone's maps.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::json;
use zal::metrics::{Counted, DefectPixels, Domain, FPR_LIMIT, Tally};

use crate::stack::Stack;

/// Arguments of `zal-export aupro`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = HELP)]
pub struct Args {
    /// Anomaly maps, .npy [n, height, width] of f32, f64 or f16: higher = more unusual
    #[arg(long, value_name = "NPY")]
    maps: PathBuf,
    /// Ground truth of the same shape, bool, integers or floats: above 0 = defective
    #[arg(long, value_name = "NPY")]
    gt: PathBuf,
    /// Pixels of the object, of the same shape: above 0 = object. With it the figures over the object (fg) are computed too
    #[arg(long, value_name = "NPY")]
    mask: Option<PathBuf>,
    /// Integration limit: the false positive rate up to which the area counts
    #[arg(long, value_name = "FPR", default_value_t = FPR_LIMIT, value_parser = parse_limit)]
    limit: f64,
    /// How the area is computed
    #[arg(long, value_enum, default_value_t = Rule::Published)]
    rule: Rule,
    /// One JSON object instead of words
    #[arg(long)]
    json: bool,
}

/// `--rule`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Rule {
    /// 100 thresholds at equidistant ranks of the good pixels' scores, as the published figures
    Published,
    /// Every score is a threshold; equal scores pass it together
    Exact,
}

impl Rule {
    const fn name(self) -> &'static str {
        match self {
            Self::Published => "published",
            Self::Exact => "exact",
        }
    }

    fn of(self, tally: &Counted, domain: Domain, limit: f64) -> Option<f64> {
        match self {
            Self::Published => tally.published(domain, limit),
            Self::Exact => tally.exact(domain, limit),
        }
    }
}

const HELP: &str = "\
The two rules differ by 0.003 to 0.01: never compare a figure of one with a figure of the other. Regions are 8-connected \
and weigh the same, whatever their size; all maps share the thresholds. A map of noise scores limit / 2.

With --mask the good pixels of AUPRO-fg are those of the object alone. Over the whole picture a bare object mask scores \
well already, so a method is judged by AUPRO-fg. Defective pixels count wherever they are.

Maps are read twice, one at a time: memory holds the defective pixels' scores (about 40 bytes each) and one map, however \
many there are. Nothing is rounded or left out: f64 alone is rounded to f32.

  zal-export aupro --maps maps.npy --gt gt.npy --mask object.npy --rule exact --json";

/// Computes and prints the figures.
///
/// # Errors
/// Names the file, what was found in it and what was expected.
pub fn run(args: &Args) -> Result<()> {
    let figures = Figures::compute(args)?;
    if args.json {
        println!("{}", figures.json(args));
    } else {
        println!("{}", figures.text(args));
    }
    Ok(())
}

/// Figures over the whole picture and, with an object mask, over the object.
struct Figures {
    /// Maps, rows, columns.
    shape: [usize; 3],
    regions: usize,
    defective_pixels: usize,
    image: DomainFigures,
    object: Option<DomainFigures>,
}

struct DomainFigures {
    good_pixels: usize,
    aupro: f64,
    pixel_auroc: f64,
}

impl Figures {
    fn compute(args: &Args) -> Result<Self> {
        let mut stacks = Stacks::open(args)?;
        let defects = stacks.defects()?;
        let (regions, defective_pixels) = (defects.region_count(), defects.pixel_count());
        let tally = defects.into_tally().with_context(|| {
            format!(
                "{}: found no pixel above 0 in {} masks, expected at least one defect: without one there is no AUPRO",
                args.gt.display(),
                stacks.shape[0]
            )
        })?;
        let tally = stacks.count_good(tally)?;
        let of = |domain: Domain, words: &str| {
            let figures = DomainFigures::of(&tally, domain, args);
            figures.with_context(|| format!("found no good pixel {words}, expected at least one"))
        };
        let image = of(Domain::Image, "in the masks")?;
        let object = args.mask.as_ref().map(|_| of(Domain::Object, "on the object")).transpose()?;
        Ok(Self { shape: stacks.shape, regions, defective_pixels, image, object })
    }

    fn json(&self, args: &Args) -> serde_json::Value {
        let [maps, height, width] = self.shape;
        let object = |value: &dyn Fn(&DomainFigures) -> serde_json::Value| self.object.as_ref().map(value);
        json!({
            "schema": "zal.aupro/1",
            "rule": args.rule.name(),
            "limit": args.limit,
            "aupro": self.image.aupro,
            "aupro_fg": object(&|o| json!(o.aupro)),
            "aupro_random_map": args.limit / 2.0,
            "pixel_auroc": self.image.pixel_auroc,
            "pixel_auroc_fg": object(&|o| json!(o.pixel_auroc)),
            "maps": maps,
            "height": height,
            "width": width,
            "regions": self.regions,
            "defective_pixels": self.defective_pixels,
            "good_pixels": self.image.good_pixels,
            "good_pixels_fg": object(&|o| json!(o.good_pixels)),
        })
    }

    fn text(&self, args: &Args) -> String {
        let [maps, height, width] = self.shape;
        let (rule, limit) = (args.rule.name(), args.limit);
        let mut text = format!(
            "{maps} maps of {height} x {width}: {} defective regions, {} defective and {} good pixels\n\
             AUPRO     {:.6}  {rule} rule, limit {limit}, all good pixels\n",
            self.regions, self.defective_pixels, self.image.good_pixels, self.image.aupro
        );
        if let Some(object) = &self.object {
            text += &format!(
                "AUPRO-fg  {:.6}  {rule} rule, limit {limit}, the object's {} good pixels\n",
                object.aupro, object.good_pixels
            );
        }
        text += &format!("          {:.6}  a map of noise, for comparison\n", limit / 2.0);
        text += &format!("AUROC     {:.6}  pixels, exact, all good pixels", self.image.pixel_auroc);
        if let Some(object) = &self.object {
            text +=
                &format!("\nAUROC-fg  {:.6}  pixels, exact, the object's good pixels", object.pixel_auroc);
        }
        text
    }
}

impl DomainFigures {
    fn of(tally: &Counted, domain: Domain, args: &Args) -> Option<Self> {
        Some(Self {
            good_pixels: tally.ok_count(domain),
            aupro: args.rule.of(tally, domain, args.limit)?,
            pixel_auroc: tally.auroc(domain)?,
        })
    }
}

/// The files, of one shape.
struct Stacks {
    maps: Stack,
    gt: Stack,
    mask: Option<Stack>,
    shape: [usize; 3],
}

impl Stacks {
    fn open(args: &Args) -> Result<Self> {
        let maps = Stack::open(&args.maps)?;
        maps.expect_floats()?;
        let shape = maps.shape();
        let open_like = |path: &Path| -> Result<Stack> {
            let stack = Stack::open(path)?;
            ensure!(
                stack.shape() == shape,
                "{}: found shape {:?}, expected {shape:?} as in {}",
                path.display(),
                stack.shape(),
                args.maps.display()
            );
            Ok(stack)
        };
        ensure!(
            shape.iter().product::<usize>() < 1 << 32,
            "{}: found {shape:?}, expected fewer than 2^32 pixels in all; judge the classes one by one",
            args.maps.display()
        );
        let gt = open_like(&args.gt)?;
        let mask = args.mask.as_deref().map(open_like).transpose()?;
        Ok(Self { maps, gt, mask, shape })
    }

    /// What lies on defects. Maps without any are not read.
    fn defects(&mut self) -> Result<DefectPixels> {
        let (mut defects, mut scores, mut defective) = (DefectPixels::default(), Vec::new(), Vec::new());
        for index in 0..self.shape[0] {
            self.gt.read_marks(index, &mut defective)?;
            if defective.contains(&true) {
                self.maps.read_scores(index, &mut scores)?;
                defects.add(&scores, &defective, self.shape[2]);
            }
        }
        Ok(defects)
    }

    fn count_good(&mut self, mut tally: Tally) -> Result<Counted> {
        let (mut scores, mut defective, mut object) = (Vec::new(), Vec::new(), Vec::new());
        for index in 0..self.shape[0] {
            self.maps.read_scores(index, &mut scores)?;
            self.gt.read_marks(index, &mut defective)?;
            if let Some(mask) = &mut self.mask {
                mask.read_marks(index, &mut object)?;
            }
            tally.add(&scores, &defective, self.mask.is_some().then_some(object.as_slice()));
        }
        Ok(tally.finish())
    }
}

fn parse_limit(text: &str) -> Result<f64, String> {
    let limit = text.parse().ok().filter(|limit: &f64| *limit > 0.0 && *limit <= 1.0);
    limit.ok_or_else(|| format!("found `{text}`, expected a false positive rate above 0 and at most 1"))
}
