"""What a node tells over HTTP: Prometheus' numbers, health, and the page, looked at in a real browser."""

import http.client
import json
import os
import re
import threading
import urllib.error
import urllib.request
from pathlib import Path

from browser import Browser, chromium
from harness import TREE, Cluster, Proc, check, equal, free_ports, limit, program, run, slow, text_of, wait_for

SAMPLE = re.compile(r'^([a-z_]+)(\{([a-z_]+="(?:[^"\\]|\\.)*",?)*\})? (-?[0-9.e+-]+|\+Inf)$')
GRAFANA = json.loads((TREE / "contrib" / "grafana.json").read_text())
PICTURES = os.environ.get("E2E_PICTURES") # a folder for screenshots, to be looked at


def observed_cluster(env, n=3, start=True):
    """A cluster whose nodes serve metrics; gives (cluster, id -> port)."""
    cluster = Cluster(env.dir / "cluster", n, start=False)
    ports = dict(zip(cluster.ids, free_ports(n)))
    text = cluster.toml.read_text()
    for id, port in ports.items():
        text = text.replace(f"port = {cluster.ports[id]}", f"port = {cluster.ports[id]}\nmetrics_port = {port}")
    cluster.toml.write_text(text)
    if start:
        cluster.start()
        cluster.wait_ready()
    return cluster, ports


def get(port, path, **headers):
    """(status, headers, body) of GET."""
    try:
        with urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers=headers), timeout=slow(5)) as r:
            return r.status, r.headers, r.read().decode()
    except urllib.error.HTTPError as e:
        return e.code, e.headers, e.read().decode()


def samples(text):
    """name{labels} -> value; checks the format on the way."""
    found, types = {}, {}
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            name, kind = line.split()[2:]
            check(name not in types, f"{name} has two types")
            types[name] = kind
        elif not line.startswith("# HELP "):
            check(SAMPLE.match(line), f"not a sample: {line!r}")
            name, value = line.rsplit(" ", 1)
            family = re.sub(r"_(bucket|sum|count)$", "", name.split("{")[0])
            kind = types.get(name.split("{")[0]) or types.get(family)
            check(kind, f"{name} has no type in front of it")
            check((kind == "counter") == name.split("{")[0].endswith("_total"), f"{name} of type {kind}: wrong kind of name")
            check(name not in found, f"{name} stands twice")
            found[name] = float(value)
    return found


def test_prometheus_gets_counters_gauges_and_histograms(env):
    cluster, ports = observed_cluster(env)
    with cluster:
        mount = cluster.mount()
        for i in range(50):
            (mount / "key").write_text(str(i))
            (mount / "key").read_text()
        leader = cluster.wait_leader()
        status, headers, text = get(ports[leader], "/metrics")
        equal(status, 200, "status of /metrics")
        check(headers["Content-Type"].startswith("text/plain; version=0.0.4"), f"content type {headers['Content-Type']}")
        s = samples(text)
        equal(s['raftfs_role{role="leader"}'], 1, "the leader's role")
        check(s["raftfs_changes_total"] >= 50, f"{s['raftfs_changes_total']} changes after 50 writes")
        check(s["raftfs_reads_total"] >= 50, f"{s['raftfs_reads_total']} reads after 50 reads")
        for name in ("commit", "read", "apply", "fsync"):
            count = s[f"raftfs_{name}_seconds_count"]
            check(count > 0, f"nothing in the histogram of {name}")
            buckets = [v for k, v in s.items() if k.startswith(f"raftfs_{name}_seconds_bucket")]
            equal(buckets, sorted(buckets), f"buckets of {name}, which must rise")
            equal(buckets[-1], count, f"the last bucket of {name}")
        families = {re.sub(r"_(bucket|sum|count)$", "", k.split("{")[0]) for k in s}
        shown = set(re.findall(r"\b(?:raftfs|process)_[a-z_]+", " ".join(p["expr"] for d in GRAFANA["panels"] for p in d["targets"])))
        unknown = {name for name in shown if re.sub(r"_bucket$", "", name) not in families}
        equal(unknown, set(), "names in contrib/grafana.json that no node gives")
        others = [id for id in cluster.ids if id != leader]
        for id in others:
            equal(s[f'raftfs_peer_up{{peer="{id}"}}'], 1, f"peer {id} up")
        check(s["raftfs_disk_free_bytes"] > 0 and s["raftfs_log_bytes"] > 0, "no disk")
        f = samples(get(ports[others[0]], "/metrics")[2])
        equal((f['raftfs_role{role="follower"}'], f["raftfs_leader_id"], f["raftfs_term"]), (1, leader, s["raftfs_term"]), "a follower's gauges")
        cluster.kill(others[0])
        for i in range(20):
            (mount / "key").write_text(str(i))
        def lags():
            s = samples(get(ports[leader], "/metrics")[2])
            return s[f'raftfs_peer_lag_entries{{peer="{others[0]}"}}'] >= 20 and s[f'raftfs_peer_up{{peer="{others[0]}"}}'] == 0
        wait_for(lags, 5, "the dead node to lag in the leader's numbers")


