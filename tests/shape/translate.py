"""Print what the SAM translator makes of a template on standard input; runs under .venv-ministack's Python."""

import json
import sys
from types import SimpleNamespace

from samtranslator.translator.transform import transform
from samtranslator.yaml_helper import yaml_parse

template = yaml_parse(sys.stdin.read())
for resource in template["Resources"].values():
    for uri in {"CodeUri", "ContentUri"} & resource.get("Properties", {}).keys():
        resource["Properties"][uri] = f"s3://uploaded/{resource['Properties'][uri]}"  # as `sam deploy` leaves it
parameters = {"AllowedOrigins": "https://one.example,https://two.example"}
json.dump(transform(template, parameters, SimpleNamespace(load=dict)), sys.stdout)
