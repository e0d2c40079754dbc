"""Templates of rules that would block an agent or exhaust its memory without a cost budget."""

from collections.abc import Mapping
from typing import Final


def _doubled(start: str, again: str, times: int = 60) -> str:
    return f"{{% set a = {start} %}}" + f"{{% set a = {again} %}}" * times + "{{ a }}"


TOO_MUCH: Final[Mapping[str, str]] = {
    "nested range": "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "nested range in a block": "{% set x %}{% for a in range(99999) %}{% for b in range(99999) %}0{% endfor %}"
    "{% endfor %}{% endset %}",
    "nested range, four deep": "{% for a in range(999) %}{% for b in range(999) %}{% for c in range(999) %}"
    "{% for d in range(999) %}{% endfor %}{% endfor %}{% endfor %}{% endfor %}",
    "a loop that only asks": "{% for a in range(99999) if a < 0 %}{% endfor %}" * 50,
    "long text in a loop": "{% set x %}{% for a in range(99999) %}" + "x" * 5_000 + "{% endfor %}{% endset %}",
    "percent, wide": '{{ "%999999999s" % 1 }}',
    "percent, wide and left": '{{ "%-999999999s" % 1 }}',
    "percent, precise": '{{ "%.999999999f" % 1.5 }}',
    "percent, width given": '{{ "%*s" % (999999999, 1) }}',
    "percent, many": "{{ ('%99999s' * 9999) % ((1,) * 9999) }}",
    "percent, by name": "{{ ('%(a)s' * 9999) % {'a': 'x' * 60000} }}",
    "percent of bytes": "{{ 'x%999999999s'.encode() % 'y'.encode() }}",
    "format, wide": '{{ "{:999999999}".format(1) }}',
    "format, wide and filled": '{{ "{:x>999999999}".format(1) }}',
    "format, width given": '{{ "{:{}}".format(1, 999999999) }}',
    "format, precise": '{{ "{:.999999999f}".format(1.5) }}',
    "format, many": "{{ ('{0}' * 9999).format('x' * 60000) }}",
    "format, of the event": "{{ ('{0}' * 20000).format(event) }}" * 9,
    "format, of its fields": "{{ ('{0}' * 20000).format(event.wire) }}" * 9,
    "format_map": "{{ ('{a}' * 9999).format_map({'a': 'x' * 60000}) }}",
    "format filter": '{{ "%999999999s" | format(1) }}',
    "format filter, mapped": '{{ ["%999999999s"] | map("format", 1) | list }}',
    "center": "{{ 'x'.center(10 ** 9) }}",
    "center filter": "{{ 'x' | center(10 ** 9) }}",
    "center filter, by name": "{{ 'x' | center(width=10 ** 9) }}",
    "center filter, mapped": "{{ ['x'] | map('center', 10 ** 9) | list }}",
    "ljust": "{{ 'x'.ljust(10 ** 9) }}",
    "rjust": "{{ 'x'.rjust(10 ** 9, '.') }}",
    "zfill": "{{ 'x'.zfill(10 ** 9) }}",
    "expandtabs": "{{ 'a\tb'.expandtabs(10 ** 9) }}",
    "bytes that are centered": "{{ 'x'.encode().center(10 ** 9) }}",
    "a number as bytes": "{{ (1).to_bytes(10 ** 9, 'big') }}",
    "repeated text": "{{ 'x' * 10 ** 9 }}",
    "repeated text, the other way": "{{ 10 ** 9 * 'x' }}",
    "repeated list": "{{ [0] * 10 ** 9 }}",
    "repeated tuple": "{{ (0, 1) * 10 ** 9 }}",
    "repeated and repeated": "{{ 'x' * 60000 * 60000 }}",
    "doubled text": _doubled("'x' * 60000", "a ~ a"),
    "added text": _doubled("'x' * 60000", "a + a"),
    "doubled list": _doubled("[0] * 1000", "a + a"),
    "billion laughs": _doubled("[0, 0]", "[a, a]"),
    "billion laughs of tuples": _doubled("(0, 0)", "(a, a)"),
    "billion laughs of dicts": _doubled("{'a': 0}", "{'a': a, 'b': a}"),
    "billion laughs, compared": "{% set a = [0] %}{% set b = [0] %}"
    + "{% set a = [a, a] %}{% set b = [b, b] %}" * 60
    + "{{ a == b }}",
    "billion laughs, hashed": "{% set a = (0,) %}" + "{% set a = (a, a) %}" * 60 + "{{ {a: 1} }}",
    "billion laughs in namespaces": "".join(f"{{% set n{i} = namespace() %}}" for i in range(50))
    + "".join(f"{{% set n{i}.a = [n{i + 1}, n{i + 1}] %}}" for i in range(49))
    + "{{ n0 }}",
    "power": "{{ 10 ** 100000 }}",
    "power of powers": "{{ 9 ** 9 ** 9 ** 9 }}",
    "squared and squared": _doubled("10 ** 60", "a * a"),
    "rounded": "{{ 5 | round(-10 ** 9) }}",
    "rounded up": "{{ 5.5 | round(10 ** 9, 'ceil') }}",
    "replace": "{{ ('x' * 60000).replace('x', 'y' * 60000) }}",
    "replace nothing": "{{ ('x' * 60000).replace('', 'y' * 60000) }}",
    "replace filter": "{{ ('x' * 60000) | replace('x', 'y' * 60000) }}",
    "join": "{{ ('y' * 60000).join('x' * 60000) }}",
    "join a lazy value": "{{ ('y' * 60000).join(range(60000) | map('string')) }}",
    "join filter": "{{ range(60000) | join('y' * 60000) }}",
    "translate": "{{ ('x' * 60000).translate({120: 'y' * 60000}) }}",
    "indent": "{{ ('x\n' * 30000) | indent(60000) }}",
    "indent by text": "{{ ('x\n' * 30000) | indent('y' * 60000) }}",
    "wordwrap": "{{ ('x' * 60000) | wordwrap(1, wrapstring='y' * 60000) }}",
    "batch": "{{ [1] | batch(10 ** 9, 'x') | list }}",
    "slice": "{{ [1] | slice(10 ** 9) | list }}",
    "sum of lists": "{{ [[0] * 50] * 20000 | sum(start=[]) }}{{ (([[0] * 50]) * 20000) | sum(start=[]) }}",
    "tojson, indented": "{{ [1, 2] | tojson(indent=10 ** 9) }}",
    "macro that calls itself twice": "{% macro f() %}{{ f() }}{{ f() }}{% endmacro %}{{ f() }}",
    "macros that double": "{% macro f0() %}"
    + "x" * 500
    + "{% endmacro %}"
    + "".join(f"{{% macro f{i + 1}() %}}{{{{ f{i}() }}}}{{{{ f{i}() }}}}{{% endmacro %}}" for i in range(40))
    + "{{ f40() }}",
    "block that calls itself twice": "{% block a %}{{ self.a() }}{{ self.a() }}{% endblock %}",
    "calls in a loop": "{% for a in range(99999) %}{{ 'x'.upper().lower().title().strip() }}{% endfor %}" * 9,
    "comparing long lists": "{% set a = range(99999) | list %}{% set b = range(99999) | list %}"
    "{% for i in range(99999) %}{% if a == b %}{% endif %}{% endfor %}",
    "looking in long lists": "{% set a = range(99999) | list %}"
    "{% for i in range(99999) %}{% if -1 in a %}{% endif %}{% endfor %}",
    "counting in long lists": "{% set a = range(99999) | list %}"
    "{% for i in range(99999) %}{% set b = a.count(1) %}{% endfor %}",
    "counting in a range": "{% for i in range(99999) %}{% set b = range(99999).count('x') %}{% endfor %}",
    "looking in a range": "{% for i in range(99999) %}{% if 'x' in range(99999) %}{% endif %}{% endfor %}",
    "changes of long lists": "{% for i in range(99999) %}{{ loop.changed([0] * 60000) }}{% endfor %}",
    "a joiner in a block": "{% set j = joiner('x' * 60000) %}{% set x %}"
    "{% for i in range(99999) %}{{ j() }}{% endfor %}{% endset %}",
    "years of many digits": "{{ '{:%999999999Y}'.format(event.timestamp) }}",
    "selecting from long lists": "{% set a = range(99999) | list %}{{ range(99999) | select('in', a) | list }}",
    "slices of long lists": "{% set a = range(99999) | list %}"
    "{% for i in range(99999) %}{% set b = a[:] %}{% endfor %}",
    "sorting long lists": "{% for i in range(99999) %}{% set b = range(99999) | sort %}{% endfor %}",
    "lists of lists": "{% set a = range(99999) | batch(1) | list %}" * 99,
    "tags": "{{ ('<a' * 30000 ~ '>' * 30000) | striptags }}" * 9,
    "words without a space": "{{ ('x' * 60000) | wordwrap(2) }}",
    "cycler": "{% set c = cycler(*range(99999)) %}" * 99,
    "searching from the end": "{% set a = 'a' * 60000 %}{% set b = 'ab' ~ 'a' * 29998 %}"
    "{% for i in range(80) %}{% set x = a.rfind(b) %}{% set x = a.rsplit(b) %}{% endfor %}",
    "stripping a large set": "{% set a = 'a' * 60000 %}{% set b = 'b' * 59999 ~ 'a' %}"
    "{% for i in range(60) %}{% set x = a.strip(b) %}{% endfor %}",
    "trimming a large set": "{% set a = '\u0101' * 60000 %}{% set b = '\u0102' * 59999 ~ '\u0101' %}"
    "{{ a | trim(b) }}{{ a | trim(b) }}{{ a | trim(b) }}",
    "dividing long numbers": "{% set b = 2 ** 64 %}{% set b = b * b * b * b * b * b * b * b %}"
    "{% set b = b * b * b * b * b * b * b * b %}{% set a = b * b * b * b * b * b * b * b %}"
    "{% for i in range(99999) %}{% set x = a // (b * b * b * b) %}{% endfor %}",
    "numbers of one hash in a set": "{% set m = 2 ** 61 - 1 %}{{ range(0, m * 20000, m) | unique | list }}",
    "numbers of one hash in a dict": "{% set m = 2 ** 61 - 1 %}{{ dict(range(0, m * 20000, m) | batch(2)) }}",
    "tags, by method": "{% set a = ('x' * 30000 ~ '<>' * 15000) | safe %}"
    "{% for i in range(99) %}{% set x = a.striptags() %}{% endfor %}",
    "a long path of attributes": "{{ range(9999) | map(attribute='real"
    + ".real" * 5_000
    + "') | list | length }}",
    "many attributes to sort by": "{{ range(9999) | sort(attribute='real" + ",real" * 5_000 + "') | first }}",
    "a long path of attributes in a loop": "{% for i in range(99999) %}{% set x = i"
    + ".real" * 100
    + " %}{% endfor %}",
    "much that is worked out in a loop": "{% for i in range(99999) %}"
    + "{% set x = -i - 1 if not i else i / 2 %}" * 100
    + "{% endfor %}",
}
"""Each needs hours or gigabytes for any event."""

