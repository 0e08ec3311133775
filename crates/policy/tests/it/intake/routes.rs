//! Routes: method and path to operation and parameters.

use http::Method;
use proptest::prelude::*;

use super::sketch::{Api, Request, Sketch, rows};

/// The routes of `routes.txt`, as its lines that start with `route` say.
fn table_api(table: &str) -> Api {
    let mut sketch = Sketch::new().bases(&["", "/api/v2/chat"]);
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
fn table_of_requests() {
    let table = include_str!("../../data/routes.txt");
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
        assert_eq!(found, expected, "routes.txt:{line}: `{request}`");
    }
    assert!(count > 60, "the table has {count} rows");
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

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
