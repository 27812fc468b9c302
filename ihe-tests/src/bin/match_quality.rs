//! Runs the gateway's matcher over records in a file, learning from them alone, and prints the pairs that match.
//!
//! `match_quality generate > RECORDS.jsonl` writes the invented town of `quality::town`.
//!
//! `match_quality match RECORDS.jsonl [--defaults] > PAIRS.csv`: each line is a record with an `id`, a `source` and whatever is
//! known of `family given middle suffix birth gender line city zip phone email ssn`. Records of one source are compared
//! with each other only if there is one source. Each pair that was compared comes out with its evidence in bits, and
//! whether it is left when a record has one partner at most. The last line tells where the time went.

use std::io::{BufRead, BufReader, BufWriter, Write};
use std::time::Instant;

use causeway::id::Timestamp;
use causeway::mpi::{Model, pairs};
use clap::{Args, Parser};
use ihe_tests::quality::{self, Row};

/// What to do.
#[derive(Parser)]
enum Command {
    /// Write the invented town, with the truth.
    Generate {
        /// How many households of about three people.
        #[arg(long, default_value_t = 1_500)]
        households: u64,
    },
    /// Match records.
    Match(Arguments),
}

/// What to match.
#[derive(Args)]
struct Arguments {
    /// One JSON object a line.
    records: std::path::PathBuf,
    /// Do not learn.
    #[arg(long)]
    defaults: bool,
    /// Pairs below this evidence, in bits, are not printed.
    #[arg(long, default_value_t = -10.0, allow_negative_numbers = true)]
    least: f64,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    match Command::parse() {
        Command::Generate { households } => {
            let mut out = BufWriter::new(std::io::stdout().lock());
            for row in quality::town::records(households) {
                writeln!(out, "{}", serde_json::to_string(&row)?)?;
            }
            Ok(out.flush()?)
        }
        Command::Match(arguments) => match_records(&arguments),
    }
}

fn match_records(arguments: &Arguments) -> Result<(), Box<dyn std::error::Error>> {
    let started = Instant::now();
    let mut rows = Vec::new();
    for line in BufReader::new(std::fs::File::open(&arguments.records)?).lines() {
        rows.push(serde_json::from_str::<Row>(&line?)?);
    }
    let profiles: Vec<_> = rows.iter().map(Row::profile).collect();
    let read = started.elapsed();
    let sources = quality::sources(&rows);
    let several = sources.iter().any(|source| *source != sources[0]);
    let candidates = pairs::candidates(&profiles, |a, b| !several || sources[a] != sources[b]);
    let blocked = started.elapsed();
    let model = if arguments.defaults {
        Model::default()
    } else {
        match pairs::learn(&profiles, &sources, Timestamp::from_millis(0)) {
            Ok(learnt) => Model::learnt(learnt),
            Err(reason) => {
                eprintln!("the defaults are used: {reason}");
                Model::default()
            }
        }
    };
    let learnt = started.elapsed();
    let scored = pairs::score(&profiles, &candidates, &model);
    let kept: std::collections::HashSet<_> =
        pairs::one_to_one(&scored, arguments.least).into_iter().map(|one| one.pair).collect();
    let mut out = BufWriter::new(std::io::stdout().lock());
    for one in scored.iter().filter(|one| one.explanation.bits >= arguments.least) {
        let (a, b) = one.pair;
        let alone = u8::from(kept.contains(&one.pair));
        writeln!(out, "{},{},{:.3},{alone}", rows[a].id, rows[b].id, one.explanation.bits)?;
    }
    out.flush()?;
    if let Some(learnt) = model.what_was_learnt() {
        eprintln!("prior {:.2}, {:.0} matches expected, twins {:.3}", learnt.prior, learnt.matches, learnt.twins);
        for (field, odds) in causeway::mpi::Field::ALL.into_iter().zip(&learnt.odds) {
            let weights = causeway::mpi::Level::AGREEING.map(|level| {
                let (m, u) = odds.of(level);
                format!("{:>6.2} ({m:.4}/{u:.6})", odds.weight(level))
            });
            eprintln!("{:<24} {}", field.name(), weights.join(" "));
        }
    }
    eprintln!(
        "{{\"records\":{},\"pairs\":{},\"read\":{:.3},\"block\":{:.3},\"learn\":{:.3},\"score\":{:.3}}}",
        rows.len(),
        candidates.len(),
        read.as_secs_f64(),
        (blocked - read).as_secs_f64(),
        (learnt - blocked).as_secs_f64(),
        (started.elapsed() - learnt).as_secs_f64()
    );
    Ok(())
}
