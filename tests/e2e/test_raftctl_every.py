"""Every command of raftctl, by tables: what it prints, its --json, its exit codes, and wrong arguments. A command that is
in the help and not in the tables fails."""

import json
import re
from concurrent.futures import ThreadPoolExecutor

from harness import check, equal, free_ports, limit, program, run, text_of

ENTRY = r"-rw-r--r-- +1 +\d+ +\d+ +\d+ \d{4}-\d\d-\d\d \d\d:\d\d:\d\d +\d+ \w+\n"
ID = r"\d+ 127\.0\.0\.1:\d+"
COUNTS = r": \d+ files, \d+ directories, \d+ links, \d+ others, .*\n"

# In this order, on a cluster of one node: arguments, what is printed (all of it, as a regular expression), and what the
# object of --json has; None: with --json no JSON is printed, since the output is data or nothing. {dir} is a folder.
WORKS = [
    ("set color blue", "", "key index"),
    ("set deep/er/key --file {dir}/value", "", "key index"),
    ("setval number 100", "", "key index"),
    ("get color", "blue", "key value size version"),
    ("get color --out {dir}/out", "", "key file size version"),
    ("getval number", "100\n", "key value"),
    ("getval absent", "None\n", "key value"),
    ("show", r"color: blue\ndeep/er/key: a value\nnumber: 100\n", []),
    ("show --keys deep", "deep/er/key\n", []),
    ("ls", r"color\ndeep/\nnumber\n", []),
    ("ls -l deep/er", ENTRY, []),
    ("watch --from 1 --count 2", r"\d+ create color v\d+\n\d+ modify color v\d+\n", "index kind key version inode"),
    ("txn {dir}/txn", r"done at index \d+: 2 changes\n", "done index changes"),
    ("lock list", "", []),
    ("quota set deep --bytes 1M", "", "key index"),
    ("quota get deep", r"/deep  bytes \d+ of 1048576  inodes \d+\n", "key bytes bytes_max inodes"),
    ("quota list", r"/deep .*\n", []),
    ("quota remove deep", "", "key index"),
    ("leader", ID + "\n", "id address term"),
    ("getleader", ID + "\n", "id address term"),
    ("status", r"id +address .*\n1 +127\.0\.0\.1:\d+ +leader .* yes\n", "cluster leader nodes"),
    ("member list", ID + " voter leader\n", "members confirmed index joint"),
    ("member add 7 127.0.0.1:1 --learner", r"node 7 at 127\.0\.0\.1:1 added as a learner.*\n", "done text"),
    ("member remove 7", r"node 7 .*removed.*\n", "done text"),
    ("transfer 1", "node 1 leads already\n", "done text"),
    ("monitor --once", r"cluster e2e: 1 of 1 nodes answer.*\nid +address .*\n1 +127\.0\.0\.1:\d+ +leader .*\nwrites .*\n", "cluster leader term nodes writes_per_second change_p99_us"),
    ("connect 127.0.0.1 {port}", r"connected to node 1 at 127\.0\.0\.1:\d+.*\n", "id address cluster role"),
    ("shell", r"blue.*", "key value size version"),
    ("cluster status", r"(.*\n)+1 +127\.0\.0\.1:\d+ +.* leader\n", "cluster data_directory nodes supervisor"),
    ("config check", r"cluster e2e\ndata_directory .*\nnode 1 127\.0\.0\.1:\d+\n", "file cluster data_directory nodes"),
    ("config import {dir}/foreign", r"# From foreign(.*\n)+id = 1\n(.*\n)+", "file nodes toml"),
    ("backup {dir}/backup", r".*: state of index \d+, digest [0-9a-f]{16}, \d+ inodes, .*\n", "file index term digest inodes bytes chunks ms"),
    ("check {dir}/backup", r"(.+\n)+", "path kind index term digest inodes"),
    ("restore {dir}/backup --id 1 --data-dir {dir}/restored", r"(.*\n)+", "data_dir cluster id index digest inodes"),
    ("check {dir}/restored", r"(.*\n)*.*log: good(.*\n)+", "path kind cluster id term applied digest log_first log_last"),
    ("export {dir}/tree", r".*/tree" + COUNTS, "path files directories links others bytes skipped"),
    ("export -", r"(.|\n)*color(.|\n)*", None),
    ("import {dir}/tree again", r".*/tree" + COUNTS, "path files directories links others bytes skipped"),
    ("delete color", "", "key index"),
    ("delete --recursive again", "", "key index"),
    ("suspend 1 0.05", "node 1 is suspended for 50 ms\n", "done text"),
]

