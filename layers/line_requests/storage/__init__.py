"""The DynamoDB table: items, conditional writes, transactions."""
