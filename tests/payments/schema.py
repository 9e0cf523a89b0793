# SPDX-License-Identifier: BSL-1.0

"""As much of JSON Schema 2020-12 as openapi.json uses; a word that is not known here fails."""

import re

KINDS = {
    "object": dict, "string": str, "boolean": bool, "array": list,
}
SAID_ONLY = {"description", "examples", "example"}


class Mismatch(Exception):
    pass


def resolve(document, node):
    while isinstance(node, dict) and "$ref" in node:
        target = document
        for part in node["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        node = target
    return node


def check(document, schema, value, where="body"):
    schema = resolve(document, schema)
    kind = schema.get("type")
    if kind == "integer":
        if not isinstance(value, int) or isinstance(value, bool):
            raise Mismatch(f"{where}: {value!r} is no integer")
    elif kind is not None and not isinstance(value, KINDS[kind]):
        raise Mismatch(f"{where}: {value!r} is no {kind}")
    for word, said in schema.items():
        if word == "type" or word in SAID_ONLY:
            continue
        elif word == "required":
            good = all(name in value for name in said)
        elif word == "additionalProperties" and said is False:
            good = all(name in schema["properties"] for name in value)
        elif word == "properties":
            for name, inner in said.items():
                if name in value:
                    check(document, inner, value[name], f"{where}.{name}")
            good = True
        elif word == "enum":
            good = value in said
        elif word == "pattern":
            good = re.search(said, value) is not None
        elif word in ("minimum", "maximum"):
            good = value >= said if word == "minimum" else value <= said
        elif word in ("minLength", "maxLength"):
            good = len(value) >= said if word == "minLength" else len(value) <= said
        else:
            raise Mismatch(f"{where}: the schema's word {word} is not known to this test")
        if not good:
            raise Mismatch(f"{where}: {value!r} against {word} {said!r}")
