"""Deploy the unmodified template.yaml to MiniStack: what `sam build`, `sam package` and `sam deploy` do on AWS."""

import hashlib
import io
import json
import marshal
import os
import shutil
import subprocess
import time
import zipfile
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.machinery import SourceFileLoader
from importlib.util import MAGIC_NUMBER, cache_from_source
from pathlib import Path
from typing import Any

import yaml

from tests.local.ministack import ROOT, MiniStack, StartError, interpreter

STACK_NAME = "line-requests"
ARTIFACTS = "artifacts"
LAYER_REQUIREMENTS = ROOT / "layers/requirements.txt"

Json = dict[str, Any]


@dataclass(frozen=True)
class Deployment:
    """What was deployed, by the names that AWS gave it; `functions` by the folder each comes from."""

    api_id: str
    table: str
    bus: str
    functions: Mapping[str, str]


def layer_packages(progress: Callable[[str], object] = str) -> Path:
    """The layer's third-party packages for this host, installed once and kept until their lock changes."""
    python = interpreter()
    recipe = ROOT / "layers/Makefile"
    identity = recipe.read_bytes() + LAYER_REQUIREMENTS.read_bytes() + str(python.resolve()).encode()
    packages = ROOT / "build/local-layer" / hashlib.sha256(identity).hexdigest()[:16]
    if packages.exists():
        return packages / "python"
    progress("Installing the layer's packages, which happens once…")
    if shutil.which("make") is None:
        raise StartError("make is missing")
    partial = packages.with_suffix(f".{os.getpid()}")
    # The interpreter behind the environment's: it has pip.
    command = ["make", "-C", str(recipe.parent), "dependencies", "PLATFORM=host", f"PYTHON={python.resolve()}"]
    try:
        done = subprocess.run(
            [*command, f"ARTIFACTS_DIR={partial}"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise StartError(f"The layer's packages cannot be installed:\n{done.stdout}{done.stderr}")
        # Else each worker compiles them.
        compiled = ["-m", "compileall", "-q", "-j", "0", "-s", str(partial), "-p", str(packages), str(partial)]
        subprocess.run([python, *compiled], check=True)
        with suppress(OSError):  # another process was faster
            partial.rename(packages)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return packages / "python"


def deploy(ministack: MiniStack, parameters: Mapping[str, str]) -> Deployment:
    """Create the stack and wait until it stands; raises StartError with what CloudFormation says."""
    template = _load_template()
    s3 = ministack.session.client("s3", endpoint_url=ministack.endpoint)
    s3.create_bucket(Bucket=ARTIFACTS)
    folders = _package(s3, template)
    for name, value in parameters.items():
        # As the default, too: MiniStack expands the template without the values of its parameters.
        template["Parameters"][name]["Default"] = value
    cloudformation = ministack.session.client("cloudformation", endpoint_url=ministack.endpoint)
    cloudformation.create_stack(
        StackName=STACK_NAME,
        TemplateURL=_upload(s3, template),
        Capabilities=["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
    )
    _wait_for(cloudformation)
    processed: Any = cloudformation.get_template(StackName=STACK_NAME, TemplateStage="Processed")["TemplateBody"]
    cloudformation.update_stack(
        StackName=STACK_NAME,
        TemplateURL=_upload(s3, _with_routes(processed)),
        Capabilities=["CAPABILITY_IAM"],
    )
    outputs = _wait_for(cloudformation)
    resources = [
        (resource["LogicalResourceId"], resource["ResourceType"], resource["PhysicalResourceId"])
        for page in cloudformation.get_paginator("list_stack_resources").paginate(StackName=STACK_NAME)
        for resource in page["StackResourceSummaries"]
    ]
    aliases = {logical: physical for logical, kind, physical in resources if kind == "AWS::Lambda::Alias"}
    return Deployment(
        api_id=next(physical for _, kind, physical in resources if kind == "AWS::ApiGatewayV2::Api"),
        table=outputs["TableName"],
        bus=outputs["BusName"],
        functions={
            folders[logical]: next(
                (arn for name, arn in aliases.items() if name.startswith(f"{logical}Alias")), physical
            )
            for logical, kind, physical in resources
            if kind == "AWS::Lambda::Function"
        },
    )


class _Intrinsics(yaml.CSafeLoader):
    """YAML with CloudFormation's short tags: `!Ref x` is {"Ref": "x"}, `!Sub x` is {"Fn::Sub": "x"}."""


def _intrinsic(loader: yaml.CSafeLoader, tag: str, node: yaml.Node) -> Json:
    value: Any
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)  # type: ignore[arg-type]  # the one kind that is left
    if tag == "GetAtt" and isinstance(value, str):
        value = value.split(".", 1)
    return {tag if tag in {"Ref", "Condition"} else f"Fn::{tag}": value}


_Intrinsics.add_multi_constructor("!", _intrinsic)


def _load_template() -> Json:
    template: Json = yaml.load((ROOT / "template.yaml").read_text(), _Intrinsics)  # noqa: S506 - a SafeLoader
    # MiniStack refuses a stack that has an alarm on metric math.
    del template["Resources"]["NobodyAnswersAlarm"]
    return template


def _package(s3: Any, template: Json) -> Mapping[str, str]:  # noqa: ANN401 - likewise
    """Upload the code of each function and layer, and point the template there; each function's folder's name."""
    folders = {}
    for logical_id, resource in template["Resources"].items():
        if logical_id.startswith("Fn::ForEach::"):  # MiniStack expands it; no function and no layer is in one
            continue
        properties = resource.get("Properties", {})
        if resource["Type"] == "AWS::Serverless::Function":
            folder = ROOT / properties["CodeUri"]
            folders[logical_id] = folder.name
            archive, name = _zip(folder, under=""), "CodeUri"
        elif resource["Type"] == "AWS::Serverless::LayerVersion":
            # Only our package: its third-party part is on the workers' path already, unpacked once for all of them.
            archive, name = _zip(ROOT / "layers/line_requests", under="python/line_requests/"), "ContentUri"
        else:
            continue
        s3.put_object(Bucket=ARTIFACTS, Key=logical_id, Body=archive)
        properties[name] = f"s3://{ARTIFACTS}/{logical_id}"
    return folders


def _upload(s3: Any, template: Json) -> str:  # noqa: ANN401 - boto3's client types are not there at run time
    """The URL of a template; a request takes none that is larger than 51,200 bytes."""
    s3.put_object(Bucket=ARTIFACTS, Key="template", Body=json.dumps(template).encode())
    return f"{s3.meta.endpoint_url}/{ARTIFACTS}/template"


def _zip(folder: Path, under: str) -> bytes:
    if not folder.is_dir():
        raise StartError(f"template.yaml names {folder.relative_to(ROOT)}, which is no folder")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path in _sources(folder):
            archive.write(path, under + str(path.relative_to(folder)))
            if path.suffix == ".py":
                cached = Path(cache_from_source(str(path))).relative_to(folder)
                archive.writestr(under + str(cached), _compiled(path))
    return buffer.getvalue()


def _compiled(path: Path) -> bytes:
    """What Python caches of a module, as never to be checked (PEP 552): no worker has to compile it again."""
    code = SourceFileLoader(path.stem, str(path)).get_code(path.stem)
    return MAGIC_NUMBER + (1).to_bytes(12, "little") + marshal.dumps(code)


def _sources(folder: Path) -> Iterable[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file() and "__pycache__" not in path.parts)


def _with_routes(processed: Json) -> Json:
    """The processed template with the API's routes and CORS as resources: MiniStack drops an API's OpenAPI body."""
    api_id, api = next(
        (logical_id, resource["Properties"])
        for logical_id, resource in processed["Resources"].items()
        if resource["Type"] == "AWS::ApiGatewayV2::Api"
    )
    body = api.pop("Body")
    api |= {"ProtocolType": "HTTP", "Name": STACK_NAME}
    if cors := body.get("x-amazon-apigateway-cors"):
        api["CorsConfiguration"] = json.loads(json.dumps(cors), object_hook=_origins_apart)
    operations = [(path, *operation) for path, methods in body["paths"].items() for operation in methods.items()]
    for number, (path, method, operation) in enumerate(operations):
        integration = operation["x-amazon-apigateway-integration"]
        processed["Resources"] |= {
            f"LocalIntegration{number}": _api_part(
                "Integration",
                ApiId={"Ref": api_id},
                IntegrationType="AWS_PROXY",
                IntegrationUri=integration["uri"],
                PayloadFormatVersion=integration["payloadFormatVersion"],
            ),
            f"LocalRoute{number}": _api_part(
                "Route",
                ApiId={"Ref": api_id},
                RouteKey=f"{method.upper()} {path}",
                Target={"Fn::Sub": f"integrations/${{LocalIntegration{number}}}"},
            ),
        }
    return processed


def _api_part(kind: str, **properties: Any) -> Json:  # noqa: ANN401 - CloudFormation's own shapes
    return {"Type": f"AWS::ApiGatewayV2::{kind}", "Properties": properties}


def _origins_apart(value: Json) -> Json:
    """The SAM translator leaves a CommaDelimitedList as one string."""
    if isinstance(origins := value.get("allowOrigins"), str):
        value["allowOrigins"] = [origin for origin in origins.split(",") if origin]
    return value


def _wait_for(cloudformation: Any) -> Mapping[str, str]:  # noqa: ANN401 - boto3's client types are not there at run time
    """Wait for the running operation; the stack's outputs."""
    while True:
        stack = cloudformation.describe_stacks(StackName=STACK_NAME)["Stacks"][0]
        if not stack["StackStatus"].endswith("_IN_PROGRESS"):
            break
        time.sleep(0.02)
    if stack["StackStatus"] not in {"CREATE_COMPLETE", "UPDATE_COMPLETE"}:
        events = cloudformation.describe_stack_events(StackName=STACK_NAME)["StackEvents"]
        reasons = [
            f"{event['LogicalResourceId']}: {event.get('ResourceStatusReason', '')}"
            for event in events
            if event["ResourceStatus"].endswith("_FAILED")
        ]
        raise StartError(
            "template.yaml cannot be deployed:\n" + "\n".join(reasons or [str(stack.get("StackStatusReason"))])
        )
    return {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}