HARMLESS: Final[Mapping[str, str]] = {
    "a long text": "x" * 30_000 + "{{ event.error }}",
    "a table": "{% for n in range(500) %}{{ '%-30s %5d' % (event.error, n) }}\n{% endfor %}",
    "padding": "{{ event.error.ljust(200) }}{{ '{:>200}'.format(event.error) }}{{ event.error | center(200) }}",
    "lines": "{{ (event.error or '').splitlines()[-5:] | join('\n') }}",
    "indent": "{{ event.wire | tojson(indent=2) | indent(4) }}",
    "wrap": "{{ (event.error * 50) | wordwrap(79) }}",
    "a macro": "{% macro row(n, v) %}{{ n }}: {{ v }}\n{% endmacro %}"
    "{% for i in range(50) %}{{ row(i, run.name) }}{% endfor %}",
    "a sorted table": "{% for name, value in event.wire | dictsort %}{{ name }}={{ value }}\n{% endfor %}",
    "numbers": "{{ 2 ** 10 }}{{ 1700000000000 }}{{ '%d' % 1700000000000 }}{{ 3.14159 | round(2) }}"
    "{{ (run.duration or 0) // 60 }}",
    "loop names": "{% for x in 'abc' %}{{ loop.index }}/{{ loop.length }}"
    "{{ loop.last }}{{ loop.nextitem }}{% endfor %}",
    "namespace": "{% set n = namespace(x=0) %}{% for i in range(9) %}{% set n.x = n.x + i %}{% endfor %}{{ n.x }}",
    "cycler": "{% set c = cycler('a', 'b') %}{{ c.next() }}{{ c.next() }}",
    "grouping": "{{ [{'a': 1}, {'a': 2}] | groupby('a') | list | length }}"
    "{{ [3, 1] | sort | first }}{{ [1, 2] | sum }}",
    "choosing": "{{ ['a', none] | select | map('upper') | join(', ') }}{{ [1, 2] | reject('eq', 1) | list }}",
}
"""Ordinary templates; each renders."""