# Those that start or want something of their own, and where they are tested as the others are here.
ELSEWHERE = {"demo": "test_raftctl_demo", "recover": "test_recover", "lock break": "test_locks", "member promote": "test_member",
             "cluster start": "test_raftctl_cluster", "cluster stop": "test_raftctl_cluster", "cluster restart": "test_raftctl_cluster",
             **{f"cert {verb}": "test_tls" for verb in ("init", "node", "client", "reader", "admin", "show")}}

# Arguments that are refused with 2, and a word of the refusal that names what is wrong.
WRONG = """
set | too few
set a | VALUE
set a b c | too many
set a//b x | 'a//b'
set a b --if-version x | 'x'
set a b --create --if-version 3 | --create
setval a | VALUE
get | too few
get a b | too many
get ../a | '../a'
getval | too few
getval a b | too many
delete | too few
delete a b | too many
delete a --if-version -1 | '-1'
show a b | too many
show a --prefix b | --prefix
ls a b | too many
watch a b | too many
watch --from x | --from x
watch --count 0 | --count 0
txn a b | too many
lock | too few
lock frob | list or break
lock break | which key
quota | too few
quota frob | frob
quota set a | --bytes
quota set a --bytes 1X | 1X
quota get a --bytes 1 | go with set
leader x | too many
getleader x | too many
status x | too many
member | too few
member frob | frob
member add 9 | too few
member add 9 nowhere | nowhere
member add x 127.0.0.1:1 | not x
member remove 1 --learner | --learner
transfer x | not x
transfer 1 2 | too many
recover | too few
recover a b | too many
suspend | too few
suspend x | not x
suspend 1 -5 | not -5
suspend 1 100000 | 3600
monitor x | too many
monitor | terminal
cluster | too few
cluster frob | frob
cluster restart | which node
cluster restart 9 | '9'
cluster start --nodes 9 | '9'
cluster stop x | 'x'
demo x | too many
backup | too few
backup a b | too many
restore | too few
restore a --id x | x
check | too few
check {dir}/none | none
export | too few
export a b c | too many
import | too few
import a ../b | '../b'
cert | too few
cert frob x | frob
cert init {dir}/none extra | cert init DIR
cert init --name a/b {dir}/none | a/b
cert init --days 0 {dir}/none | --days
cert node {dir}/none | cert node DIR ID
cert node {dir}/none x | not 'x'
cert client {dir}/none a/b | a/b
cert reader {dir}/none | cert reader DIR NAME
cert admin {dir}/none a --days x | --days
cert show a b | cert show FILE
config | too few
config frob | frob
config check {dir}/none | none
config check {dir}/value | value:1
config import | which FILE
config import {dir}/value | line 1
connect | too few
connect x | HOST PORT
connect 127.0.0.1 0 | HOST PORT
shell x | too many
"""

# What is the shell's own: lines, their exit code, and what is printed, or for an error a word of it.
SHELL = [
    ("help", 0, r"usage: raftctl (.|\n)*commands:(.|\n)*help \[COMMAND\], quit(.|\n)*"),
    ("help help", 0, r"usage: raftctl (.|\n)*commands:(.|\n)*"),
    ("help get", 0, r"usage: raftctl .* get KEY\n(.|\n)*"),
    ("help quit", 0, r"usage: quit\n(.|\n)*"),
    ("quit --help", 0, r"usage: quit\n(.|\n)*"),
    ("quit", 0, ""),
    ("exit", 0, ""),
    ("help frob", 2, "no command named frob"),
    ("help get set", 2, "too many"),
    ("help quit x", 2, "quit"),
    ("help --frob", 2, "--frob"),
    ("quit x", 2, "usage: quit"),
    ("quit --json", 2, "usage: quit"),
    ("exit 0", 2, "usage: exit"),
]

NO_CLUSTER = ("check", "cert", "config", "cluster", "restore", "demo", "recover", "connect", "shell") # need none, or find it themselves


