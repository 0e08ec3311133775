#!/usr/bin/env python3
"""CPU per request of the gateway beside nginx with limit_req, in one run, interleaved.

Proxy on core 0; the upstream (nginx, `return 200`) and wrk on core 1. What is compared is user + system time of the
proxy's processes, from the scheduler's own count, over the requests that wrk saw answered.

    bench/gateway/run.py [--rounds 5] [--seconds 4] [--connections 16] [--out docs/results/FILE.md]

Needs: cargo build --release, nginx, wrk (Debian packages).
"""
import argparse, contextlib, datetime, os, pathlib, platform, re, shutil, signal, socket, statistics, subprocess, sys, tempfile, time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent


def main():
    args = arguments()
    work = pathlib.Path(tempfile.mkdtemp(prefix="tidegate-bench-"))
    upstream, limited, gate, control = ports(4)
    processes = [
        start(["nginx", "-p", work, "-c", nginx_conf(work, "upstream", UPSTREAM, port=upstream)], core=1),
        start(["nginx", "-p", work, "-c", nginx_conf(work, "limited", LIMITED, port=limited, upstream=upstream)], core=0),
        start([args.tidegate, "serve", HERE / "policy.toml", "--upstream", f"http://127.0.0.1:{upstream}", "--store", "memory",
               "--listen", f"127.0.0.1:{gate}", "--control", f"127.0.0.1:{control}"], core=0),
    ]
    subjects = {"nginx limit_req": (processes[1], limited), "tidegate": (processes[2], gate)}
    rows = {(name, case): [] for name in subjects for case in ("admitted", "refused")}
    try:
        for _, port in subjects.values():
            wait_for(port)
        wait_for(upstream)
        for _, port in subjects.values():
            subprocess.run(["wrk", "-t1", "-c16", "-d2s", "-s", HERE / "keys.lua", f"http://127.0.0.1:{port}/closed"], check=True, capture_output=True)
        for round_number in range(args.rounds):
            for case, path in (("admitted", "/open"), ("refused", "/closed")):
                for name, (process, port) in subjects.items():
                    rows[name, case].append(measure(process.pid, port, path, case, args))
            print(f"round {round_number + 1} of {args.rounds}", file=sys.stderr)
    finally:
        for process in processes:
            process.send_signal(signal.SIGTERM)
        for process in processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
        shutil.rmtree(work, ignore_errors=True)
    report = render(rows, args)
    print(report)
    if args.out:
        pathlib.Path(args.out).write_text(report)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--tidegate", default=str(ROOT / "target/release/tidegate"))
    parser.add_argument("--out")
    return parser.parse_args()


def start(command, core):
    return subprocess.Popen(["taskset", "-c", str(core), *map(str, command)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def measure(pid, port, path, case, args):
    """One closed-loop run of wrk; CPU microseconds per answered request, and requests a second."""
    lua = HERE / "keys.lua"
    before = cpu_ns(pid)
    out = subprocess.run(
        ["taskset", "-c", "1", "wrk", "-t1", f"-c{args.connections}", f"-d{args.seconds}s", "-s", str(lua), f"http://127.0.0.1:{port}{path}"],
        check=True, capture_output=True, text=True, timeout=args.seconds + 30).stdout
    spent = cpu_ns(pid) - before
    requests = int(re.search(r"(\d+) requests in", out)[1])
    refused = int((re.search(r"Non-2xx or 3xx responses: (\d+)", out) or [0, 0])[1])
    # Each key is admitted once a minute in the refused case, so a small part of it passes.
    as_meant = refused >= requests * 0.9 if case == "refused" else refused == 0
    if requests == 0 or not as_meant:
        raise SystemExit(f"port {port}{path}: {requests} requests, {refused} refused\n{out}")
    return {"us": spent / requests / 1000, "rps": float(re.search(r"Requests/sec:\s+([\d.]+)", out)[1])}


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


def ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    found = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return found


def wait_for(port):
    for _ in range(200):
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


def render(rows, args):
    cpu = next(line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name"))
    out = [f"# Gateway beside nginx with limit_req, {datetime.date.today().isoformat()}", "",
           f"`bench/gateway/run.py --rounds {args.rounds} --seconds {args.seconds} --connections {args.connections}` on {os.cpu_count()} × {cpu}, {platform.system()} {platform.release()}.",
           "Proxy on core 0, upstream and load on core 1; interleaved; CPU is user + system time of the proxy per answered request.", "",
           "| proxy | case | CPU µs a request (median) | lowest–highest | requests/s (median) |", "|---|---|---|---|---|"]
    for (name, case), runs in rows.items():
        us = [run["us"] for run in runs]
        out.append(f"| {name} | {case} | {statistics.median(us):.1f} | {min(us):.1f}–{max(us):.1f} | {statistics.median(run['rps'] for run in runs):,.0f} |")
    out += ["", "| ratio tidegate / nginx, round by round | median | lowest–highest |", "|---|---|---|"]
    for case in ("admitted", "refused"):
        ratios = [ours["us"] / theirs["us"] for ours, theirs in zip(rows["tidegate", case], rows["nginx limit_req", case])]
        out.append(f"| {case} | {statistics.median(ratios):.2f} | {min(ratios):.2f}–{max(ratios):.2f} |")
    return "\n".join(out) + "\n"


if __name__ == "__main__":
    main()
