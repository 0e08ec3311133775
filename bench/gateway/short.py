#!/usr/bin/env python3
"""What a request costs that no neighbour on the machine disturbs: instructions in user space, heap allocations and
writes, of the gateway and of /v1/check as they ship.

The program runs under callgrind; each case is a bounded load of keep-alive connections in lockstep: one request on each,
then all answers. What the warm-up costs is thrown away.

    bench/gateway/short.py [--tidegate PATH] [--rounds 60] [--keep DIR] [--only WORD]

Needs valgrind and cargo build --release (here too: the upstream). Exits with 1 where a request costs more than it may,
never because of time. What it may is what was counted when it was last set, and a tenth: another compiler or C library
counts a little otherwise. Whoever makes requests cheaper lowers it.
"""
import argparse, contextlib, pathlib, re, signal, socket, subprocess, sys, tempfile, time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
CONNECTIONS = 16
# Rounds until everything that grows has grown: the ring of the last 1,024 refusals above all.
WARM_UP = 70

# case: policy, questions a request, and at most so many instructions, allocations and writes each
CASES = {
    "admitted": ("policy.toml", 1, (52_300, 25, 2.1)),
    "refused": ("policy.toml", 1, (29_200, 14.4, 1.1)),
    "check": ("check.toml", 1, (41_200, 14.4, 1.1)),
    "check refused": ("check.toml", 1, (45_500, 15.5, 1.1)),
    "check, batch of 100, a question": ("check.toml", 100, (26_300, 4.8, 0.02)),
}
ALLOCATING = {"malloc", "calloc", "realloc", "posix_memalign", "aligned_alloc", "memalign"}
WRITING = {"write", "writev", "send", "sendto", "sendmsg"}


def main():
    args = arguments()
    with contextlib.ExitStack() as stack:
        kept = pathlib.Path(args.keep or stack.enter_context(tempfile.TemporaryDirectory(prefix="tidegate-short-")))
        kept.mkdir(parents=True, exist_ok=True)
        is_fine = True
        for policy in dict.fromkeys(policy for policy, _, _ in CASES.values()):
            cases = [case for case, (of, _, _) in CASES.items() if of == policy and args.only in case]
            if cases:
                is_fine &= count_all(stack, args, kept, policy, cases)
    sys.exit(0 if is_fine else 1)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tidegate", default=str(ROOT / "target/release/tidegate"))
    parser.add_argument("--floors", default=str(HERE / "target/release/floors"))
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--keep", metavar="DIR", help="keep callgrind's files there")
    parser.add_argument("--only", default="", metavar="WORD", help="only cases whose name contains it")
    return parser.parse_args()


def count_all(stack, args, kept, policy, cases):
    """Counts the cases of one policy in one process; whether none costs more than it may."""
    upstream, gate, control = port(), port(), port()
    stack.callback(end, subprocess.Popen([args.floors, "json", f"127.0.0.1:{upstream}"]))
    wait_for(upstream)
    out = kept / f"{pathlib.Path(policy).stem}.callgrind"
    # On one core, so that the runtime has one worker: what workers say to each other differs from run to run.
    process = subprocess.Popen(
        ["taskset", "-c", "0", "valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", args.tidegate, "serve", HERE / policy,
         "--upstream", f"http://127.0.0.1:{upstream}", "--store", "memory", "--listen", f"127.0.0.1:{gate}",
         "--control", f"127.0.0.1:{control}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    stack.callback(end, process)
    wait_for(gate), wait_for(control)
    is_fine = True
    for dumped, case in enumerate(cases, 1):
        _, questions, most = CASES[case]
        sockets = [connect(control if "check" in case else gate) for _ in range(CONNECTIONS)]
        ask(sockets, case, WARM_UP)
        tell(process.pid, "--zero")
        ask(sockets, case, args.rounds)
        tell(process.pid, f"--dump={case}")
        for each in sockets:
            each.close()
        asked = args.rounds * CONNECTIONS * questions
        counted = [round(count / asked, 2 if place else 0) for place, count in enumerate(read(pathlib.Path(f"{out}.{dumped}")))]
        print(f"{case}: {counted[0]:,.0f} instructions (at most {most[0]:,}), {counted[1]:.2f} allocations ({most[1]}),"
              f" {counted[2]:.2f} writes ({most[2]})", flush=True)
        is_fine &= all(number <= may for number, may in zip(counted, most))
    return is_fine


def ask(sockets, case, rounds):
    """One request on each connection, then all answers; so many rounds."""
    for number in range(rounds):
        for place, each in enumerate(sockets):
            each.sendall(request(case, number * len(sockets) + place))
        for each in sockets:
            status = answer(each)
            # A key is admitted once before it is refused.
            if status not in ((200, 429) if case == "refused" else (200,)):
                raise SystemExit(f"{case}: answered {status}")


def request(case, number):
    if "check" not in case:
        # A few keys only, which the warm-up uses up.
        key = number % 100 if case == "refused" else number % 10_000
        return f"GET /{'closed' if case == 'refused' else 'open'} HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nx-api-key: key-{key}\r\n\r\n".encode()
    def question(number):
        operation, key = ("closed", number % 100) if "refused" in case else ("open", number % 10_000)
        return f'{{"attributes":{{"operation":"{operation}","key":"key-{key}","tenant":"tenant-{number % 10}"}}}}'
    questions = CASES[case][1]
    body = question(number) if questions == 1 else "[" + ",".join(question(number * questions + at) for at in range(questions)) + "]"
    return f"POST /v1/check HTTP/1.1\r\nHost: 127.0.0.1:8081\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


def answer(each):
    """Reads one answer whole; its status."""
    read = b""
    while b"\r\n\r\n" not in read:
        read += received(each)
    head, body = read.split(b"\r\n\r\n", 1)
    left = int(re.search(rb"(?i)content-length: (\d+)", head)[1]) - len(body)
    while left > 0:
        left -= len(received(each))
    return int(head.split(b" ", 2)[1])


def received(each):
    read = each.recv(1 << 20)
    if not read:
        raise SystemExit("the connection ended")
    return read


def tell(pid, what):
    subprocess.run(["callgrind_control", what, str(pid)], check=True, capture_output=True)


def read(path):
    """Instructions, allocations and writes that callgrind counted in one dump."""
    names, called = {}, {}
    callee = total = None
    for line in path.read_text().splitlines():
        if line.startswith(("fn=", "cfn=")):
            number, _, name = line.split("=", 1)[1].partition(" ")
            name = names.setdefault(number, name)
            callee = name if line.startswith("cfn=") else callee
        elif line.startswith("calls="):
            called[callee] = called.get(callee, 0) + int(line[6:].split(" ", 1)[0])
        elif line.startswith("totals:"):
            total = int(line.split()[1])
    calls = lambda of: sum(count for name, count in called.items() if name.split("'")[0] in of)
    return total, calls(ALLOCATING), calls(WRITING)


def connect(port):
    each = socket.create_connection(("127.0.0.1", port), 60)
    each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return each


def port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def wait_for(port):
    for _ in range(1_200):
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), 0.2).close()
            return
        time.sleep(0.05)
    raise SystemExit(f"nothing listens on port {port}")


def end(process):
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()


if __name__ == "__main__":
    main()
