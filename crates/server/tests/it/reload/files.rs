//! Policy files that change, are wrong, come and go.

use serde_json::json;
use std::sync::Arc;
use tidegate_limiter::ManualClock;
use tidegate_server::AssembleError;
use tidegate_server::reload::{Source, Tick, follow};
use tokio::sync::mpsc;

use super::house::{Folder, House, START, policy};
use crate::gateway::stand::soon;

const QUESTION: &str = r#"{"attributes":{}}"#;

/// I34, I35: what does not change keeps everything; what does is in force with the next demand, at the second look.
#[tokio::test]
async fn a_file_that_changes_is_in_force_once_it_is_settled() {
    let folder = Folder::new("changes");
    folder.write("own.toml", &policy("own", 10, ""));
    let mut house = House::of(&folder).await;
    let ask = async |house: &House| house.check(&serde_json::from_str(QUESTION).unwrap()).await;
    for left in [9, 8, 7] {
        assert_eq!(ask(&house).await["limits"][0]["remaining"], left);
    }
    house.look();
    house.reload();
    assert_eq!(house.version("own"), Some(1), "nothing has changed");
    folder.write("own.toml", &policy("own", 5, ""));
    house.sources.follow(&house.engine, Tick::Look);
    assert_eq!(house.version("own"), Some(1), "it may still be written");
    house.sources.follow(&house.engine, Tick::Look);
    assert_eq!(house.version("own"), Some(2));
    let ruling = ask(&house).await;
    assert_eq!((&ruling["version"], &ruling["limits"][0]["remaining"]), (&json!(2), &json!(1)));
    assert_eq!(house.get("a", "/", "").await.header("ratelimit"), Some("\"all\";r=0;t=3600"));
    assert_eq!(house.get("a", "/", "").await.status, 429);
    let refusals = r#"tidegate_limit_refusals_total{policy="own",limit="all",mode="enforce"}"#;
    assert_eq!(house.sample(refusals).await.as_deref(), Some("1"));
    folder.write("own.toml", &policy("own", 7, ""));
    house.reload();
    assert_eq!(house.version("own"), Some(3), "a signal waits for nothing");
    assert_eq!(house.sample(refusals).await.as_deref(), Some("1"), "counts go on");
    let reloads = r#"tidegate_policy_reloads_total{policy="own",result="installed"}"#;
    assert_eq!(house.sample(reloads).await.as_deref(), Some("2"));
    assert_eq!(house.sample(r#"tidegate_policy_version{policy="own"}"#).await.as_deref(), Some("3"));
}

/// I32, I36: a file that is wrong changes nothing, and that is told in full; so is one that is gone.
#[tokio::test]
async fn a_file_that_is_wrong_or_gone_changes_nothing_and_is_told() {
    let folder = Folder::new("wrong");
    folder.write("own.toml", &policy("own", 10, ""));
    let mut house = House::of(&folder).await;
    assert_eq!(house.sample("tidegate_policy_last_reload_ok").await.as_deref(), Some("1"));
    folder.write("own.toml", "name = \"own\"\n[[limit]]\nnmae = \"all\"\nquota = \"1/h\"\n");
    house.look();
    assert_eq!(house.version("own"), Some(1));
    let ready = house.ask("GET", "/readyz", "").await;
    assert_eq!((ready.status, &ready.json()["status"]), (200, &json!("ready")), "it goes on by the old one");
    let failure = &ready.json()["failures"][0];
    let source = folder.file("own.toml").display().to_string();
    assert_eq!((&failure["policy"], &failure["source"]), (&json!("own"), &json!(source)));
    let message = failure["message"].as_str().unwrap();
    assert!(message.contains("unknown key `nmae`") && message.contains("own.toml:3:1"), "{message}");
    let refused = r#"tidegate_policy_reloads_total{policy="own",result="refused"}"#;
    assert_eq!(house.sample(refused).await.as_deref(), Some("1"));
    assert_eq!(house.sample("tidegate_policy_last_reload_ok").await.as_deref(), Some("0"));
    house.look();
    assert_eq!(house.sample(refused).await.as_deref(), Some("1"), "told once");
    house.reload();
    assert_eq!(house.sample(refused).await.as_deref(), Some("2"), "and again to who asks for it");

    folder.remove("own.toml");
    house.look();
    house.look();
    let missing = r#"tidegate_policy_reloads_total{policy="own",result="missing"}"#;
    assert_eq!(house.sample(missing).await.as_deref(), Some("1"));
    let message = house.ask("GET", "/readyz", "").await.json()["failures"][0]["message"].to_string();
    assert!(message.contains("is gone; its policy stays in force"), "{message}");
    assert_eq!(house.get("a", "/", "").await.header("ratelimit"), Some("\"all\";r=9;t=3600"));

    folder.write("own.toml", &policy("own", 20, ""));
    house.look();
    assert_eq!(house.version("own"), Some(2));
    assert_eq!(house.ask("GET", "/readyz", "").await.text(), r#"{"status":"ready"}"#);
    assert_eq!(house.sample("tidegate_policy_last_reload_ok").await.as_deref(), Some("1"));
}

/// A dialect beside its policy is a part of it.
#[tokio::test]
async fn a_dialect_file_is_watched_too() {
    let folder = Folder::new("dialect");
    let dialect = |status: u16, name: &str| {
        format!(
            "[[headers]]\nof = \"binding\"\non = [\"admitted\", \"refused\"]\n[headers.write]\n{name} = \"{{remaining}}\"\n[refusal]\nstatus = {status}\n"
        )
    };
    folder.write("own.toml", &format!("dialect = \"./own.dialect.toml\"\n{}", policy("own", 2, "")));
    folder.write("own.dialect.toml", &dialect(429, "X-Left"));
    let mut house = House::of(&folder).await;
    assert_eq!(house.get("a", "/", "").await.header("x-left"), Some("1"));
    folder.write("own.dialect.toml", &dialect(503, "X-Rest"));
    house.look();
    assert_eq!(house.version("own"), Some(2));
    assert_eq!(house.get("a", "/", "").await.header("x-rest"), Some("0"));
    assert_eq!(house.get("a", "/", "").await.status, 503);
    folder.write("own.dialect.toml", "[refusal]\nstatus = 200\n");
    house.look();
    assert_eq!(house.version("own"), Some(2));
    assert!(house.ask("GET", "/readyz", "").await.text().contains("status"), "told");
    folder.remove("own.dialect.toml");
    house.look();
    let told = house.ask("GET", "/readyz", "").await;
    assert!(told.text().contains("the dialect that the policy names"), "{}", told.text());
    assert_eq!(house.get("a", "/", "").await.status, 503);
}

/// The keys of an issuer change: from then on the new ones verify and the old ones do not, counters go on, and a file that
/// is wrong or gone changes nothing (I34, I35, I36).
#[tokio::test]
async fn a_file_of_keys_is_watched_too() {
    let keys = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../policy/tests/data/keys");
    let text = |name: &str| std::fs::read_to_string(keys.join(name)).unwrap();
    let tokens = text("tokens.txt");
    let bearer = |name: &str| {
        let token = tokens.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).unwrap();
        format!("Authorization: Bearer {token}\r\n")
    };
    // Both tokens are of the same user.
    let (by_rsa, by_p256) = (bearer("RS256"), bearer("ES256"));
    let folder = Folder::new("keys");
    folder.write(
        "own.toml",
        "name = \"own\"\n[attributes]\nuser = \"jwt:sub\"\n[jwt]\nfrom = \"bearer\"\nkey = \"./own.pem\"\n\
         [[limit]]\nname = \"all\"\nper = [\"user\"]\nquota = \"9/h\"\n",
    );
    folder.write("own.pem", &text("p256.pub.pem"));
    let mut house = House::of(&folder).await;
    assert_eq!(house.get("a", "/", &by_rsa).await.header("ratelimit"), None, "signed by another key");
    assert_eq!(house.get("a", "/", &by_p256).await.header("ratelimit"), Some("\"all\";r=8;t=3600"));
    folder.write("own.pem", &text("public.pem"));
    house.look();
    assert_eq!(house.version("own"), Some(2));
    assert_eq!(house.get("a", "/", &by_rsa).await.header("ratelimit"), Some("\"all\";r=7;t=3600"), "it goes on");
    assert_eq!(house.get("a", "/", &by_p256).await.header("ratelimit"), None, "by a key that was taken back");
    let off_curve = text("p256.pub.pem").replace("zjxw==", "zjxQ==");
    assert_ne!(off_curve, text("p256.pub.pem"));
    for (wrong, why) in [
        (Some(text("rsa.pem")), "a private key, which belongs to the issuer alone"),
        (Some(off_curve), "its point is not on the curve P-256"),
        (Some(text("public.pem")[..200].to_owned()), "`-----END PUBLIC KEY-----` is missing"),
        (Some("k".repeat(600 << 10)), "more than 524288 bytes"),
        (None, "own.pem: No such file"),
    ] {
        match wrong {
            Some(text) => folder.write("own.pem", &text),
            None => folder.remove("own.pem"),
        }
        house.look();
        let told = house.ask("GET", "/readyz", "").await;
        assert!(told.text().contains(why), "{why}: {}", told.text());
        assert_eq!(house.version("own"), Some(2), "{why}");
    }
    assert_eq!(house.get("a", "/", &by_rsa).await.header("ratelimit"), Some("\"all\";r=6;t=3600"));
    folder.write("own.pem", &(text("public.pem") + &text("p256.pub.pem")));
    house.look();
    assert_eq!(house.version("own"), Some(3), "it is good again");
    assert_eq!(house.get("a", "/", &by_p256).await.header("ratelimit"), Some("\"all\";r=5;t=3600"));
    assert_eq!(house.ask("GET", "/readyz", "").await.text(), r#"{"status":"ready"}"#);
}

/// A ConfigMap is a link to a folder that is exchanged whole.
#[tokio::test]
async fn a_folder_behind_a_link_is_followed() {
    let folder = Folder::new("configmap");
    for (version, amount) in [("v1", 10), ("v2", 20)] {
        std::fs::create_dir(folder.file(version)).unwrap();
        std::fs::write(folder.file(version).join("own.toml"), policy("own", amount, "")).unwrap();
    }
    let link = |to: &str| {
        std::os::unix::fs::symlink(to, folder.file("next")).unwrap();
        std::fs::rename(folder.file("next"), folder.file("..data")).unwrap();
    };
    link("v1");
    std::os::unix::fs::symlink("..data/own.toml", folder.file("own.toml")).unwrap();
    let mut house = House::of(&folder).await;
    link("v2");
    house.look();
    assert_eq!(house.version("own"), Some(2));
    assert_eq!(house.get("a", "/", "").await.header("ratelimit-policy"), Some("\"all\";q=20;w=3600"));
}

/// Files of a folder come, change places and go; names stay where they are.
#[tokio::test]
async fn policies_come_and_change_places() {
    let folder = Folder::new("places");
    folder.write("a.toml", &policy("a", 10, "/a"));
    folder.write("b.toml", &policy("b", 10, "/b"));
    let mut house = House::of(&folder).await;
    folder.write("c.toml", &policy("c", 10, "/c"));
    house.look();
    assert_eq!(house.version("c"), Some(1));
    assert_eq!(house.get("h", "/c/x", "").await.status, 200);

    // Neither fits while the other is where it was.
    folder.write("a.toml", &policy("a", 10, "/b"));
    house.look();
    assert_eq!(house.version("a"), Some(1));
    let told = house.ask("GET", "/readyz", "").await;
    assert!(told.text().contains("policies `a` and `b` are both for `/b`"), "{}", told.text());
    folder.write("b.toml", &policy("b", 10, "/a"));
    house.look();
    assert_eq!((house.version("a"), house.version("b")), (Some(2), Some(2)));
    assert_eq!(house.ask("GET", "/readyz", "").await.text(), r#"{"status":"ready"}"#);

    // A policy that gets another name takes the place of the one that it was, and is a later version than that.
    folder.write("c.toml", &policy("d", 10, "/c"));
    house.look();
    assert_eq!((house.version("c"), house.version("d")), (None, Some(2)));

    // Two files of one name: the one in force stays; when it is gone, the other one comes.
    folder.write("e.toml", &policy("d", 7, "/c"));
    house.look();
    assert_eq!(house.version("d"), Some(2));
    let told = house.ask("GET", "/readyz", "").await;
    assert!(told.text().contains("two policies are called `d`"), "{}", told.text());
    folder.remove("c.toml");
    house.look();
    house.reload();
    assert_eq!(house.version("d"), Some(3));
    assert_eq!(house.ask("GET", "/readyz", "").await.text(), r#"{"status":"ready"}"#);
}

#[tokio::test]
async fn what_cannot_be_served_is_not_begun_with() {
    let folder = Folder::new("begun");
    let open = async |sources: Vec<Source>| {
        let clock = Arc::new(ManualClock::at(START));
        House::open(sources, clock, None).await.err().map(|error| error.to_string()).unwrap_or_default()
    };
    let folder_source = || Source::Path(folder.path().to_owned());
    assert!(open(vec![folder_source()]).await.contains("no policy file is in"));
    assert!(open(vec![Source::Path(folder.file("none.toml"))]).await.contains("cannot read"));
    assert!(open(vec![Source::Vendor("strem".to_owned())]).await.contains("did you mean `stream`?"));
    folder.write("a.toml", &policy("a", 10, ""));
    let error = open(vec![folder_source(), Source::Vendor("stream".to_owned())]).await;
    assert!(error.contains("policies `a` and `stream` are both for every request"), "{error}");
    folder.write("b.toml", &policy("a", 10, "/b"));
    let error = open(vec![folder_source()]).await;
    assert!(error.contains("two policies are called `a`") && error.contains("b.toml"), "{error}");
    folder.write("b.toml", "name = 7\n");
    let error = open(vec![folder_source()]).await;
    assert!(error.contains("wrong type for `name`"), "{error}");
    let _: AssembleError = tidegate_server::BookError::TooMany.into();
}

/// The ticks may come from anywhere: a timer, a signal.
#[tokio::test]
async fn sources_are_followed_by_ticks() {
    let folder = Folder::new("ticks");
    folder.write("own.toml", &policy("own", 10, ""));
    let House { gate, engine, sources, .. } = House::of(&folder).await;
    let (ticks, received) = mpsc::channel(1);
    let following = tokio::spawn(follow(sources, Arc::clone(&engine), received));
    folder.write("own.toml", &policy("own", 11, ""));
    ticks.send(Tick::Look).await.unwrap();
    ticks.send(Tick::Look).await.unwrap();
    gate.until(|gate| gate.api().policy.version() == 2).await;
    folder.write("own.toml", &policy("own", 12, ""));
    ticks.send(Tick::Reload).await.unwrap();
    drop(ticks);
    soon(following).await.unwrap();
    assert_eq!(engine.book().named("own").map(|api| api.policy.version()), Some(3));
}
