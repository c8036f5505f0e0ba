"""What a million requests cost at list prices: a formula over what was measured."""

# us-east-1, on demand, US dollars; the first tier, without free tiers, taxes and data transfer.
API_PER_MILLION = 1.00  # https://aws.amazon.com/api-gateway/pricing/ (HTTP API)
LAMBDA_PER_MILLION = 0.20  # https://aws.amazon.com/lambda/pricing/
LAMBDA_PER_GB_S = 0.0000133334  # arm64
WRITES_PER_MILLION = 0.625  # https://aws.amazon.com/dynamodb/pricing/on-demand/
READS_PER_MILLION = 0.125
MEMORY_GB = 1.0  # of create and get, in template.yaml


def dollars_per_million(seconds: float, read_units: float, write_units: float) -> float:
    """API Gateway, Lambda for as long as the answer took, and DynamoDB's units."""
    fixed = API_PER_MILLION + LAMBDA_PER_MILLION
    compute = seconds * MEMORY_GB * LAMBDA_PER_GB_S * 1_000_000
    return fixed + compute + read_units * READS_PER_MILLION + write_units * WRITES_PER_MILLION
