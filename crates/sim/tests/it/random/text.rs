//! A description as the policy file that an operator would write, in one of the ways to write it.

use super::description::{Algorithm, Begins, CLIENT, Description, Length, Mode, PLANS, Quota};

const SECOND: u64 = 1_000_000;
const UNITS: &[(u64, &str)] = &[
    (86_400 * SECOND, "d"),
    (86_400 * SECOND, "day"),
    (3_600 * SECOND, "h"),
    (60 * SECOND, "min"),
    (SECOND, "s"),
    (SECOND, "sec"),
    (1_000, "ms"),
];

/// The policy file.
pub(super) fn write(policy: &Description) -> String {
    let mut file = String::from("name = \"random\"\n");
    if let Some(name) = &policy.default_operation {
        file += &format!("default_operation = {}\n", quoted(name));
    }
    if let Some(zone) = policy.zone {
        file += &format!("zone = {}\n", quoted(zone));
    }
    file += "\n[attributes]\n";
    for name in &policy.attributes {
        match name.as_str() {
            CLIENT => file += "client = \"client\"\n",
            name => file += &format!("{name} = \"header:X-{name}\"\n"),
        }
    }
    file += &format!("\n[client]\nipv6_prefix = {}\n", policy.client.ipv6_prefix);
    if policy.client.ipv4_prefix != 32 {
        file += &format!("ipv4_prefix = {}\n", policy.client.ipv4_prefix);
    }
    if !policy.client.trusted.is_empty() {
        file += &format!("trusted = {}\n", list(&policy.client.trusted));
        if policy.client.is_forwarded {
            file += "header = \"Forwarded\"\n";
        }
    }
    file += "\n[plans]\n";
    if let Some(plan) = &policy.default_plan {
        file += &format!("default = {}\n", quoted(plan));
    }
    if policy.lists_plans {
        file += &format!("names = {}\n", list(&PLANS));
    }
    file += "\n[operations]\n";
    for operation in &policy.operations {
        let mut members = Vec::new();
        if !operation.methods.is_empty() {
            let route = |(index, method): (usize, &&str)| format!("{method} /{}/{index}/{{x}}", operation.name);
            members.push(format!(
                "routes = {}",
                list(&operation.methods.iter().enumerate().map(route).collect::<Vec<_>>())
            ));
        }
        members.extend(operation.class.as_ref().map(|class| format!("class = {}", quoted(class))));
        file += &format!("{} = {{ {} }}\n", operation.name, members.join(", "));
    }
    for unit in &policy.units {
        file += &format!("\n[units.{}]\n", unit.name);
        if unit.is_settled {
            file += &format!("settle = \"response:/{}\"\n", unit.name);
        }
    }
    file += &limits(policy);
    file + &records(policy)
}

fn limits(policy: &Description) -> String {
    let mut file = String::new();
    for limit in &policy.limits {
        file += &format!("\n[[limit]]\nname = {}\n", quoted(&limit.name));
        if let Some(on) = &limit.on {
            file += &format!("on = {}\n", list(on));
        }
        if !limit.per.is_empty() {
            let per =
                limit.per.iter().map(|(name, is_optional)| format!("{name}{}", if *is_optional { "?" } else { "" }));
            file += &format!("per = {}\n", list(&per.collect::<Vec<_>>()));
        }
        file += &format!("quota = {}\n", quota(&limit.quota));
        match limit.algorithm {
            Algorithm::Fixed if limit.name.ends_with('0') => file += "algorithm = \"fixed-window\"\n",
            Algorithm::Fixed => {}
            Algorithm::Sliding { cells: 10 } => file += "algorithm = \"sliding-window\"\n",
            Algorithm::Sliding { cells } => file += &format!("algorithm = \"sliding-window\"\ncells = {cells}\n"),
            Algorithm::Bucket => file += "algorithm = \"token-bucket\"\n",
            Algorithm::Concurrency => file += "algorithm = \"concurrency\"\n",
        }
        match limit.begins {
            Begins::Clock => {}
            Begins::First => file += "align = \"first-request\"\n",
            Begins::In(zone) => file += &format!("zone = {}\n", quoted(zone)),
        }
        if let Some(unit) = limit.unit {
            file += &format!("unit = {}\n", quoted(&policy.units[unit].name));
        }
        if let Some((name, is_optional)) = &limit.distinct {
            file += &format!("distinct = {}\n", quoted(&format!("{name}{}", if *is_optional { "?" } else { "" })));
        }
        match limit.mode {
            Mode::Enforce => {}
            Mode::Shadow => file += "mode = \"shadow\"\n",
            Mode::Off => file += "mode = \"off\"\n",
        }
        if limit.counts_refused {
            file += "count_refused = true\n";
        } else if limit.name.ends_with('1') {
            file += "count_refused = false\n";
        }
        for (key, conditions) in [("when", &limit.when), ("unless", &limit.unless)] {
            if !conditions.is_empty() {
                let members = conditions.iter().map(|(name, values)| format!("{name} = {}", list(values)));
                file += &format!("{key} = {{ {} }}\n", members.collect::<Vec<_>>().join(", "));
            }
        }
        if let Some(date) = limit.exempt_before {
            file += &format!("exempt = {{ created_before = {date} }}\n");
        }
    }
    file
}

