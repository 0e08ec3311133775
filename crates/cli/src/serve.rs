//! `tidegate serve`: the gateway and the control port until a signal ends them.

use std::io::{self, IsTerminal};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tidegate_limiter::{MemoryOptions, SystemClock};
use tidegate_server::gateway::{self, GatewayOptions};
use tidegate_server::reload::{self, Source, Sources, Tick};
use tidegate_server::{AssembleError, Engine, http as control};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::MissedTickBehavior;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt};

use crate::api;
use crate::args::{LogFormat, ServeArgs};
use crate::failure::Failure;
use crate::hello::Hello;
use crate::output::{print, print_json};

/// What is served when nothing is named: the shipped policy that is easiest to try, as it needs a key and no token.
const DEFAULT_VENDOR: &str = "whatsapp";

/// How often policy files are looked at. A change is taken up at the second look, so within two seconds with ease.
const LOOK_EVERY: Duration = Duration::from_millis(500);

pub(crate) fn run(args: &ServeArgs, json: bool) -> Result<ExitCode, Failure> {
    start_log(args)?;
    refuse_unbuilt_store(&args.store)?;
    let (sources, apis) = Sources::open(sources(args))?;
    apis.iter().for_each(api::show_warnings);
    let max_counters = usize::try_from(args.max_counters).unwrap_or(usize::MAX);
    let engine = Engine::of(apis, MemoryOptions { max_counters }, SystemClock::new()).map_err(AssembleError::Book)?;
    let engine = Arc::new(engine);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::because("cannot start", &error))?;
    runtime.block_on(serve(args, json, engine, sources))
}

/// What is named, in its order: files and folders, then vendors.
fn sources(args: &ServeArgs) -> Vec<Source> {
    let files = args.policy.iter().cloned().map(Source::Path);
    let sources: Vec<Source> = files.chain(args.vendor.iter().cloned().map(Source::Vendor)).collect();
    if sources.is_empty() { vec![Source::Vendor(DEFAULT_VENDOR.to_owned())] } else { sources }
}

async fn serve(args: &ServeArgs, json: bool, engine: Arc<Engine>, sources: Sources) -> Result<ExitCode, Failure> {
    let gateway_listener = listen(args.listen, "--listen").await?;
    let control_listener = listen(args.control, "--control").await?;
    if !args.control.ip().is_loopback() {
        tracing::warn!(address = %args.control, "the control port asks nobody who they are: whoever reaches it can charge counters");
    }
    let hello = Hello::of(args, &engine, &gateway_listener, &control_listener)?;
    let (stop, stopped) = watch::channel(false);
    spawn_signals(stop.clone(), Arc::clone(&engine))?;
    tokio::spawn(reload::follow(sources, Arc::clone(&engine), ticks()?));
    tokio::spawn(follow_wall_clock(Arc::clone(&engine)));
    let options = GatewayOptions {
        upstream: args.upstream.clone(),
        decision_header: args.decision_header,
        ..GatewayOptions::default()
    };
    let gateway = gateway::serve(gateway_listener, Arc::clone(&engine), options, wait_for(stopped.clone()));
    // The control port says that the server drains until the gateway has.
    let (gateway_ends, gateway_ended) = oneshot::channel::<()>();
    let gateway = tokio::spawn(async move {
        let ended = gateway.await;
        drop(gateway_ends);
        ended
    });
    let both = async move {
        wait_for(stopped).await;
        let _ = gateway_ended.await;
    };
    let control = tokio::spawn(control::serve(control_listener, engine, both));
    let said = if json { print_json(&hello.json()) } else { print(&hello.text()) };
    match said {
        // That nobody listens to it is no reason not to serve.
        Ok(()) | Err(Failure::NobodyReads) => {}
        Err(failure) => return Err(failure),
    }
    let (gateway, control) = tokio::join!(ended(gateway, &stop), ended(control, &stop));
    gateway.and(control).map(|()| ExitCode::SUCCESS)
}

/// Waits for one of the two servers. If it ends by an error, the other one is told to end too.
async fn ended<E: std::error::Error>(
    server: tokio::task::JoinHandle<Result<(), E>>,
    stop: &watch::Sender<bool>,
) -> Result<(), Failure> {
    let ended = match server.await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(Failure::because("cannot serve", &error)),
        Err(error) => Err(Failure::because("the server broke down", &error)),
    };
    if ended.is_err() {
        stop.send_replace(true);
    }
    ended
}

