#!/usr/bin/env python3
"""CPU per request of the gateway and of /v1/check, beside their floors and peers, in one run, interleaved.

The measured program on core 0; the upstream (nginx, `return 200`) and wrk on core 1. What is compared is user + system
time of the program's processes, from the scheduler's own count, over the requests that wrk saw answered, by ratio to
the floor's of the same round. Each round measures every subject once.

    bench/gateway/run.py [--rounds 5] [--seconds 2] [--connections 16] [--out FILE.md] [--tidegate PATH]... [--only WORD]

Needs: cargo build --release (here too: the floors), nginx, haproxy, wrk (Debian packages). `--tidegate` may be given
several times, as NAME=PATH, to compare builds.
"""
import argparse, contextlib, datetime, os, pathlib, platform, re, shutil, signal, socket, statistics, subprocess, sys, tempfile, time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
RELAY, JSON = "byte relay", "hyper, fixed JSON"

# case: floor whose ratio is printed, goal in words
CASES = {
    "admitted": (RELAY, "≤ 1.8 × relay at first, ≤ 1.25 in the end"),
    "refused": (RELAY, "≤ 8 µs"),
    "check": (JSON, "≤ 10 µs"),
    "check refused": (JSON, "≤ 10 µs"),
    "check, batch of 100, a question": (JSON, "–"),
}


def main():
    args = arguments()
    builds = dict(build.split("=", 1) if "=" in build else ("tidegate", build) for build in args.tidegate or [str(ROOT / "target/release/tidegate")])
    with contextlib.ExitStack() as stack:
        work = pathlib.Path(tempfile.mkdtemp(prefix="tidegate-bench-"))
        stack.callback(shutil.rmtree, work, ignore_errors=True)
        subjects = start_all(stack, work, args.floors, builds)
        subjects = [subject for subject in subjects if args.only in " ".join(subject[:2])]
        rows = {subject[:2]: [] for subject in subjects}
        for name, case, process, port in subjects:
            wait_for(port)
            measure(process.pid, port, case, args.connections, 1)
        for round_number in range(args.rounds):
            for name, case, process, port in subjects:
                rows[name, case].append(measure(process.pid, port, case, args.connections, args.seconds))
            print(f"round {round_number + 1} of {args.rounds}, load {os.getloadavg()[0]:.1f}", file=sys.stderr)
    report = render(rows, args)
    print(report)
    if args.out:
        pathlib.Path(args.out).write_text(report)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--tidegate", action="append", metavar="[NAME=]PATH")
    parser.add_argument("--floors", default=str(HERE / "target/release/floors"))
    parser.add_argument("--only", default="", metavar="WORD", help="only subjects whose name and case contain it")
    parser.add_argument("--out")
    return parser.parse_args()


def start_all(stack, work, floors, builds):
    """Starts every program; (name, case, process, port) of each that is measured."""
    def run(command, core=0, **env):
        process = start(command, core, env)
        stack.callback(end, process)
        return process

    upstream = port()
    run(["nginx", "-p", work, "-c", nginx_conf(work, "upstream", UPSTREAM, port=upstream)], core=1)
    wait_for(upstream)
    to = f"127.0.0.1:{upstream}"
    subjects = []
    for name, command, cases, runtime in [
        (RELAY, [floors, "relay"], ["admitted"], "own"),
        ("hyper proxy, one thread", [floors, "proxy"], ["admitted"], "own"),
        ("hyper proxy, shared runtime", [floors, "proxy"], ["admitted"], "shared"),
        (JSON, [floors, "json"], ["check"], "own"),
        ("hyper, fixed JSON, shared runtime", [floors, "json"], ["check"], "shared"),
    ]:
        at = port()
        process = run([*command, f"127.0.0.1:{at}", *([to] if "admitted" in cases else [])], FLOORS_RUNTIME=runtime)
        subjects += [(name, case, process, at) for case in cases]
    at = port()
    process = run(["nginx", "-p", work, "-c", nginx_conf(work, "limited", LIMITED, port=at, upstream=upstream)])
    subjects += [("nginx limit_req", case, process, at) for case in ("admitted", "refused")]
    at = port()
    (work / "haproxy.cfg").write_text(HAPROXY.replace("@port@", str(at)).replace("@upstream@", str(upstream)))
    process = run(["haproxy", "-db", "-f", work / "haproxy.cfg"])
    subjects += [("HAProxy stick-table", case, process, at) for case in ("admitted", "refused")]
    for name, path in builds.items():
        for policy, cases in (("policy.toml", ["admitted", "refused"]), ("check.toml", [case for case in CASES if "check" in case])):
            gate, control = port(), port()
            process = run([path, "serve", HERE / policy, "--upstream", f"http://{to}", "--store", "memory",
                           "--listen", f"127.0.0.1:{gate}", "--control", f"127.0.0.1:{control}"])
            subjects += [(name, case, process, control if "check" in case else gate) for case in cases]
    return subjects


def start(command, core, env):
    return subprocess.Popen(["taskset", "-c", str(core), *map(str, command)], stdout=subprocess.DEVNULL,
                            stderr=subprocess.DEVNULL, env={**os.environ, **env})


def end(process):
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()