fn records(policy: &Description) -> String {
    let mut file = String::new();
    for record in &policy.records {
        file += &format!("\n[{}s.{}]\n", record.attribute, quoted(&record.value));
        if let Some(plan) = &record.plan {
            file += &format!("plan = {}\n", quoted(plan));
        }
        if let Some(created) = record.created {
            file += &format!("created = {}\n", quoted(created));
        }
        if !record.limits.is_empty() {
            let members = record.limits.iter().map(|(limit, own)| format!("{limit} = {}", quota(own)));
            file += &format!("limits = {{ {} }}\n", members.collect::<Vec<_>>().join(", "));
        }
    }
    file
}

fn quota(quota_of: &Quota) -> String {
    match quota_of {
        Quota::Unlimited => "\"unlimited\"".to_owned(),
        Quota::Fixed(fixed) if fixed.window == Length::Span(0) => format!("\"{}\"", number(fixed.amount)),
        Quota::Fixed(fixed) => {
            let burst = fixed.burst.map_or(String::new(), |burst| format!(" burst {}", number(burst)));
            format!("\"{}/{}{burst}\"", number(fixed.amount), window(fixed.window, fixed.amount))
        }
        Quota::Derived { numerator, denominator, of, window: length } => {
            format!("\"{numerator}/{denominator} of {of} per {}\"", window(*length, *denominator))
        }
        Quota::By { attribute, cases, default } => {
            let mut members = vec![format!("by = {}", quoted(attribute))];
            members.extend(default.as_ref().map(|default| format!("default = {}", quota(default))));
            members.extend(cases.iter().map(|(value, case)| format!("{} = {}", quoted(value), quota(case))));
            format!("{{ {} }}", members.join(", "))
        }
        Quota::ByAge { steps, default } => {
            let mut members = vec!["by = \"age\"".to_owned()];
            members.extend(default.as_ref().map(|default| format!("default = {}", quota(default))));
            let age = |age: &u64| quoted(&window(Length::Span(*age), 1));
            members.extend(steps.iter().map(|(from, step)| format!("{} = {}", age(from), quota(step))));
            format!("{{ {} }}", members.join(", "))
        }
    }
}

/// A window in one of the units that it is a whole number of; `way` says in which.
fn window(length: Length, way: u64) -> String {
    let Length::Span(length) = length else { return "month".to_owned() };
    let fitting: Vec<_> = UNITS.iter().filter(|(unit, _)| length.is_multiple_of(*unit)).collect();
    let place = usize::try_from(way % fitting.len() as u64).expect("a place in a short list");
    let (unit, name) = fitting[place];
    match length / unit {
        1 if way.is_multiple_of(2) => (*name).to_owned(),
        count => format!("{count}{name}"),
    }
}

/// A number, with `_` between thousands where there are any.
fn number(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push('_');
        }
        text.push(digit);
    }
    text
}

fn list(items: &[impl AsRef<str>]) -> String {
    let items: Vec<String> = items.iter().map(|item| quoted(item.as_ref())).collect();
    format!("[{}]", items.join(", "))
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