async fn wait_for(mut stopped: watch::Receiver<bool>) {
    // The sender is gone only when everything ends anyway.
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

/// The first signal drains, the second ends at once.
fn spawn_signals(stop: watch::Sender<bool>, engine: Arc<Engine>) -> Result<(), Failure> {
    let of = |kind| signal(kind).map_err(|error| Failure::because("cannot wait for signals", &error));
    let (mut terminate, mut interrupt) = (of(SignalKind::terminate())?, of(SignalKind::interrupt())?);
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if stop.send_replace(true) {
                tracing::warn!("asked a second time: ending at once");
                std::process::exit(130);
            }
            engine.drain();
            tracing::info!("finishing what was asked before");
        }
    });
    Ok(())
}

/// When to look at the policy files: twice a second, and at once on SIGHUP.
fn ticks() -> Result<mpsc::Receiver<Tick>, Failure> {
    let mut hangup =
        signal(SignalKind::hangup()).map_err(|error| Failure::because("cannot wait for signals", &error))?;
    let (send, ticks) = mpsc::channel(1);
    tokio::spawn(async move {
        let mut looks = tokio::time::interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let tick = tokio::select! {
                _ = looks.tick() => Tick::Look,
                _ = hangup.recv() => Tick::Reload,
            };
            if send.send(tick).await.is_err() {
                return;
            }
        }
    });
    Ok(ticks)
}

/// Once a second: a machine that slept has missed time that its monotonic clock did not count.
async fn follow_wall_clock(engine: Arc<Engine>) {
    let mut seconds = tokio::time::interval(Duration::from_secs(1));
    loop {
        seconds.tick().await;
        let behind = engine.limiter.clock().follow_wall();
        if behind > Duration::from_secs(1) {
            tracing::warn!(seconds = behind.as_secs(), "the machine's clock jumped ahead; followed it");
        }
    }
}

async fn listen(address: SocketAddr, flag: &str) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).await.map_err(|error| {
        let failure = Failure::because(format!("cannot listen on {address}"), &error);
        match error.kind() {
            io::ErrorKind::AddrInUse => failure.help(format!(
                "another program listens there; choose another address with {flag} ADDR, or a free port with {flag} {}:0",
                address.ip()
            )),
            io::ErrorKind::AddrNotAvailable => {
                failure.help(format!("this machine does not have that address; choose another with {flag} ADDR"))
            }
            io::ErrorKind::PermissionDenied => {
                failure.help(format!("ports below 1024 need a privilege; choose another with {flag} ADDR"))
            }
            _ => failure,
        }
    })
}

fn refuse_unbuilt_store(store: &str) -> Result<(), Failure> {
    let known_later =
        store == "disk" || ["redis://", "rediss://", "redis-cluster://"].iter().any(|start| store.starts_with(start));
    match store {
        "memory" => Ok(()),
        _ if known_later => {
            let kind = store.split(':').next().unwrap_or(store);
            let failure = Failure::new(format!("this version cannot keep counters on `{kind}`"));
            Err(failure.help("use --store memory; its counters end with the process"))
        }
        _ => Err(Failure::new(format!("`{store}` is no store")).help("use --store memory")),
    }
}

fn start_log(args: &ServeArgs) -> Result<(), Failure> {
    let filter = log_filter(&args.log).ok_or_else(|| {
        let help = "use --log error, warn, info, debug or trace, or by part --log info,tidegate_server=debug";
        Failure::new(format!("`{}` is no log filter", args.log)).help(help)
    })?;
    let lines = fmt::layer().with_writer(io::stderr).with_ansi(io::stderr().is_terminal());
    let layer = match args.log_format {
        LogFormat::Text => lines.with_filter(filter).boxed(),
        LogFormat::Json => lines.json().with_filter(filter).boxed(),
    };
    tracing_subscriber::registry().with(layer).try_init().map_err(|error| Failure::because("cannot log", &error))
}

/// A word alone is a level here, not a part of the program: a level misspelt would log everything.
fn log_filter(text: &str) -> Option<Targets> {
    let is_known = |part: &str| part.contains('=') || part.trim().parse::<LevelFilter>().is_ok();
    if text.split(',').all(is_known) { text.parse().ok() } else { None }
}
