//! Routes: method and path to operation and parameters.

use http::Method;
use proptest::prelude::*;

use tidegate_policy::{Lowered, Target};

use super::sketch::{Api, Request, Sketch, rows};
use crate::lowering::lowered;

/// The routes of `routes.txt`, as its lines that start with `route` say.
fn table_api(table: &str) -> Api {
    let mut sketch = Sketch::new().bases(&["", "/api/v2/chat"]);
    sketch.intake.ignore_case = table.lines().any(|line| line == "# ignore_case");
    let mut parameters = std::collections::BTreeSet::new();
    for line in table.lines().filter_map(|line| line.strip_prefix("# route ")) {
        let (operation, route) = line.split_once(' ').expect("an operation");
        sketch = sketch.route(operation, route.trim());
        for part in route.split('{').skip(1) {
            let name = part.split(['}', '.']).next().expect("a name");
            parameters.insert(name.to_owned());
        }
    }
    for parameter in &parameters {
        sketch = sketch.attribute(parameter, &[&format!("path:{parameter}")]);
    }
    sketch.build()
}

#[test]
fn tables_of_requests() {
    let tables = [
        ("routes.txt", include_str!("../../data/routes.txt"), 60),
        ("routes-ignore-case.txt", include_str!("../../data/routes-ignore-case.txt"), 20),
        ("routes-tails.txt", include_str!("../../data/routes-tails.txt"), 60),
    ];
    for (name, table, least) in tables {
        let count = check_table(name, table);
        assert!(count > least, "{name} has {count} rows");
    }
}

/// Checks every row of a table, and returns how many there are.
fn check_table(name: &str, table: &str) -> usize {
    let api = table_api(table);
    let mut count = 0;
    for (line, request, expected) in rows(table) {
        count += 1;
        let (method, target) = request.split_once(' ').expect("METHOD TARGET");
        let found = match api.facts(&Request::new(method, target)) {
            Ok(facts) => {
                let mut found = api.policy.operation(facts.operation()).name().to_owned();
                let mut values: Vec<String> = facts
                    .values()
                    .map(|(id, value)| format!(" {}={value}", api.policy.attribute_name(id)))
                    .filter(|value| value != &format!(" method={method}"))
                    .collect();
                values.sort();
                found.push_str(&values.concat());
                found
            }
            Err(problem) => format!("! {problem}"),
        };
        assert_eq!(found, expected, "{name}:{line}: `{request}`");
    }
    count
}

#[test]
fn what_ignores_case_is_forwarded_as_it_was_sent() {
    let mut sketch = Sketch::new().route("user", "GET /Users/{id}/posts").route("files", "* /files/{path...}");
    sketch.intake.ignore_case = true;
    let api = sketch.build();
    for target in ["/users/Max/POSTS", "/USERS/mAx/posts?Q=A", "/FILES/A/b//C"] {
        let route = api.intake.route(&Method::GET, target).unwrap();
        assert!(route.is_known(), "{target}");
        assert_eq!(route.target(), target);
    }
}

#[test]
fn ten_thousand_routes_are_all_found() {
    let mut sketch = Sketch::new();
    let template = |index: usize| match index % 4 {
        0 => format!("/area-{}/{{a}}/part-{index}", index % 100),
        1 => format!("/area-{}/list-{index}", index % 100),
        2 => format!("/{{tenant}}/{index}/{{b}}"),
        _ => format!("/deep/{}/{}/{{x}}/{{y}}/{index}/{{z...}}", index % 10, index % 7),
    };
    for index in 0..10_000 {
        sketch = sketch.route("hit", &format!("POST {}", template(index)));
    }
    let api = sketch.build();
    let fill = |template: &str| {
        let filled = template.replace("{z...}", "t//t").replace("{tenant}", "t");
        ["{a}", "{b}", "{x}", "{y}"].iter().fold(filled, |filled, name| filled.replace(name, "v"))
    };
    for index in 0..10_000 {
        let path = fill(&template(index));
        let route = api.intake.route(&Method::POST, &path).unwrap();
        assert_eq!(route.operation(), api.operation("hit"), "{path}");
        assert!(!api.intake.route(&Method::GET, &path.replace("//", "/")).unwrap().is_known());
    }
}

/// I46: the prefix that a server chooses policies by is compared as the routes under it are.
#[test]
fn a_prefix_ignores_case_where_routes_do_i46() {
    let text = |prefix: &str, ignore_case: bool| {
        format!(
            "name = 'x'\nignore_case = {ignore_case}\nserve = {{ prefix = '{prefix}', strip_prefix = true }}\n\
             [operations]\nsend = {{ routes = 'POST /messages/{{id}}' }}\n"
        )
    };
    let [folding, exact, other] = [("/Chat", true), ("/Chat", false), ("/chat", false)]
        .map(|(prefix, ignore)| lowered("x", &text(prefix, ignore)));
    let fits =
        |api: &Lowered, target| api.serving.fit(None, &Target::of(&Method::POST, target).expect("a target")).is_some();
    for target in ["/Chat/messages/Max", "/chat/Messages/Max", "/CHAT/MESSAGES/Max"] {
        assert!(fits(&folding, target), "{target}");
        assert_eq!(fits(&exact, target), target.starts_with("/Chat"), "{target}");
        let route = folding.intake.route(&Method::POST, target).unwrap();
        assert!(route.is_known(), "{target}");
        assert_eq!(route.target(), &target["/chat".len()..]);
    }
    assert!(!fits(&folding, "/chats/messages/Max"));
    assert!(folding.serving.overlap(&other.serving).is_some() && other.serving.overlap(&folding.serving).is_some());
    assert!(exact.serving.overlap(&other.serving).is_none());
}