def commands(env):
    """The commands of the help, each with the verbs that its operands offer."""
    text = run([program("raftctl"), "--help"], env.dir).stdout.decode()
    found = {}
    for line in text.split("commands:\n")[1].split("\n\n")[0].splitlines():
        m = re.match(r"  ([a-z][a-z-]*)(?: (.*?))?(?:  .*)?$", line)
        if m:
            found[m[1]] = set(re.findall(r"(?:^|\| ?)([a-z]+)\b", m[2] or "")) if m[1] in ("lock", "quota", "member", "cluster", "config", "cert") else set()
    return found


def covered(row, command, verb):
    words = row.split()
    return words[:1] == [command] and (not verb or words[1:2] == [verb])


def prepared(env):
    """A cluster of one, and files that the tables name; gives (cluster, function that fills in a row)."""
    cluster = env.cluster(n=1, more="[debug]\nallow_suspend = true\n")
    (env.dir / "value").write_text("a value")
    (env.dir / "txn").write_text("compare color exists\nset a 1\nset b 2\n")
    (env.dir / "foreign").write_text("1 127.0.0.1 7001\n")
    return cluster, lambda row: [w.format(dir=env.dir, port=cluster.ports[1]) for w in row.split()]


def test_no_command_of_the_help_is_missing_here(env):
    wrong = [line.split(" | ")[0] for line in WRONG.strip().splitlines()]
    elsewhere = list(ELSEWHERE)
    known = commands(env)
    check(len(known) >= 28, f"only these commands were found in the help: {sorted(known)}")
    for command, verbs in known.items():
        check(any(covered(row, command, "") for row in wrong), f"{command} has no wrong arguments in WRONG")
        for verb in verbs or {""}:
            check(any(covered(row, command, verb) for row in [w[0] for w in WORKS] + elsewhere), f"'{command} {verb}' is not in WORKS")
    for row in [w[0] for w in WORKS] + wrong + elsewhere:
        check(row.split()[0] in known, f"{row}: no such command in the help")


@limit(120)
def test_what_each_command_prints_and_its_json(env):
    cluster, fill = prepared(env)
    with cluster:
        script = b"get color\n"
        for row, text, keys in WORKS:
            for flag in ([], ["--json"]):
                for made in ("out", "backup", "restored", "tree"): # by the same command before
                    if flag and row.startswith(("restore ", "export ")) and f"/{made}" in row.split()[-1 if "restored" in row else 1]:
                        run(["rm", "-rf", env.dir / made], env.dir)
                if flag and row.startswith(("delete", "member remove", "quota remove")): # it is gone
                    name = row.split()[-1]
                    again = {"member": ["member", "add", name, "127.0.0.1:1", "--learner"], "quota": ["quota", "set", name, "--inodes", "9"]}
                    cluster.ctl(*again.get(row.split()[0], ["set", name, "x"]))
                done = cluster.ctl(*fill(row), *flag, data=script if row == "shell" else None, code=None)
                equal((done.returncode, done.stderr.decode()), (0, ""), f"exit code and complaints of raftctl {row} {' '.join(flag)}")
                if not flag or keys is None:
                    said = done.stdout.decode(errors="replace")
                    check(re.fullmatch(text, said), f"raftctl {row} printed {said[:500]!r}, wanted {text!r}")
                elif isinstance(keys, list):
                    check(isinstance(json.loads(done.stdout), list), f"raftctl {row} --json is no array")
                else:
                    facts = [json.loads(line) for line in done.stdout.splitlines()] if row.startswith("watch") else [json.loads(done.stdout)]
                    missing = set(keys.split()) - set(facts[0])
                    equal(missing, set(), f"what raftctl {row} --json does not tell")


@limit(120)
def test_wrong_arguments_are_refused_with_2_and_named(env):
    cluster, fill = prepared(env)
    rows = [line.split(" | ") for line in WRONG.strip().splitlines()]
    rows += [(f"{c} --frobnicate", "--frobnicate") for c in commands(env)] # an option that there is not
    rows += [(f"{c} {' '.join('x' * 17)}", "too many") for c in commands(env)]
    rows += [("help frob", "frob"), ("help get set", "too many"), ("help --frob", "--frob"), ("quit", "quit"), ("frob", "frob")]
    rows += [(f"{option} leader", option) for option in ("--timeout 0", "--timeout x", "--endpoint x", "--endpoint 127.0.0.1:0", "--frobnicate")]
    with cluster:
        def try_one(row):
            args, word = row
            done = cluster.ctl(*fill(args), code=None, alone="--endpoint" in args)
            equal(done.returncode, 2, f"exit code of raftctl {args}: {text_of(done)}")
            equal(done.stdout, b"", f"standard output of raftctl {args}")
            check(word in text_of(done), f"raftctl {args} does not name {word!r}: {text_of(done)}")
            check(text_of(done).startswith("raftctl: "), f"raftctl {args} does not say who speaks: {text_of(done)}")
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(try_one, rows))


