#!/usr/bin/env bash
# rdflib 7.6.0 does not find the time `"2024-05-21T09:00:00Z"` in a graph that was read with that very text.
#
# Guess: a triple pattern of SPARQL matches the triple that it spells out, and `INSERT DATA` of a triple that is there
# changes nothing.
# Seen: a literal is rewritten when a file is read (`Z` becomes `+00:00`, digits after microseconds go, `PT60M` becomes
# `PT1H`), and when one is made in Python, but not in a query. `ASK` says false, `INSERT DATA` adds the observation a second
# time, `DELETE DATA` leaves the first. FILTER compares values and finds it. Oxigraph 0.5.13 finds the triple.
# It matters to whoever keeps Brick or other building data in a graph: an observation is stored twice, once for each
# spelling, and a deletion deletes nothing, without an error. Spell times as Python does, or use FILTER.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check rdflib==7.6.0 pyoxigraph==0.5.13
cat > run.py <<'PY'
import pyoxigraph, rdflib

PREFIXES = "PREFIX : <http://example.org/> PREFIX xsd: <http://www.w3.org/2001/XMLSchema#> "


class Rdflib:
    def __init__(self, turtle):
        self.graph = rdflib.Graph().parse(data=turtle, format="turtle")

    ask = lambda self, query: self.graph.query(query).askAnswer
    update = lambda self, update: self.graph.update(update)
    objects = lambda self: sorted(str(value) for value in self.graph.objects())


class Oxigraph:
    def __init__(self, turtle):
        self.store = pyoxigraph.Store()
        self.store.load(turtle.encode(), format=pyoxigraph.RdfFormat.TURTLE)

    ask = lambda self, query: bool(self.store.query(query))
    update = lambda self, update: self.store.update(update)
    objects = lambda self: sorted(quad.object.value for quad in self.store)


for value in '"2024-05-21T09:00:00Z"^^xsd:dateTime', '"2024-05-21T08:22:32.4520009+02:00"^^xsd:dateTime', '"PT60M"^^xsd:duration':
    triple = f":room :busy {value}"
    print(value)
    for kind in Rdflib, Oxigraph:
        data = kind(f"{PREFIXES}\n{triple} .")
        found = data.ask(f"{PREFIXES} ASK {{ {triple} }}"), data.ask(f"{PREFIXES} ASK {{ :room :busy ?time FILTER(?time = {value}) }}")
        data.update(f"{PREFIXES} INSERT DATA {{ {triple} }}")
        inserted = data.objects()
        data.update(f"{PREFIXES} DELETE DATA {{ {triple} }}")
        print(f"  {kind.__name__}: pattern {found[0]}, filter {found[1]}; inserted {' '.join(inserted)}; deleted {' '.join(data.objects()) or 'all'}")
PY
echo "rdflib 7.6.0, pyoxigraph 0.5.13"
seen=$(venv/bin/python run.py)
echo "$seen"
expected='"2024-05-21T09:00:00Z"^^xsd:dateTime
  Rdflib: pattern False, filter True; inserted 2024-05-21T09:00:00+00:00 2024-05-21T09:00:00Z; deleted 2024-05-21T09:00:00+00:00
  Oxigraph: pattern True, filter True; inserted 2024-05-21T09:00:00Z; deleted all
"2024-05-21T08:22:32.4520009+02:00"^^xsd:dateTime
  Rdflib: pattern False, filter True; inserted 2024-05-21T08:22:32.452000+02:00 2024-05-21T08:22:32.4520009+02:00; deleted 2024-05-21T08:22:32.452000+02:00
  Oxigraph: pattern True, filter True; inserted 2024-05-21T08:22:32.4520009+02:00; deleted all
"PT60M"^^xsd:duration
  Rdflib: pattern False, filter True; inserted PT1H PT60M; deleted PT1H
  Oxigraph: pattern True, filter True; inserted PT1H; deleted all'
[ "$seen" = "$expected" ] || { echo "the behaviour changed; it was: $expected" >&2; exit 1; }