/// A segment of a random template.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Piece {
    Literal(char),
    Parameter,
    Tail,
}

fn template() -> impl Strategy<Value = Vec<Piece>> {
    let piece = prop_oneof![prop::sample::select(vec!['a', 'b']).prop_map(Piece::Literal), Just(Piece::Parameter)];
    (prop::collection::vec(piece, 0..4), any::<bool>()).prop_map(|(mut pieces, has_tail)| {
        if has_tail {
            pieces.push(Piece::Tail);
        }
        pieces
    })
}

fn written(pieces: &[Piece]) -> String {
    let segment = |(index, piece): (usize, &Piece)| match piece {
        Piece::Literal(letter) => format!("/{letter}"),
        Piece::Parameter => format!("/{{p{index}}}"),
        Piece::Tail => format!("/{{t{index}...}}"),
    };
    if pieces.is_empty() { "/".to_owned() } else { pieces.iter().enumerate().map(segment).collect() }
}

/// Whether a template fits a path, without cleverness.
fn fits(pieces: &[Piece], path: &[char]) -> bool {
    match (pieces, path) {
        ([], []) => true,
        ([Piece::Tail], [_, ..]) => true,
        ([Piece::Parameter, pieces @ ..], [_, path @ ..]) => fits(pieces, path),
        ([Piece::Literal(letter), pieces @ ..], [segment, path @ ..]) => letter == segment && fits(pieces, path),
        _ => false,
    }
}

/// What some servers take for the slash between two segments.
fn slash() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "/", "//", "///", "%2F", "%2f", "\\", "%5C", "%5c", ";x/", ";/", "%3Bx=1/", ";x%2F", ";x\\", "/;x/", "%3b%5C",
    ])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Whatever stands for its slashes, and whatever its case where that is ignored, the path of a route is not its
    /// neighbour's tail: it is that route's or nobody's (I46).
    #[test]
    fn no_disguise_of_a_route_is_a_tail(
        slashes in prop::collection::vec(slash(), 4),
        end in prop::sample::select(vec!["", "/", ";x", "//", "%2F", ";", "%3B", "\\"]),
        template in prop::sample::select(vec!["/files/admin/delete", "/files/Ab/c/d", "/files/x/q/1"]),
        capitals in any::<bool>(),
    ) {
        let mut sketch = Sketch::new()
            .route("files", "* /files/{path...}")
            .route("deeper", "GET /files/admin/{path...}")
            .route("admin", "POST /files/admin/delete")
            .route("of-three", "POST /files/{a}/c/{b}")
            .route("fixed", "POST /files/x/q/1");
        sketch.intake.ignore_case = capitals;
        let api = sketch.build();
        let mut path = String::new();
        for (index, segment) in template.split('/').skip(1).enumerate() {
            path.push_str(if index == 0 { "/" } else { slashes[index] });
            path.push_str(&if capitals { segment.to_ascii_uppercase() } else { segment.to_owned() });
        }
        path.push_str(end);
        // Up to where the tail begins the path is as it should be: what is not is refused whatever comes of it.
        let whole = path.replacen(slashes[1], "/", 1);
        let meant = api.intake.route(&Method::POST, template).unwrap().operation();
        prop_assert_ne!(meant, api.operation("files"));
        for target in [path, whole] {
            if let Ok(route) = api.intake.route(&Method::POST, &target) {
                let name = api.policy.operation(route.operation()).name();
                prop_assert!(route.operation() == meant, "{target} is {name}");
            }
        }
    }

    /// Of all routes that fit, the one that is most specific at the first segment where they differ; an exact method
    /// beats `*`. The order in which they are written makes no difference.
    #[test]
    fn the_most_specific_route_wins(
        templates in prop::collection::hash_set((template(), any::<bool>()), 1..12),
        path in prop::collection::vec(prop::sample::select(vec!['a', 'b', 'c']), 0..6),
        is_reversed in any::<bool>(),
    ) {
        let mut routes: Vec<_> = templates.into_iter().collect();
        if is_reversed {
            routes.reverse();
        }
        let mut sketch = Sketch::new();
        for (index, (pieces, is_any)) in routes.iter().enumerate() {
            let method = if *is_any { "*" } else { "GET" };
            sketch = sketch.route(&format!("o{index}"), &format!("{method} {}", written(pieces)));
        }
        let api = sketch.build();
        let target = if path.is_empty() { "/".to_owned() } else { path.iter().map(|segment| format!("/{segment}")).collect() };
        for method in [Method::GET, Method::POST, Method::HEAD] {
            let suits = |is_any: bool| is_any || method != Method::POST;
            let best = routes
                .iter()
                .enumerate()
                .filter(|(_, (pieces, is_any))| suits(*is_any) && fits(pieces, &path))
                .min_by_key(|(_, (pieces, is_any))| {
                    let kinds: Vec<u8> = pieces.iter().map(|piece| match piece {
                        Piece::Literal(_) => 0,
                        Piece::Parameter => 1,
                        Piece::Tail => 2,
                    }).collect();
                    (kinds, *is_any)
                })
                .map_or("other".to_owned(), |(index, _)| format!("o{index}"));
            let route = api.intake.route(&method, &target).unwrap();
            prop_assert_eq!(api.policy.operation(route.operation()).name(), &best);
        }
    }
}