def test_health_and_readiness_differ_without_a_quorum(env):
    cluster, ports = observed_cluster(env)
    with cluster:
        for id in cluster.ids:
            equal(get(ports[id], "/ready")[0], 200, f"/ready of node {id}")
        cluster.kill(1, 2)
        wait_for(lambda: get(ports[3], "/ready")[0] == 503, 5, "node 3 not to be ready")
        check("no leader" in get(ports[3], "/ready")[2], "/ready does not say why not")
        equal(get(ports[3], "/health")[0], 200, "/health of a node without a quorum")
        equal(json.loads(get(ports[3], "/api/status")[2])["ready"], False, "ready in /api/status")
        cluster.start()
        wait_for(lambda: get(ports[3], "/ready")[0] == 200, 10, "node 3 to be ready again")


def test_http_is_strict_and_tells_nobody_elses_page(env):
    cluster, ports = observed_cluster(env, n=1)
    with cluster:
        port = ports[1]
        equal(get(port, "/nothing")[0], 404, "an unknown path")
        c = http.client.HTTPConnection("127.0.0.1", port, timeout=slow(5))
        for method, status in (("POST", 405), ("DELETE", 405), ("HEAD", 200)):
            c.request(method, "/health", body=b"x" * 100 if method == "POST" else None)
            r = c.getresponse()
            r.read()
            equal(r.status, status, f"{method} /health")
        c.close()
        equal(get(port, "/api/status", Origin="http://elsewhere.example")[1]["Access-Control-Allow-Origin"], None, "a stranger's page may read")
        mine = f"http://127.0.0.1:{port}"
        equal(get(port, "/api/status", Origin=mine)[1]["Access-Control-Allow-Origin"], mine, "the cluster's own page may read")
        status, headers, page = get(port, "/")
        check("default-src 'none'" in headers["Content-Security-Policy"], "the page has no policy")
        check(not re.search(r'(src|href)="(?!data:)', page), "the page asks for something from outside")
        with open(f"/proc/net/tcp") as f: # 127.0.0.1 alone
            listening = [l.split()[1] for l in f.readlines()[1:] if l.split()[3] == "0A" and l.split()[1].endswith(f":{port:04X}")]
        equal(listening, [f"0100007F:{port:04X}"], "where the metrics port listens")


def test_wrong_metrics_settings_name_line_and_key(env):
    cluster = Cluster(env.dir / "cluster", 2, start=False)
    good = cluster.toml.read_text()
    a, b = cluster.ports[1], cluster.ports[2]
    for after, line, words in ((a, "metrics_port = 0", ("13: node.metrics_port", "from 1 to")), (a, 'metrics_port = "x"', ("node.metrics_port", "a whole number")),
                               (a, 'metrics_host = "::1"', ("node.metrics_host", "metrics_port")), (a, f"metrics_port = {a}", ("node.metrics_port", "already")),
                               (b, f"metrics_port = {a}", ("node.metrics_port", "already", "node 1")), (a, f"metrics_port = {b}", ("node.metrics_port", "also", "node 2")),
                               (b, "metrics_prot = 9", ("node.metrics_prot", "unknown"))):
        cluster.toml.write_text(good.replace(f"port = {after}", f"port = {after}\n{line}"))
        done = run([program("raftd"), "--cluster", cluster.toml, "--id", "1"], env.dir)
        equal(done.returncode, 2, f"exit code with {line}: {text_of(done)}")
        for word in (*words, "cluster.toml:"):
            check(word in text_of(done), f"{line}: the error does not have {word!r}: {text_of(done)}")