ODD: Final[Mapping[str, str]] = {
    "loop.length of a loop": "{% for a in range(99999) | select %}{{ loop.length }}{% endfor %}" * 50,
    "a number of 5,000 digits": "{{ " + "9" * 5_000 + " }}",
    "30 loops in one another": "{% for a in [] %}" * 30 + "{% endfor %}" * 30,
    "5,000 filters": "{{ 1" + " | string" * 5_000 + " }}",
    "2,000 parentheses": "{{ " + "(" * 2_000 + "1" + ")" * 2_000 + " }}",
    "2,000 lists in one another": "{{ " + "[" * 2_000 + "]" * 2_000 + " }}",
    "500 ifs in one another": "{% if 1 %}" * 500 + "{% endif %}" * 500,
    "a sum of 5,000": "{{ " + "1 + " * 5_000 + "1 }}",
    "a recursive loop": "{% for a in [[1], [2]] recursive %}{{ loop(a) }}{% endfor %}",
    "a macro that calls itself": "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "a namespace in itself": "{% set n = namespace() %}{% set n.a = n %}{{ n }}",
    "infinity": "{{ 1e999 }}{{ -1e999 | int }}",
    "half a character": "{{ '\ud83d' }}",
    "NUL": "{{ '\x00' }}\x00",
    "an import": "{% from 'x' import y %}",
    "itself": "{{ self }}{{ self.body() }}",
}
"""None of them may end the check or the agent."""