def load(case):
    """Script, its arguments, path and questions a request of a case."""
    if "check" not in case:
        return "keys.lua", [], "/closed" if case == "refused" else "/open", 1
    batch = 100 if "batch" in case else 1
    return "check.lua", ["closed" if "refused" in case else "open", str(batch)], "/v1/check", batch


def measure(pid, port, case, connections, seconds):
    """One closed-loop run of wrk; CPU microseconds per answered question, and questions a second."""
    script, script_args, path, batch = load(case)
    before = cpu_ns(pid)
    out = subprocess.run(
        ["taskset", "-c", "1", "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", str(HERE / script),
         f"http://127.0.0.1:{port}{path}", "--", *script_args],
        check=True, capture_output=True, text=True, timeout=seconds + 30).stdout
    spent = cpu_ns(pid) - before
    requests = int(re.search(r"(\d+) requests in", out)[1])
    refused = int((re.search(r"Non-2xx or 3xx responses: (\d+)", out) or [0, 0])[1])
    # Each key is admitted once a minute in the refused case, so a small part of it passes.
    as_meant = refused >= requests * 0.5 if case == "refused" else refused == 0
    if requests == 0 or not as_meant or "Socket errors" in out:
        raise SystemExit(f"port {port}{path}: {requests} requests, {refused} refused\n{out}")
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", out)[1])
    return {"us": spent / requests / batch / 1000, "rps": rate * batch}


def cpu_ns(pid):
    """User and system time of a process and its children's threads, in nanoseconds."""
    total = 0
    for process in [pid, *children(pid)]:
        for task in pathlib.Path(f"/proc/{process}/task").iterdir():
            with contextlib.suppress(FileNotFoundError):
                total += int((task / "schedstat").read_text().split()[0])
    return total


def children(pid):
    listed = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in listed]


def port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def wait_for(port):
    for _ in range(400):
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), 0.2).close()
            return
        time.sleep(0.05)
    raise SystemExit(f"nothing listens on port {port}")


def nginx_conf(work, name, body, **values):
    for key, value in values.items():
        body = body.replace(f"@{key}@", str(value))
    path = work / f"{name}.conf"
    path.write_text(
        f"daemon off; worker_processes 1; pid {work}/{name}.pid; error_log {work}/{name}.log crit;\n"
        "events { worker_connections 1024; }\n"
        f"http {{ access_log off; keepalive_requests 100000000; client_body_temp_path {work}/b; proxy_temp_path {work}/p;"
        f" fastcgi_temp_path {work}/f; uwsgi_temp_path {work}/u; scgi_temp_path {work}/s;\n{body}\n}}\n")
    return path


UPSTREAM = """
  server { listen 127.0.0.1:@port@; default_type application/json; location / { return 200 '{"ok":true,"pad":"012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"}'; } }
"""
LIMITED = """
  limit_req_zone $http_x_api_key zone=open:32m rate=1000000r/s;
  limit_req_zone $http_x_api_key zone=closed:32m rate=1r/m;
  limit_req_status 429;
  upstream api { server 127.0.0.1:@upstream@; keepalive 128; keepalive_requests 100000000; }
  server {
    listen 127.0.0.1:@port@;
    proxy_http_version 1.1; proxy_set_header Connection "";
    location /open   { limit_req zone=open burst=1000000 nodelay; proxy_pass http://api; }
    location /closed { limit_req zone=closed; proxy_pass http://api; }
  }
"""
HAPROXY = """
global
  nbthread 1
  maxconn 2000
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  timeout http-keep-alive 60s
  option http-keep-alive
  http-reuse always
frontend limited
  bind 127.0.0.1:@port@
  stick-table type string len 24 size 100k expire 2m store http_req_rate(1m)
  http-request track-sc0 hdr(x-api-key)
  http-request deny deny_status 429 if { path /closed } { sc_http_req_rate(0) gt 1 }
  http-request deny deny_status 429 if { path /open } { sc_http_req_rate(0) gt 1000000000 }
  default_backend api
backend api
  server upstream 127.0.0.1:@upstream@
"""


def render(rows, args):
    cpu = next(line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name"))
    out = [f"`bench/gateway/run.py --rounds {args.rounds} --seconds {args.seconds} --connections {args.connections}`, {datetime.date.today().isoformat()},"
           f" {os.cpu_count()} × {cpu}, {platform.system()} {platform.release()}, load {os.getloadavg()[1]:.1f}.", "",
           "| case | program | CPU µs, median | lowest–highest | × floor, median | lowest–highest | /s, median | goal |",
           "|---|---|---|---|---|---|---|---|"]
    for case, (floor, goal) in CASES.items():
        floors = rows.get((floor, "check" if floor == JSON else "admitted"), [])
        for (name, _), runs in ((key, runs) for key, runs in rows.items() if key[1] == case):
            us = [run["us"] for run in runs]
            ratios = [run["us"] / of["us"] for run, of in zip(runs, floors)] or [float("nan")]
            is_ours = not name.startswith(("hyper", "byte", "nginx", "HAProxy"))
            out.append(f"| {case} | {name} | {statistics.median(us):.1f} | {min(us):.1f}–{max(us):.1f} | {statistics.median(ratios):.2f} |"
                       f" {min(ratios):.2f}–{max(ratios):.2f} | {statistics.median(run['rps'] for run in runs):,.0f} | {goal if is_ours else ''} |")
    return "\n".join(out) + "\n"


if __name__ == "__main__":
    main()
