//! The whole inspection over a collection: inspectors with every check of the configuration, its rules, thresholds and
//! weights; of the sender what stands beside the files, for nothing is asked of the network.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use super::table::Line;
use super::{Args, measure as rate, unreadable};
use crate::cli::engine::{self, Engine, progress};
use crate::cli::rules::offline::{self, Beside, Known};
use crate::intake::Mail;
use crate::mail::AgencyId;
use crate::policy::{self, Policy};

pub(super) fn measure(args: &Args) -> Result<String, ExitCode> {
    let policy = policy::load(&args.config).map_err(|problems| {
        problems.iter().for_each(|problem| eprintln!("{problem}"));
        ExitCode::from(1)
    })?;
    let policy = Arc::new(policy);
    let Some(agency) = policy.agencies.first().map(|agency| agency.id.clone()) else {
        return Err(unreadable("the configuration has no agency"));
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| unreadable(&format!("cannot start: {error}")))?;
    let engine = runtime
        .block_on(Engine::start(Arc::clone(&policy), false))
        .map_err(|error| unreadable(&format!("the inspectors cannot be started: {error}")))?;
    let names: Vec<String> = policy.compiled.verdict.rules.rules().iter().map(|r| r.id.clone()).collect();
    let judge =
        |files: &[PathBuf], beside: &Beside| Ok(runtime.block_on(all(&engine, &policy, &agency, files, beside)));
    rate(args, &names, judge).map_err(|error| unreadable(&error))
}

async fn all(
    engine: &Engine,
    policy: &Arc<Policy>,
    agency: &AgencyId,
    files: &[PathBuf],
    beside: &Beside,
) -> Vec<Result<Line, String>> {
    let bar = progress(files.len(), false);
    let mut lines = Vec::with_capacity(files.len());
    let judge = |file: PathBuf| {
        let (engine, policy, agency) = (engine.examiner.clone(), Arc::clone(policy), agency.clone());
        let (known, trusting): (Known, bool) = (beside.of(&file), beside.trust_results);
        async move {
            let raw = engine::read(&file).await?;
            let (auth, findings) = offline::sender(&raw, &known, trusting);
            let mail = Mail::complete(offline::envelope(&known, Some(agency)), raw);
            let evidence = engine.examine_known(mail, &policy, auth, findings).await;
            let evidence = evidence.map_err(|reply| format!("{}: {reply}", file.display()))?;
            Ok(Line::of(&evidence.judge(&policy.compiled.verdict)))
        }
    };
    engine::each(files.to_vec(), judge, |_, line| {
        bar.inc(1);
        lines.push(line);
    })
    .await;
    bar.finish_and_clear();
    lines
}
