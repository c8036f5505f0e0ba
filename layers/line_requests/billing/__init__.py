"""Stripe, as this product uses it."""
