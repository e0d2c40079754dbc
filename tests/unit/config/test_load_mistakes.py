"""Every mistake that a config can have, each alone: its line, its key, and a sentence that helps."""

from pathlib import Path

import pytest

from support.config_texts import MINIMAL, FakeCatalog, problems

STORE_URL = "should be sqlite:/// and a path, or postgresql://user@host/dbname"
RULE = "[[rules]]\nname = 'a'\nevents = ['*']\nnotify = ['slack.team']\n"

# Additions to the minimal config (4 lines, so they start on line 5), and the problem reported for each.
MISTAKES = [
    # unknown keys and tables
    ("[conection]", "5: conection: unknown table; did you mean connection?"),
    ("[zebra]", "5: zebra: unknown table"),
    ("[log]\nlevle = 'info'", "6: log.levle: unknown key; did you mean level?"),
    ("[log]\nzebra = 1", "6: log.zebra: unknown key"),
    ("[log]\n'od d' = 1", '6: log."od d": unknown key'),
    ("[log]\nplugins_dir = 'x'", "6: log.plugins_dir: unknown key; it belongs to the top of the file"),
    (
        "[plugins.slack.team]\nwebhok_url = 'x'",
        "6: plugins.slack.team.webhok_url: unknown key; did you mean webhook_url?",
    ),
    # values of the wrong type
    ("[log]\nlevel = 3", "6: log.level: should be debug, info, warning or error"),
    ("[log]\nlevel = 'wraning'", "6: log.level: should be debug, info, warning or error; did you mean warning?"),
    ("log = 3", "5: projects[0].log: unknown key; it belongs to the top of the file"),
    ("[connection]\nca_file = 3", '6: connection.ca_file: not a path; write it as "folder/file"'),
    (
        "[connection]\nca_file = 'not-there.pem'",
        "6: connection.ca_file: cannot read the file: No such file or directory",
    ),
    ("[connection]\nca_file = ''", '6: connection.ca_file: not a path; write it as "folder/file"'),
    (
        "[connection]\nproxy = 3",
        '6: connection.proxy: not a secret; write it as "text", { env = "NAME" } or { file = "PATH" }',
    ),
    (
        "[connection]\nproxy = 'socks5://x'",
        "6: connection.proxy: should be a proxy's address that begins with http:// or https://",
    ),
    (
        "[connection]\nreconnect_attempts = -1",
        '6: connection.reconnect_attempts: should be "unlimited" or a whole number of at least 0',
    ),
    (
        "[connection]\nreconnect_attempts = true",
        '6: connection.reconnect_attempts: should be "unlimited" or a whole number of at least 0',
    ),
    (
        "[connection]\nheartbeat_interval = 30",
        '6: connection.heartbeat_interval: not a duration; write it as "500ms", "10s", "15m", "2h" or "1d"',
    ),
    ("[connection]\nheartbeat_interval = '0s'", "6: connection.heartbeat_interval: should be longer than 0s"),
    (
        "[agent]\nheartbeat_interval = '999ms'",
        "6: agent.heartbeat_interval: should be at least 1s: each request goes to somebody else's service",
    ),
    (
        "[agent]\nheartbeat_url = 'hc.example/ping'",
        "6: agent.heartbeat_url: should be an address that begins with http:// or https://",
    ),
    *(
        (
            f"[control]\nlisten = '{listen}'",
            "6: control.listen: should be a loopback address, as 127.0.0.1: anybody who reaches it may try tokens",
        )
        for listen in ("0.0.0.0:0", "10.0.0.1:80", "[::]:0", "example.org:80", "127.0.0.1.evil.example:1")
    ),
    *(
        (
            f"[control]\nlisten = '{listen}'",
            '6: control.listen: should be an address and a port, as "127.0.0.1:0" or "[::1]:9901", or "off"',
        )
        for listen in ("", "127.0.0.1", "127.0.0.1:", ":80", "127.0.0.1:65536", "::1:80", "127.0.0.1:x", "on")
    ),
    ("[control]\nlisten = 9901", "6: control.listen: should be a text, not a number"),
    ("[delivery]\nmax_age = '36501d'", "6: delivery.max_age: this is longer than a hundred years"),
    (
        "[connection]\nreconnect_initial_delay = '1m'",
        "6: connection.reconnect_initial_delay: reconnect_initial_delay is longer than reconnect_max_delay",
    ),
    (
        "[connection]\nreconnect_max_delay = '500ms'",
        "6: connection.reconnect_max_delay: reconnect_initial_delay is longer than reconnect_max_delay",
    ),
    (
        "[plugins.slack.team]\nevents = ['*']\nmention = ['here', '{{ evnt.error }}']",
        "7: plugins.slack.team.mention: there is no evnt; did you mean event?",
    ),
    (
        "[plugins.slack.team]\n[[rules]]\nname = 'r'\nevents = ['*']\nnotify = ['slack.team']\nmention = ['{{ x']",
        "10: rules[0].mention[0]: no Jinja2 template: unexpected end, expected 'end of print statement'",
    ),
    ("[store]\nkeep = '23h'", "6: store.keep: should be at least 1d"),
    ("[store]\nurl = 'state.db'", f"6: store.url: {STORE_URL}"),
    ("[store]\nurl = 'sqlite:///'", f"6: store.url: {STORE_URL}"),
    ("[store]\nurl = 'mysql://host/db'", f"6: store.url: {STORE_URL}"),
    (
        "[store]\nurl = 'postgresql://u:geheim@host'",
        "6: store.url: should look like postgresql://user@host/dbname",
    ),
    (
        "[store]\nurl = 'postgresql://host:x/db'",
        "6: store.url: should look like postgresql://user@host/dbname",
    ),
    ("[store]\nurl = 3", "6: store.url: should be a text, not a number"),
    ("[store]\nurl = { env = 'NONE' }", "6: store.url: the environment variable NONE is not set"),
    # plugins
    ("[plugins.slak.team]", "5: plugins.slak.team: no plugin called slak; did you mean slack?"),
    (
        "[plugins.zebra.team]",
        "5: plugins.zebra.team: no plugin called zebra; there are broken, file_log, prometheus, slack",
    ),
    ("[plugins.broken.team]", "5: plugins.broken.team: plugins/broken.py:3: no module named foo"),
    (
        "[plugins.slack]\nwebhook_url = 'x'",
        "5: plugins.slack: the instance has no name; write [plugins.slack.team], where team is a name you choose",
    ),
    (
        RULE.replace("slack.team", "team") + "[plugins.slack.team]",
        "8: rules[0].notify[0]: no destination called team; did you mean slack.team?",
    ),
    ("[plugins.slack.team]\nfile = 'x'", "6: plugins.slack.team.file: unknown key"),
    (
        "[plugins.slack]\nwebhook_url = { env = 'X' }",
        "5: plugins.slack: the instance has no name; write [plugins.slack.team], where team is a name you choose",
    ),
    (
        "[plugins.slack]",
        "5: plugins.slack: the instance has no name; write [plugins.slack.team], where team is a name you choose",
    ),
    ("[plugins]\nslack = 'x'", "6: plugins.slack: should be a table, not a text; write [plugins.slack.NAME]"),
    ("[[plugins]]", "5: plugins: should be a table, not a list"),
    (
        "[plugins.slack.'the team']",
        '5: plugins.slack."the team": an instance\'s name has only letters, digits, - and _; choose another',
    ),
    ("[plugins.file_log.a]", "5: plugins.file_log.a.path: is missing"),
    ("[plugins.slack.a]\nlines = 'many'", "6: plugins.slack.a.lines: should be a whole number, not a text"),
    ("[plugins.slack.a]\nlines = 1.5", "6: plugins.slack.a.lines: should be a whole number, not a fraction"),
    ("[plugins.slack.a]\nlines = 0", "6: plugins.slack.a.lines: should be at least 1"),
    ("[plugins.slack.a]\nlines = 51", "6: plugins.slack.a.lines: should be at most 50"),
    ("[plugins.slack.a]\ncolours = 'red'", "6: plugins.slack.a.colours: should be a table, not a text"),
    ("[plugins.slack.a]\ncolours.error = 1", "6: plugins.slack.a.colours.error: should be a text, not a number"),
    (
        "[plugins.slack.a]\ntargets = 1979-05-27",
        "6: plugins.slack.a.targets: should be a text or a list, not a date or time",
    ),
    ("[plugins.slack.a]\nchannel = 'general'", "6: plugins.slack.a.channel: '…' does not begin with #"),
    ("[plugins.slack.a]\nenabled = 'no'", "6: plugins.slack.a.enabled: should be true or false, not a text"),
    ("[plugins.slack.a]\nrate = '1'", '6: plugins.slack.a.rate: not a rate; write it as "1/s", "30/m" or "100/h"'),
    ("[plugins.slack.a]\ntimeout = '0s'", "6: plugins.slack.a.timeout: should be longer than 0s"),
    (
        "[plugins.slack.a]\nevents = 'output'",
        "6: plugins.slack.a.events: should be a list, not a text; write it in [ ]",
    ),
    ("[plugins.slack.a]\nevents = []", "6: plugins.slack.a.events: should not be empty"),
    ("[plugins.slack.a]\nevents = [1]", "6: plugins.slack.a.events[0]: should be a text, not a number"),
    (
        "[plugins.slack.a]\nevents = ['output',\n 'task_faild']",
        "7: plugins.slack.a.events[1]: no event type called task_faild; did you mean task_failed?",
    ),
    (
        "[plugins.slack.a]\nevents = ['*']\nwhen = 'run.durtion'",
        "7: plugins.slack.a.when: run has no durtion; did you mean duration?",
    ),
    (
        "[plugins.prometheus.a]\nrate = '1/s'",
        "6: plugins.prometheus.a.rate: has no effect here; the plugin prometheus has no deliver",
    ),
    # secrets
    (
        "[plugins.slack.a]\nbot_token = { env = 'NONE' }",
        "6: plugins.slack.a.bot_token: the environment variable NONE is not set",
    ),
    (
        "[plugins.slack.a]\nbot_token = { env = 'EMPTY' }",
        "6: plugins.slack.a.bot_token: the environment variable EMPTY is empty",
    ),
    (
        "[plugins.slack.a]\nbot_token = { env = 'my-token' }",
        "6: plugins.slack.a.bot_token: the environment variable is not set",
    ),
    ("[plugins.slack.a]\nbot_token = ''", "6: plugins.slack.a.bot_token: the secret is empty"),
    (
        "[plugins.slack.a]\nbot_token = { file = '/none/token' }",
        "6: plugins.slack.a.bot_token: cannot read the secret's file /none/token: No such file or directory",
    ),
    (
        "[plugins.slack.a]\nbot_token = { evn = 'X' }",
        '6: plugins.slack.a.bot_token: not a secret; write it as "text", { env = "NAME" } or { file = "PATH" }',
    ),
    # projects
    ("[[projects]]\nid = 'p1'", "6: projects[1].id: the project p1 is listed already"),
    ("[[projects]]\nname = 'Sales'", "5: projects[1].id: is missing"),
    ("[[projects]]\nid = ''", "6: projects[1].id: should not be empty"),
    (f"[[projects]]\nid = '{'p' * 513}'", "6: projects[1].id: should have at most 512 characters"),
    ("[[projects]]\nid = 12", "6: projects[1].id: should be a text, not a number"),
    # rules; lines 5 and 6 have the destination slack.team
    ("@[[rules]]\nname = 'a'\nevents = ['*']", "7: rules[0].notify: is missing"),
    (
        "@[[rules]]\nname = 'a'\nevents = ['*']\nnotify = []",
        '10: rules[0].notify: should not be empty; a rule that tells nobody has notify = "nobody"',
    ),
    (
        "@[[rules]]\nname = 'a'\nevents = ['*']\nnotify = 'slack.team'",
        '10: rules[0].notify: should be a list of destinations, as ["slack.team"], or "nobody"',
    ),
    (
        "@[[rules]]\nname = 'a'\nevents = ['*']\nnotify = ['nobody']",
        '10: rules[0].notify[0]: write notify = "nobody", without a list',
    ),
    (
        "@[[rules]]\nname = 'a'\nevents = ['*']\nnotify = 'nobody'\ntitle = 'x'\nsettle = '1m'",
        (
            '11: rules[0].title: has no effect: notify = "nobody" tells nobody\n'
            '12: rules[0].settle: has no effect: notify = "nobody" tells nobody'
        ),
    ),
    # stages
    *(
        (f"@[[rules]]\nname = 'a'\nevents = ['*']\nnotify = ['slack.team']\n{line}", f"11: rules[0].{sentence}")
        for line, sentence in (
            ("settle = '32d'", "settle: should be at most 31d: nobody would hear of an event for longer"),
            ("settle = 5", 'settle: not a duration; write it as "500ms", "10s", "15m", "2h" or "1d"'),
            ("once_per = '{{'", "once_per: no Jinja2 template: unexpected end"),
            ("cooldown = '0s'", "cooldown: should be longer than 0s"),
            ("group = 'task'", "group: should be a table, not a text"),
            ("group = { by = [] }", "group.by: should not be empty"),
            ("group = { by = ['task'], wiat = '1s' }", "group.wiat: unknown key; did you mean wait?"),
            (
                "group = { by = ['tusk'] }",
                (
                    "group.by[0]: should be project, task, workflow, sandbox, rule, type, severity, error, or a "
                    "template with {{ }}; did you mean task?"
                ),
            ),
            ("throttle = { limit = 0, per = '1m' }", "throttle.limit: should be at least 1"),
            ("throttle = { limit = 1 }", "throttle.per: is missing"),
            (
                "quiet = 'night'",
                "quiet: there are no quiet hours called night; add a table [quiet.night] with from, to and tz",
            ),
        )
    ),
    *(
        (f"[quiet.night]\nfrom = '22:00'\nto = '07:00'\ntz = 'UTC'\n{line}", f"{number}: quiet.night{sentence}")
        for line, number, sentence in (
            ("days = 'mon'\nthen = 'digets'", 10, ".then: should be digest, each or drop; did you mean digest?"),
            ("days = ['monday']", 9, '.days: should be days, as "mon", "mon-fri" or "sat-sun"'),
            ("days = []", 9, '.days: should be a list of days, as ["mon-fri"]'),
            ("except = ['fatal']", 9, ".except[0]: should be info, success, warning, error or critical"),
            ("start = '22:00'", 9, ".start: unknown key"),
        )
    ),
    (
        "[quiet.night]\nfrom = '22:60'\nto = 7\ntz = 'Berlin'",
        (
            '6: quiet.night.from: should be a time of the day, as "22:00"\n'
            '7: quiet.night.to: should be a time of the day, as "22:00"\n'
            '8: quiet.night.tz: should be the name of a time zone, as "Europe/Berlin" or "UTC"'
        ),
    ),
    (
        "[quiet.all]\nfrom = '22:00'\nto = '22:00'\ntz = 'UTC'",
        "5: quiet.all: never ends: from and to are the same, on every day; name some days",
    ),
    ("[quiet]\nfrom = '22:00'", "5: quiet: has no name; write [quiet.NAME], where NAME is a name you choose"),
    ("[[quiet]]\nfrom = '22:00'", "5: quiet: should be a table, not a list; write [quiet.NAME]"),
    ("@[[rules]]\nname = 'a'\nnotify = ['slack.team']", "7: rules[0].events: is missing"),
    ("@[[rules]]\nevents = ['*']\nnotify = ['slack.team']", "7: rules[0].name: is missing"),
    (
        "@[[rules]]\nnmae = 'a'\nevents = ['*']\nnotify = ['slack.team']",
        "8: rules[0].nmae: unknown key; did you mean name?",
    ),
    ("@[rules]\nname = 'a'", "7: rules: should be a list of tables, not a table; write [[rules]]"),
    ("@rules = 1", "7: plugins.slack.team.rules: unknown key; it belongs to the top of the file"),
    (
        "@[[rules]]\nname = 'a'\nevents = ['*']\nnotify = [\n 'slack.team',\n 'slack.taem',\n]",
        "12: rules[0].notify[1]: no destination called slack.taem; did you mean slack.team?",
    ),
    (
        "@[[rules]]\nname = 'a'\nevents = ['*']\nnotify = ['slack']",
        "10: rules[0].notify[0]: no destination called slack; did you mean slack.team?",
    ),
    (
        "@[[rules]]\nname = 'a'\nevents = ['*']\nnotify = ['webhook.zebra']",
        "10: rules[0].notify[0]: no destination called webhook.zebra; add a table [plugins.webhook.zebra]",
    ),
    (
        "@[[rules]]\nname = 'a'\nevents = ['*']\nnotify = ['slack.team', 'slack.team']",
        "10: rules[0].notify[1]: slack.team is listed twice",
    ),
    (
        f"@{RULE}{RULE}",
        "12: rules[1].name: there is a rule a already",
    ),
    (
        "@events = ['*']\n[[rules]]\nname = 'slack.team'\nevents = ['*']\nnotify = ['slack.team']",
        "9: rules[0].name: slack.team is already the name of the rule made from that instance's events",
    ),
    (
        "@enabled = false\n[[rules]]\nname = 'a'\nevents = ['*']\nnotify = ['slack.team']",
        "11: rules[0].notify[0]: slack.team is disabled; remove it here, or its enabled = false",
    ),
    (
        "@[plugins.prometheus.x]\n[[rules]]\nname = 'a'\nevents = ['*']\nnotify = ['prometheus.x']",
        "11: rules[0].notify[0]: prometheus.x is no destination; the plugin prometheus has no deliver",
    ),
    (
        "@when = 'true'\n[[rules]]\nname = 'a'\nevents = ['*']\nnotify = ['slack.team']",
        "7: plugins.slack.team.when: has no effect unless events is set; add events, or write it into a rule",
    ),
    (
        "@fallback = 'slack.taem'",
        "7: plugins.slack.team.fallback: no destination called slack.taem; did you mean slack.team?",
    ),
    (
        "@fallback = 'slack.team'",
        "7: plugins.slack.team.fallback: slack.team cannot take over from itself; name another destination",
    ),
    (
        "@fallback = 'prometheus.x'\n[plugins.prometheus.x]",
        "7: plugins.slack.team.fallback: prometheus.x is no destination; the plugin prometheus has no deliver",
    ),
    (
        "@fallback = 'slack.b'\n[plugins.slack.b]\nenabled = false",
        "7: plugins.slack.team.fallback: slack.b is disabled; remove it here, or its enabled = false",
    ),
    (
        (
            "@fallback = 'slack.b'\n[plugins.slack.b]\nwebhook_url = 'https://x'\nfallback = 'slack.c'\n"
            "[plugins.slack.c]\nwebhook_url = 'https://x'\nfallback = 'slack.b'"
        ),
        (
            "10: plugins.slack.b.fallback: the fallbacks go in a circle: slack.b → slack.c → slack.b; "
            "leave one of them out"
        ),
    ),
    (
        "@digest_over = 1",
        '7: plugins.slack.team.digest_over: should be a whole number of at least 2, or "never"',
    ),
    (
        "@digest_over = 0",
        '7: plugins.slack.team.digest_over: should be a whole number of at least 2, or "never"',
    ),
    (
        "@digest_over = 'nevr'",
        '7: plugins.slack.team.digest_over: should be a whole number of at least 2, or "never"',
    ),
    (
        "@parallel = 0",
        "7: plugins.slack.team.parallel: should be at least 1",
    ),
    (
        "@parallel = 257",
        "7: plugins.slack.team.parallel: should be at most 256",
    ),
    (
        "@parallel = 'many'",
        "7: plugins.slack.team.parallel: should be a whole number, not a text",
    ),
    (
        "@parallel = true",
        "7: plugins.slack.team.parallel: should be a whole number, not true",
    ),
    (
        "@[plugins.prometheus.x]\nparallel = 10",
        "8: plugins.prometheus.x.parallel: has no effect here; the plugin prometheus has no deliver",
    ),
    (
        "@[plugins.prometheus.x]\ndigest_over = 10",
        "8: plugins.prometheus.x.digest_over: has no effect here; the plugin prometheus has no deliver",
    ),
    (
        "@fallback_after = '1m'",
        (
            "7: plugins.slack.team.fallback_after: has no effect unless fallback is set; "
            "name the destination that takes over"
        ),
    ),
    (
        "@fallback = 'slack.b'\nfallback_after = '0s'\n[plugins.slack.b]\nwebhook_url = 'https://x'",
        "8: plugins.slack.team.fallback_after: should be longer than 0s",
    ),
    (
        "@[plugins.prometheus.x]\nfallback = 'slack.team'",
        "8: plugins.prometheus.x.fallback: has no effect here; the plugin prometheus has no deliver",
    ),
    (
        "@[[rules]]\nname = 'a'\nevents = ['*']\nnotify = ['slack.team']\nseverity = 'eror'",
        "11: rules[0].severity: should be info, success, warning, error or critical; did you mean error?",
    ),
    (
        "@[[rules]]\nname = 'a'\nevents = ['*']\nnotify = ['slack.team']\ntitle = '{{ event.eror }}'",
        "11: rules[0].title: event has no eror; did you mean error?",
    ),
    (
        "@[[rules]]\nname = 'a'\nevents = ['*']\nnotify = ['slack.team']\nbody = '{% if %}'",
        "11: rules[0].body: no Jinja2 template: expected an expression, got 'end of statement block'",
    ),
    (
        "@[[rules]]\nname = 'a'\nevents = ['*']\nnotify = ['slack.team']\nwhen = 'run.duration >'",
        "11: rules[0].when: no Jinja2 expression: unexpected end",
    ),
    (
        "@[[rules]]\nname = 'a'\nevents = ['tsk/*', '[']\nnotify = ['slack.team']\nprojects = 'p1'",
        (
            "9: rules[0].events[0]: no family of events called tsk; did you mean task?\n"
            "9: rules[0].events[1]: the [ in it is not closed\n"
            "11: rules[0].projects: should be a list, not a text; write it in [ ]"
        ),
    ),
]


@pytest.mark.parametrize(("addition", "expected"), MISTAKES, ids=[expected for _, expected in MISTAKES])
def test_a_mistake_is_reported_alone_with_its_line(tmp_path: Path, addition: str, expected: str) -> None:
    destination = "[plugins.slack.team]\nwebhook_url = 'https://x'\n"
    text = MINIMAL + (destination + addition[1:] if addition.startswith("@") else addition)
    catalog = FakeCatalog(broken={"broken": "plugins/broken.py:3: no module named foo"})
    assert problems(tmp_path, text, {"EMPTY": ""}, catalog) == expected.split("\n")
