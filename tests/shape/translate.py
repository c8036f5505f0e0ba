"""Print what CloudFormation and the SAM translator make of the template on standard input.

Arguments are values of its parameters, Name=Value. It runs under .venv-ministack's Python.
"""

import json
import os
import sys
from types import SimpleNamespace

from ministack.services.cloudformation import language_extensions
from samtranslator.translator.transform import transform
from samtranslator.yaml_helper import yaml_parse

os.environ.setdefault("AWS_DEFAULT_REGION", "eu-central-1")
template = yaml_parse(sys.stdin.read())
parameters = {name: str(of.get("Default", "")) for name, of in template["Parameters"].items()}
parameters |= dict(argument.split("=", 1) for argument in sys.argv[1:])
template = language_extensions.apply(template, parameters)
template["Transform"] = "AWS::Serverless-2016-10-31"
for resource in template["Resources"].values():
    for uri in {"CodeUri", "ContentUri"} & resource.get("Properties", {}).keys():
        resource["Properties"][uri] = f"s3://uploaded/{resource['Properties'][uri]}"  # as `sam deploy` leaves it
json.dump(transform(template, parameters, SimpleNamespace(load=dict)), sys.stdout, indent=1)