def test_the_shells_own_words(env):
    for line, code, text in SHELL:
        done = run([program("raftctl"), "--endpoint", "127.0.0.1:1"], env.dir, data=f"{line}\nhelp set\n".encode()) # without a node
        out, err = done.stdout.decode(), done.stderr.decode()
        equal(done.returncode, code, f"exit code of '{line}': {text_of(done)}")
        if code == 0:
            went_on = out.endswith(run([program("raftctl"), "help", "set"], env.dir).stdout.decode())
            equal(went_on, line not in ("quit", "exit"), f"whether the shell went on behind '{line}'")
            check(re.fullmatch(text, out) and not err, f"'{line}' said {out!r} {err!r}")
        else:
            equal(out, "", f"standard output of '{line}'")
            check(err.startswith("raftctl: line 1: ") and text in err, f"'{line}' said {err!r}")


@limit(120)
def test_without_a_node_that_answers_each_command_says_so_with_3_in_time(env):
    port = free_ports(1)[0]
    rows = [row for row, _, _ in WORKS if row.split()[0] not in NO_CLUSTER] + ["watch", "transfer", "import {dir}/tree", "connect 127.0.0.1 {port}"]
    folder = env.dir / "here"
    (folder / "tree").mkdir(parents=True)
    for name, text in (("value", "a"), ("txn", "set a 1\n"), ("tree/a", "x")):
        (folder / name).write_text(text)

    def try_one(row):
        args = [w.format(dir=folder, port=port) for w in row.split()]
        done = run([program("raftctl"), "--endpoint", f"127.0.0.1:{port}", "--timeout", "0.5", *args], env.dir, 10)
        equal(done.returncode, 3, f"exit code of raftctl {row} with a dead endpoint: {text_of(done)}")
        check(row == "status" or done.stdout == b"", f"raftctl {row} with a dead endpoint printed {done.stdout!r}")
        check("raftctl status" in text_of(done) or "are they running" in text_of(done), f"raftctl {row} does not say what to do: {text_of(done)}")
        missing = run([program("raftctl"), "--cluster", env.dir / "none.toml", *args], env.dir)
        if row.split()[0] != "connect":
            equal(missing.returncode, 2, f"exit code of raftctl {row} without its cluster file: {text_of(missing)}")
            check("none.toml" in text_of(missing), f"raftctl {row}: {text_of(missing)}")
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(try_one, rows))
    equal(sorted(p.name for p in folder.iterdir()), ["tree", "txn", "value"], "files in the folder afterwards")


@limit(120)
def test_output_that_cannot_be_written_is_no_success(env):
    cluster, fill = prepared(env)
    with cluster:
        cluster.ctl("set", "color", "blue")
        for i in range(10): # more than a pipe and stdio hold
            cluster.ctl("txn", data=b"".join(b"set many/%d/%d %s\n" % (i, k, b"x" * 200) for k in range(100)))
        cluster.ctl("set", "zzz", "-", data=b"z" * 1_000_000)
        for row in ("show", "show --json", "ls -l many/1", "show --keys", "show zzz"): # who reads has had enough
            done = run(["sh", "-c", f'"$@" 2>{env.dir}/said | head -c 1', "sh", program("raftctl"), "--cluster", cluster.toml, *fill(row)], env.dir)
            equal((env.dir / "said").read_text(), "", f"complaints of raftctl {row} into a pipe that nobody reads")
        rows = ["get color", "getval color", "show", "ls", "leader", "status", "member list", "quota list --json", "monitor --once", "config check",
                "cluster status", "watch --from 1 --count 1", "backup -", "export -", "--help", "--version", "show --help", "set a b --json"]
        for row in rows:
            done = run(["sh", "-c", 'exec "$@" >/dev/full', "sh", program("raftctl"), "--cluster", cluster.toml, *fill(row)], env.dir)
            equal(done.returncode, 1, f"exit code of raftctl {row} into a full disk: {text_of(done)}")
            check("No space left" in text_of(done), f"raftctl {row} into a full disk: {text_of(done)}")