def test_a_metrics_port_in_use_is_an_error_that_says_so(env):
    cluster, ports = observed_cluster(env, n=1)
    with cluster:
        other = env.dir / "other.toml"
        other.write_text(cluster.toml.read_text().replace(f"\nport = {cluster.ports[1]}\n", f"\nport = {free_ports(1)[0]}\n").replace("./data", "./data2"))
        done = run([program("raftd"), "--cluster", other, "--id", "1"], env.dir)
        equal(done.returncode, 1, f"exit code: {text_of(done)}")
        check("metrics" in text_of(done) and str(ports[1]) in text_of(done), f"the error: {text_of(done)}")


@limit(60)
def test_a_server_without_a_table_in_the_file_serves_metrics_where_it_is_told(env):
    with env.cluster() as cluster:
        port, other = free_ports(2)
        cluster.join(4, None, "--metrics", f"0.0.0.0:{port}")
        wait_for(lambda: "waits to be added" in cluster.log(4).read_text(), 10, "node 4 to say that it waits")
        equal(get(port, "/ready")[0], 503, "/ready of a server that waits to be added")
        cluster.ctl("member", "add", "4", cluster.address(4))
        wait_for(lambda: get(port, "/ready")[0] == 200, 10, "node 4 to be ready")
        equal(samples(get(port, "/metrics")[2])['raftfs_role{role="leader"}'], 0, "a follower's role")
        def own():
            return [m["metrics"] for m in json.loads(get(port, "/api/status")[2])["members"] if m["id"] == 4]
        equal(wait_for(own, 10, "node 4 to be a member"), [f"127.0.0.1:{port}"], "where it says that it is")
        cluster.stop(1) # what it is told counts more than the file, which says nothing
        cluster.nodes[1] = Proc("raftd 1", [program("raftd"), "--cluster", cluster.toml, "--id", 1, "--metrics", f"localhost:{other}"], cluster.log(1))
        wait_for(lambda: "metrics and a page at" in cluster.nodes[1].said(), 10, "node 1 to serve metrics")
        equal(get(other, "/health")[0], 200, "/health of node 1")
        for wrong in ("9001", "127.0.0.1", "127.0.0.1:0", "127.0.0.1:70000", ":9001", "::1:9001", ""):
            done = run([program("raftd"), "--cluster", cluster.toml, "--id", "1", "--metrics", wrong], env.dir)
            equal(done.returncode, 2, f"exit code with --metrics {wrong!r}: {text_of(done)}")
            check("--metrics wants HOST:PORT" in text_of(done), f"the error: {text_of(done)}")


@limit(120)
def test_the_page_in_a_browser_shows_the_new_leader_after_the_old_one_is_killed(env):
    if chromium() is None:
        env.note("skipped: no chromium here (make test-web installs it)")
        return
    cluster, ports = observed_cluster(env)
    with cluster:
        mount = cluster.mount()
        leader = cluster.wait_leader()
        stop = threading.Event()
        def load():
            i = 0
            while not stop.is_set():
                i += 1
                try:
                    (mount / f"key{i % 9}").write_text("x" * (i % 200))
                    (mount / f"key{i % 7 % 9}").read_bytes()
                except OSError:
                    pass
        writers = [threading.Thread(target=load) for _ in range(2)]
        for w in writers:
            w.start()
        # opened at the node that will die: the page has to live on from what the others say
        with Browser(env.dir, f"http://127.0.0.1:{ports[leader]}/") as page:
            wait_for(lambda: page.value("document.body?.dataset.leader") == str(leader), 15, "the page to show the leader")
            wait_for(lambda: page.value("document.body.dataset.up") == "3", 15, "the page to show three nodes up")
            equal(page.value("document.querySelectorAll('.row').length"), 3, "bars, one a node")
            wait_for(lambda: page.value("[...document.querySelectorAll('.plot path')].every(p => p.getAttribute('d').length > 20)"), 30,
                     "the plots to have lines")
            last = page.value("document.querySelector('.row.leader .at span').textContent")
            wait_for(lambda: page.value("document.querySelector('.row.leader .at span').textContent") != last, 10, "the leader's position to move")
            if PICTURES:
                picture(page, "before")
            cluster.kill(leader)
            new = cluster.wait_leader([id for id in cluster.ids if id != leader])
            wait_for(lambda: page.value("document.body?.dataset.leader") == str(new), 15, "the page to show the new leader")
            wait_for(lambda: page.value("document.body.dataset.up") == "2", 15, "the page to show the dead node")
            wait_for(lambda: page.value("document.getElementById('leader').textContent") == f"node {new} leads", 5, "the words")
            check(page.value("document.getElementById('list').textContent").find(f"leader of term") >= 0, "no event of the election")
            equal(page.value("document.querySelectorAll('.row.down').length"), 1, "bars of dead nodes")
            if PICTURES:
                picture(page, "after")
            errors = [e for e in page.errors if "ERR_CONNECTION_REFUSED" not in str(e)]
            equal(errors, [], "errors in the page")
        stop.set()
        for w in writers:
            w.join()


