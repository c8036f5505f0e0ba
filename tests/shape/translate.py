"""Print what CloudFormation and the SAM translator make of the template on standard input.

With `--lines` each line of it is a JSON array of a template's text and its parameters' values, answered by one line.
It runs under .venv-ministack's Python.
"""

import json
import os
import sys
from types import SimpleNamespace

os.environ.setdefault("AWS_DEFAULT_REGION", "eu-central-1")

from ministack.services.cloudformation import language_extensions
from samtranslator.translator.transform import transform
from samtranslator.yaml_helper import yaml_parse


def translated(text: str, values: dict[str, str]) -> object:
    template = yaml_parse(text)
    parameters = {name: str(of.get("Default", "")) for name, of in template["Parameters"].items()} | values
    template = language_extensions.apply(template, parameters)
    template["Transform"] = "AWS::Serverless-2016-10-31"
    for resource in template["Resources"].values():
        for uri in {"CodeUri", "ContentUri"} & resource.get("Properties", {}).keys():
            resource["Properties"][uri] = f"s3://uploaded/{resource['Properties'][uri]}"  # as `sam deploy` leaves it
    return transform(template, parameters, SimpleNamespace(load=dict))


if "--lines" in sys.argv:
    for line in sys.stdin:
        print(json.dumps(translated(*json.loads(line))), flush=True)
else:
    json.dump(translated(sys.stdin.read(), {}), sys.stdout, indent=1)
