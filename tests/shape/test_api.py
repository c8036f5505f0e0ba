import json

from tests.shape.cloudformation import Json, decided, of_type

EXPOSED = {
    "Location",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    "WWW-Authenticate",
    "Line-Request-Id",
    "Error-Code",
    "Error-Field",
    "Idempotency-Replayed",
    "Idempotency-Mismatch",
    "Apigw-Requestid",
    "Link",
}
ROUTES = {
    ("post", "/api/line-requests"): "CreateLineRequest",
    ("get", "/api/line-requests"): "GetLineRequest",
    ("get", "/api/line-requests/{id}"): "GetLineRequest",
    ("get", "/api/line-requests/{id}/events"): "GetLineRequest",
    ("get", "/api/allowance"): "GetLineRequest",
    ("get", "/api/lines/by-user"): "GetLineRequest",
    ("post", "/api/line-requests/{id}"): "ManageLineRequest",
    ("delete", "/api/lines/{id}"): "ManageLineRequest",
    ("post", "/stripe/webhook"): "StripeWebhook",
}


def stage(resources: Json) -> Json:
    (found,) = of_type(resources, "AWS::ApiGatewayV2::Stage").values()
    return found


def test_each_route_invokes_the_live_version_of_its_function(resources: Json) -> None:
    paths = resources["Api"]["Properties"]["Body"]["paths"]
    found = {
        (method, path): operation["x-amazon-apigateway-integration"]["uri"]["Fn::Sub"]
        for path, methods in paths.items()
        for method, operation in methods.items()
    }
    assert set(found) == set(ROUTES)
    for route, uri in found.items():
        assert f"functions/${{{ROUTES[route]}Aliaslive}}/invocations" in uri


def test_functions_answer_before_the_gateway_gives_up(resources: Json) -> None:
    assert all(resources[function]["Properties"]["Timeout"] < 30 for function in ROUTES.values())


def test_browsers_read_the_contracts_headers_only_from_allowed_origins(resources: Json) -> None:
    """[3] [64]"""
    cors = resources["Api"]["Properties"]["Body"]["x-amazon-apigateway-cors"]
    allowed = decided(cors, AllowsBrowsers=True)
    assert set(allowed["exposeHeaders"]) == EXPOSED
    assert set(allowed["allowMethods"]) == {method.upper() for method, _ in ROUTES}
    assert allowed["allowOrigins"] == {"Fn::Split": [",", "https://one.example,https://two.example"]}
    assert decided(cors, AllowsBrowsers=False) == {"Ref": "AWS::NoValue"}


def test_access_log_joins_the_clients_request_with_the_functions_and_names_no_person(resources: Json) -> None:
    settings = stage(resources)["AccessLogSettings"]
    logged = json.loads(settings["Format"])
    assert logged["requestId"] == "$context.requestId"  # Apigw-Requestid
    assert logged["functionRequestId"] == "$context.integration.requestId"
    assert set(logged.values()) <= {
        "$context.requestId",
        "$context.integration.requestId",
        "$context.requestTimeEpoch",
        "$context.routeKey",
        "$context.status",
        "$context.responseLatency",
        "$context.integrationLatency",
        "$context.integrationErrorMessage",
    }
    assert settings["DestinationArn"] == {"Fn::GetAtt": ["ApiLogs", "Arn"]}


def test_access_log_takes_no_entry_of_the_accounts_log_resource_policy(resources: Json) -> None:
    name = resources["ApiLogs"]["Properties"]["LogGroupName"]
    assert name == {"Fn::Sub": "/aws/vendedlogs/${AWS::StackName}/api"}


def test_stage_throttles_by_parameter(resources: Json) -> None:
    settings = stage(resources)["DefaultRouteSettings"]
    assert settings["ThrottlingRateLimit"] == {"Ref": "ApiRequestsPerSecond"}
    assert settings["ThrottlingBurstLimit"] == {"Ref": "ApiBurst"}


def test_custom_domain_is_made_only_when_it_is_named(template: Json) -> None:
    resources = template["Resources"]
    for name in ("Domain", "DomainMapping"):
        assert resources[name]["Condition"] == "HasDomain"
    assert template["Conditions"]["HasDomain"] == {"Fn::Not": [{"Fn::Equals": [{"Ref": "DomainName"}, ""]}]}
    (configuration,) = resources["Domain"]["Properties"]["DomainNameConfigurations"]
    assert configuration["CertificateArn"] == {"Ref": "CertificateArn"}
    mapping = resources["DomainMapping"]["Properties"]
    assert (mapping["ApiId"], mapping["DomainName"]) == ({"Ref": "Api"}, {"Ref": "Domain"})
    assert mapping["Stage"] == {"Ref": "ApiApiGatewayDefaultStage"}
    webhook = template["Outputs"]["WebhookUrl"]["Value"]
    assert decided(webhook, HasDomain=True) == {"Fn::Sub": "https://${DomainName}/stripe/webhook"}
    assert "execute-api" in decided(webhook, HasDomain=False)["Fn::Sub"]
