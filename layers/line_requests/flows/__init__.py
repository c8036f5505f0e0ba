"""What the product does, step by step, on the stores, Stripe and the bus."""