# Three nodes of two changes a second from second 100 on: node 2 has not told of the last second yet and skipped one, node 3
# died in second 105, node 1 restarted in 103. In the end: the seconds and how many changes the page adds up.
TOGETHER = """(() => {
	const kept = [...feeds], now = performance.now(), at = (from, to) => [...Array(to - from + 1).keys()].map(i => [from + i, 2, 0, 0, 9, 9, 0, 0, 0]);
	const status = (id, uptime_ms, history) => ({ id, uptime_ms, history, events: [], members: [] });
	const feed = id => ({ base: String(id), status: null, heard: 0, failed: false, history: new Map(), events: new Map(), lastSecond: 0, lastEvent: 0 });
	const [one, two, three, twin] = [feed(1), feed(2), feed(3), feed(2)];
	feeds.clear();
	for (const f of [one, two, three, twin]) feeds.set(f.base + feeds.size, f);
	take(one, status(1, 9000, at(100, 103)));
	take(one, status(1, 1000, at(104, 110)));
	take(two, status(2, 9000, at(100, 109).filter(r => r[0] !== 107)));
	take(twin, status(2, 9000, at(100, 109)));
	take(three, status(3, 9000, at(100, 104)));
	three.failed = true;
	const rows = together().map(r => r.slice(0, 2));
	feeds.clear();
	for (const [k, f] of kept) feeds.set(k, f);
	return rows;
})()"""


@limit(60)
def test_the_page_draws_whole_seconds_only_and_fits_a_telephone(env):
    if chromium() is None:
        env.note("skipped: no chromium here (make test-web installs it)")
        return
    cluster, ports = observed_cluster(env)
    with cluster:
        with Browser(env.dir, f"http://127.0.0.1:{ports[1]}/") as page:
            wait_for(lambda: page.value("document.body?.dataset.up") == "3", 15, "the page to show three nodes up")
            equal(page.value(TOGETHER), [[s, 6 if s < 105 else 4] for s in range(100, 110)], "seconds and changes")
            wait_for(lambda: page.value("document.querySelectorAll('.legend').length") == 3, 15, "the legends")
            for width in (1280, 700, 400, 320):
                page.call("Emulation.setDeviceMetricsOverride", width=width, height=1700, deviceScaleFactor=1, mobile=False)
                equal(page.value("document.documentElement.scrollWidth - document.documentElement.clientWidth"), 0, f"pixels to the right of {width}")
                outside = page.value("""[...document.querySelectorAll('.card *')].filter(e => !e.closest('.tip, .bar, #list') && e.getClientRects().length &&
                    e.getBoundingClientRect().right > e.closest('.card').getBoundingClientRect().right + 1).map(e => e.outerHTML.slice(0, 80))""")
                equal(outside, [], f"what sticks out of its card at {width} pixels")
                equal(page.value("[...document.querySelectorAll('.legend > span')].filter(e => !e.getClientRects().length).length"), 0, f"hidden legends at {width}")
                if PICTURES:
                    page.screenshot(Path(PICTURES) / f"page-{width}.png", width, 1700)


def picture(page, name):
    for scheme in ("light", "dark"):
        page.scheme(scheme)
        page.screenshot(Path(PICTURES) / f"page-{name}-{scheme}.png")
    page.screenshot(Path(PICTURES) / f"page-{name}-narrow.png", 420, 1700)
