"""Print what CloudFormation and the SAM translator make of a template; runs under .venv-ministack's Python.

Standard input holds the template and the values of its parameters: {"template": "…", "parameters": {…}}.
"""

import json
import sys
from types import SimpleNamespace

from ministack.services.cloudformation import language_extensions
from samtranslator.translator.transform import transform
from samtranslator.yaml_helper import yaml_parse

asked = json.load(sys.stdin)
template = yaml_parse(asked["template"])
defaults = {name: str(of.get("Default", "")) for name, of in template["Parameters"].items()}
parameters = defaults | asked["parameters"]
template = language_extensions.apply(template, parameters)
template["Transform"] = "AWS::Serverless-2016-10-31"
for resource in template["Resources"].values():
    for uri in {"CodeUri", "ContentUri"} & resource.get("Properties", {}).keys():
        resource["Properties"][uri] = f"s3://uploaded/{resource['Properties'][uri]}"  # as `sam deploy` leaves it
json.dump(transform(template, parameters, SimpleNamespace(load=dict)), sys.stdout)
